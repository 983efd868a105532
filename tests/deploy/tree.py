"""What the image holds under /opt/relay, built without a container tool: the first stage's own commands, in a folder.

It is built anew when its dependencies or its build have changed. What the second stage adds (the base, the user,
the stripped set-uid bits) needs a container tool: docs/deploy.md has those commands.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.deploy import files
from tests.support import ROOT

FOLDER = ROOT / ".venv-image"
TREE = FOLDER / "relay"
SBOM = TREE / "sbom.cdx.json"
_WORK = FOLDER / "build"
_STAMP = FOLDER / "stamp"


def main() -> int:
    """Build it, unless it is up to date; 1 when that fails."""
    if built() is None:
        shutil.rmtree(FOLDER, ignore_errors=True)
        _WORK.mkdir(parents=True)
        for name, rest in files.stages()[0]:
            done = _copy(rest) if name == "COPY" else _run(rest) if name == "RUN" else 0
            if done:
                return 1
        _STAMP.write_text(_inputs())
    print(SBOM.relative_to(ROOT))
    return 0


def built() -> Path | None:
    """The tree, if it is there and up to date."""
    return TREE if _STAMP.exists() and _STAMP.read_text() == _inputs() else None


def _inputs() -> str:
    """A digest of all that decides but the relay's own modules, which are fresh where the folder is, as in CI."""
    digest = hashlib.sha256(sys.version.encode())
    for name in ("Dockerfile", "pyproject.toml", "deploy/build.lock", "deploy/requirements.lock"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def _copy(rest: str) -> int:
    *sources, target = rest.split()
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, _WORK / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / source, _WORK / target)
    return 0


def _run(rest: str) -> int:
    """As the Dockerfile has it, at another place; pip says only what went wrong."""
    command = re.sub(r"--mount=\S+ ", "", rest).replace("/opt/relay", str(TREE)).replace("--no-cache-dir", "--quiet")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=_WORK, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
