"""The Dockerfile, its context, its lock files and the configuration inside the image.

Building and running the image needs a container tool and minutes: docs/deploy.md has those commands.
"""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import relay
from tests.deploy import files
from tests.deploy.files import DEPLOY, PIN
from tests.support import ROOT


def _context_sources() -> set[str]:
    """Every path the Dockerfile copies from the build context."""
    copies = [rest.split() for stage in files.stages() for name, rest in stage if name == "COPY"]
    return {source.rstrip("/") for words in copies if "--from=build" not in words for source in words[:-1]}


@pytest.mark.threat("F7")
def test_the_image_runs_as_a_numbered_user_without_rights() -> None:
    """The last stage ends as a fixed, non-root uid and gid, and root does nothing after that."""
    user, _, group = files.last("USER").partition(":")
    names = [name for name, _ in files.stages()[-1]]

    assert int(user) > 0
    assert int(group) > 0
    assert not {"RUN", "COPY", "ADD"} & set(names[names.index("USER") :])


@pytest.mark.threat("F7")
def test_nothing_is_built_or_downloaded_in_the_last_stage() -> None:
    """Compilers, package managers and their caches have no place in what is shipped; both stages share one base."""
    runs = " ".join(rest for name, rest in files.stages()[-1] if name == "RUN")

    assert not re.search(r"\b(pip|apt|apt-get|gcc|cc|make|curl|wget|git)\b", runs)
    assert [stage[0][1].split()[0] for stage in files.stages()] == ["${BASE}", "${BASE}"]


def test_signals_reach_the_relay_itself() -> None:
    """The relay is started in exec form, with no shell before it, and is stopped with the signal it drains on."""
    assert json.loads(files.last("ENTRYPOINT")) == ["relay"]
    assert json.loads(files.last("CMD")) == ["serve", "--config", "/etc/relay/relay.yaml"]
    assert files.last("STOPSIGNAL") == "SIGTERM"
    assert "deploy/relay.yaml /etc/relay/relay.yaml" in [rest for name, rest in files.stages()[-1] if name == "COPY"]


def test_only_listed_files_can_enter_a_build() -> None:
    """What the context lets through is exactly what is copied: no secrets, no environments, no history."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    let_in = {line[1:].removesuffix("/**") for line in lines if line[0] == "!"}

    assert lines[0] == "*"
    assert let_in == _context_sources()
    assert all((ROOT / source).exists() for source in let_in), "the build would fail"
    assert "ADD" not in {name for stage in files.stages() for name, _ in stage}


def test_no_secret_is_part_of_the_image() -> None:
    """Neither build arguments nor environment name a key: they would stay readable in the image's history."""
    declared = " ".join(rest for stage in files.stages() for name, rest in stage if name in {"ARG", "ENV", "LABEL"})

    assert not re.search(r"(?i)key|secret|token|password", declared)


def test_the_label_says_the_version() -> None:
    """The image's version label is the package's."""
    assert ("ARG", f"VERSION={relay.__version__}") in files.stages()[-1]


