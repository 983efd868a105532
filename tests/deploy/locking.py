"""`make lock`: both lock files anew, with the hash of every file that the index has of each pinned version.

A lock file's own pins stay unless `--upgrade` is given; its old hashes don't, so that none is missing or left over.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deploy.files import DEPLOY, PIN
from tests.support import ROOT

UV = "uv>=0.9"
COMMON = ("--quiet", "--universal", "--generate-hashes", "--no-annotate", "--python-version", "3.11")
LOCKS = {
    "requirements.lock": ("--extra", "redis", "--extra", "vertex", "pyproject.toml"),
    "build.lock": ("deploy/build.in",),
}


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.locking", description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that are allowed")
    upgrade = parser.parse_args().upgrade
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV], check=True)
    for name, sources in LOCKS.items():
        lock = DEPLOY / name
        with tempfile.TemporaryDirectory() as folder:
            pins, fresh = Path(folder) / "pins.txt", Path(folder) / name
            pins.write_text(
                ""
                if upgrade
                else "\n".join(f"{pin['name']}=={pin['version']}" for pin in PIN.finditer(lock.read_text()))
            )
            command = [sys.executable, "-m", "uv", "pip", "compile", *COMMON, *sources]
            subprocess.run([*command, "-c", str(pins), "-o", str(fresh)], cwd=ROOT, check=True)
            body = [line for line in fresh.read_text().splitlines(keepends=True) if not line.startswith("#")]
        lock.write_text("".join(["# Made by `make lock`.\n", *body]))
        print(f"{name}: {sum('==' in line for line in body)} packages, {sum('--hash' in line for line in body)} hashes")


if __name__ == "__main__":
    main()
