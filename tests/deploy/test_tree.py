"""What the image holds under /opt/relay, file by file; the Dockerfile's own commands built it.

The second stage is checked in `test_image.py` from the Dockerfile's text only; docs/deploy.md tells how
it was built and run.
"""

import base64
import csv
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import relay
from tests.deploy import tree as building
from tests.deploy.files import DEPLOY, PIN
from tests.support import missing

pytestmark = pytest.mark.threat("F7")


@pytest.fixture(scope="module")
def tree() -> Path:
    """The built tree."""
    return building.built() or missing("the image's tree")


@pytest.fixture(scope="module")
def packages(tree: Path) -> Path:
    """Where its packages are."""
    (found,) = tree.glob("lib/python3*/site-packages")
    return found


def test_nothing_runs_before_the_relay_does(tree: Path, packages: Path) -> None:
    """No `.pth` file and no module that Python imports by itself; no installer, and no command but those expected."""
    automatic = {"sitecustomize.py", "usercustomize.py"}

    assert [path for path in tree.rglob("*") if path.suffix == ".pth" or path.name in automatic] == []
    assert not {"pip", "setuptools", "wheel", "pkg_resources"} & {path.name for path in packages.iterdir()}
    commands = {
        path.name for path in (tree / "bin").iterdir() if not path.name.startswith(("python", "activate", "Activate"))
    }
    assert commands == {"relay", "idna", "normalizer", "cffi-gen-src"}


def test_no_file_has_rights_that_it_needs_not(tree: Path) -> None:
    """No set-uid, no set-gid, nothing that everybody may write."""
    too_free = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH
    modes = {path: path.lstat().st_mode for path in tree.rglob("*") if not path.is_symlink()}

    assert len(modes) > 1000
    assert [path for path, mode in modes.items() if mode & too_free] == []


def test_every_file_is_one_that_its_wheel_listed(tree: Path, packages: Path) -> None:
    """Each is recorded by the package that brought it, with its digest; wheels themselves are held to the lock."""
    recorded: dict[Path, str] = {}
    for record in packages.glob("*.dist-info/RECORD"):
        with record.open(newline="") as lines:
            recorded |= {(packages / name).resolve(): digest for name, digest, _ in csv.reader(lines)}
    files = [path.resolve() for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc"]

    assert len(files) > 1000
    assert [path for path in files if path not in recorded] == []
    assert [path for path in files if recorded[path] and recorded[path] != _digest(path)] == []


def _digest(path: Path) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()


def _pinned() -> dict[str, str]:
    """What the lock file asks for on this machine."""
    environment = {name: str(value) for name, value in default_environment().items()}
    found: dict[str, str] = {}
    for pin in PIN.finditer((DEPLOY / "requirements.lock").read_text()):
        requirement = Requirement(pin[0].split("\\", 1)[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            found[canonicalize_name(requirement.name)] = pin["version"]
    return found


def test_the_list_of_materials_is_what_was_installed(tree: Path) -> None:
    """CycloneDX: every pinned package and the relay, nothing else, each with a licence and a name to look it up by."""
    materials: dict[str, Any] = json.loads((tree / "sbom.cdx.json").read_text())
    components = {canonicalize_name(each["name"]): each for each in materials["components"]}

    assert materials["bomFormat"] == "CycloneDX"
    assert {name: each["version"] for name, each in components.items()} == {**_pinned(), "relay": relay.__version__}
    assert all(each["purl"].startswith("pkg:pypi/") for name, each in components.items() if name != "relay")
    assert [name for name, each in components.items() if not each.get("licenses")] == []


def test_it_runs_without_a_right_to_write(tree: Path) -> None:
    """As the image's user does on a read-only root: nothing is compiled, nothing is left behind."""
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_dir()}
    environment = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [tree / "bin" / "relay", "--version"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert relay.__version__ in done.stdout
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_dir()} == before


def test_the_tree_is_of_this_python(tree: Path) -> None:
    """Else it would be looked through for another one's packages."""
    done = subprocess.run(
        [tree / "bin" / "python", "--version"], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split()[1] == sys.version.split()[0]
