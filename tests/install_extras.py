"""Install what only some tests need: Node packages, Chromium, servers, promtool, an old SDK, Autobahn, an image's tree.

What it can't install it says loudly.
Missing extras skip their tests on a developer's machine; with CI=true those tests fail instead.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
OLD_SDK = "google-genai==1.75.0"
"""The last 1.x of the official Python SDK: other default API version, other way of sending."""


def main() -> None:
    """Bring every extra up to date, one after the other."""
    tried = (
        _debian("chromium"),
        _debian("npm", "nodejs"),
        _debian("redis-server"),
        _debian("faketime"),
        _debian("nginx", package="nginx-light"),
        _debian("haproxy"),
        _promtool(),
        _node_packages(),
        _old_sdk(),
        _autobahn(),
        _image_tree(),
    )
    problems = [problem for problem in tried if problem]
    for problem in problems:
        print(f"!! tests will be skipped: {problem}", file=sys.stderr)
    if problems and os.environ.get("CI") == "true":
        sys.exit("CI may not skip tests")


def _debian(command: str, *more: str, package: str = "") -> str | None:
    if shutil.which(command) or Path("/usr/sbin", command).exists():
        return None
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return f"{command} is not installed"
    subprocess.run(["apt-get", "update", "-qq"], check=False)
    done = subprocess.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package or command, *more], check=False
    )
    return None if done.returncode == 0 else f"apt-get could not install {command}"


def _promtool() -> str | None:
    """Out of Debian's package, into the environment: to install that would start a Prometheus on port 9090."""
    place = Path(sys.executable).parent / "promtool"
    if place.exists() or shutil.which("promtool"):
        return None
    if not shutil.which("apt-get"):
        return "promtool is not installed"
    if os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, check=False)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, folder], check=False)
        found = Path(folder) / "usr" / "bin" / "promtool"
        if found.exists():
            shutil.copy2(found, place)
    return None if place.exists() else "promtool could not be taken from Debian's package prometheus"


def _node_packages() -> str | None:
    folder = ROOT / "tests" / "js"
    stamp = folder / "node_modules" / ".package-lock.json"
    if stamp.exists() and stamp.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
        return None
    if not shutil.which("npm"):
        return "npm is not installed"
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=False)
    return None if done.returncode == 0 else "npm ci failed"


def _old_sdk() -> str | None:
    python = ROOT / ".venv-sdk1" / "bin" / "python"
    if _has_old_sdk(python):
        return None
    subprocess.run([sys.executable, "-m", "venv", ROOT / ".venv-sdk1"], check=False)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "virtualenv"], check=False)
        subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", ROOT / ".venv-sdk1"], check=False)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", OLD_SDK], check=False)
    return None if _has_old_sdk(python) else f"{OLD_SDK} could not be installed"


def _autobahn() -> str | None:
    """Into an environment of its own; where there is no Python 2.7 it says so, and its tests are skipped in CI too."""
    done = subprocess.run([sys.executable, "-m", "tests.autobahn", "--install"], cwd=ROOT, check=False)
    return None if done.returncode == 0 else "the Autobahn test suite could not be installed"


def _image_tree() -> str | None:
    """What the image would hold, for tests that look through it; half a minute whenever it changes."""
    done = subprocess.run([sys.executable, "-m", "tests.deploy.tree"], cwd=ROOT, check=False)
    return None if done.returncode == 0 else "what goes into the image could not be built"


def _has_old_sdk(python: Path) -> bool:
    if not python.exists():
        return False
    probe = "import importlib.metadata as m; print('google-genai==' + m.version('google-genai'))"
    done = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=False)
    return done.stdout.strip() == OLD_SDK


if __name__ == "__main__":
    main()