def test_the_lock_fits_the_package() -> None:
    """Each dependency is pinned within its range, and every pin has hashes, so that a build can't pick up another."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    for file, wanted in (
        (
            "requirements.lock",
            [*project["project"]["dependencies"], *extras["redis"], *extras["vertex"]],
        ),
        ("build.lock", project["build-system"]["requires"]),
    ):
        pins = list(PIN.finditer((DEPLOY / file).read_text()))
        versions = {canonicalize_name(pin["name"]): pin["version"] for pin in pins}
        assert all("--hash=sha256:" in pin["rest"] for pin in pins)
        # One wheel and one source archive at least; this release of certifi came without the latter.
        assert {pin["name"] for pin in pins if pin["rest"].count("--hash=sha256:") < 2} <= {"certifi"}
        for requirement in map(Requirement, wanted):
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


@pytest.mark.threat("F7")
def test_set_uid_programs_of_the_base_lose_their_right() -> None:
    """Before anything of ours is copied; what an image then has, only a build can show."""
    runs = [rest for name, rest in files.stages()[-1] if name == "RUN"]

    assert "find / -xdev -type f -perm /6000 -exec chmod a-s {} +" in runs


@pytest.mark.threat("F7")
def test_every_package_is_held_to_its_hash() -> None:
    """No install of the Dockerfile's takes what is not in a lock file, or builds anything but the relay."""
    installs = [
        part
        for name, rest in files.stages()[0]
        if name == "RUN"
        for part in rest.split("&&")
        if "pip" in part and "install" in part
    ]

    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-index --no-deps wheels/*.whl" in each for each in installs)
    assert all("--only-binary :all:" in each for each in installs if "--require-hashes" in each)


def _floors() -> dict[str, Requirement]:
    lines = [line.partition("#")[0].strip() for line in (DEPLOY / "floors.txt").read_text().splitlines()]
    return {canonicalize_name(floor.name): floor for floor in map(Requirement, filter(None, lines))}


@pytest.mark.threat("F8")
def test_no_pinned_version_is_known_to_be_flawed() -> None:
    """Each floor holds for what goes into the image or builds it; a floor for nothing is left over from something."""
    pinned: dict[str, set[str]] = {}
    for name in ("requirements.lock", "build.lock"):
        for pin in PIN.finditer((DEPLOY / name).read_text()):
            pinned.setdefault(canonicalize_name(pin["name"]), set()).add(pin["version"])
    floors = _floors()

    assert floors.keys() <= pinned.keys()
    assert len(floors) >= 14
    low = [f"{name} {version}" for name in floors for version in pinned[name] if version not in floors[name].specifier]
    assert low == []


@pytest.mark.threat("F8")
def test_no_permitted_version_is_known_to_be_flawed() -> None:
    """Who installs the package without the lock gets nothing below a floor either, and this environment has nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    direct = [
        *project["project"]["dependencies"],
        *extras["redis"],
        *extras["vertex"],
        *project["build-system"]["requires"],
    ]
    floors = _floors()
    for requirement in map(Requirement, direct):
        floor = floors.get(canonicalize_name(requirement.name))
        if floor is not None:
            (least,) = (each.version for each in requirement.specifier if each.operator == ">=")
            assert least in floor.specifier, requirement
    shipped = {canonicalize_name(pin["name"]) for pin in PIN.finditer((DEPLOY / "requirements.lock").read_text())}
    installed = {name: metadata.version(name) for name in floors if name in shipped and _installed(name)}
    assert [name for name, version in installed.items() if version not in floors[name].specifier] == []
    assert {"aiohttp", "pyjwt", "cryptography", "redis"} <= installed.keys()


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _relay(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relay", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_the_image_s_configuration_passes_the_check() -> None:
    """`relay check` accepts it with and without its variables set, and shows what they change."""
    plain = _relay("check", "deploy/relay.yaml")
    changed = _relay(
        "check", "deploy/relay.yaml", GEMINI_BASE_URL="ws://127.0.0.1:9000", APP_ORIGIN="https://shop.example"
    )

    assert plain.returncode == 0, plain.stderr
    assert changed.returncode == 0, changed.stderr
    assert "base_url: wss://generativelanguage.googleapis.com" in plain.stdout
    assert "base_url: ws://127.0.0.1:9000" in changed.stdout
    assert "https://shop.example" in changed.stdout


def test_a_missing_secret_ends_the_start_with_its_path() -> None:
    """Without its secrets mounted the container says which file it misses, and exits as misconfigured."""
    done = _relay("serve", "--config", "deploy/relay.yaml", "--set", "handles.secret_file=/nowhere/handle_secret")

    assert done.returncode == 78
    assert re.fullmatch(r"/(run/secrets|nowhere)/\w+: can't be read\n", done.stderr)


def test_the_health_check_tells_a_live_relay_from_a_dead_one(demo: dict[str, Any]) -> None:
    """The image's own command succeeds on a running relay and fails where nothing listens or another status is sent."""
    python, *arguments = files.health_command()
    alive = demo["admin"].rpartition(":")[2]

    def checked(port: str, path: str) -> int:
        code = arguments[-1].replace("9090", port).replace("/healthz", path)
        return subprocess.run([sys.executable, *arguments[:-1], code], capture_output=True, timeout=30).returncode

    assert python == "python3"
    assert checked(alive, "/healthz") == 0
    assert checked(alive, "/nothing") != 0
    assert checked("1", "/healthz") != 0
