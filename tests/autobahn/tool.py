"""The Autobahn test suite itself: a program of Python 2.7, in an environment of its own."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support import ROOT

ENVIRONMENT = ROOT / ".venv-autobahn"
PACKAGE = "autobahntestsuite==25.10.1"
NO_PYTHON = "the Autobahn test suite needs Python 2.7, and there is none on the path or in pyenv"
READY_WITHIN_S = 20.0
AGENT = "relay"


class MissingError(Exception):
    """The suite is not here and can't be installed; says why."""


def wstest() -> Path | None:
    """The suite's command, if it is installed."""
    command = ENVIRONMENT / "bin" / "wstest"
    return command if (ENVIRONMENT / PACKAGE).exists() and command.exists() else None


def install() -> Path:
    """The suite's command, installed now if need be: half a minute, and a C compiler.

    Raises:
        MissingError: there is no Python 2.7, or the package can't be had.
    """
    if (command := wstest()) is not None:
        return command
    python = python2()
    if python is None:
        raise MissingError(NO_PYTHON)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    maker = ENVIRONMENT / "maker"
    # The last virtualenv that still makes environments for Python 2.7; it runs on ours.
    _run(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(maker), "virtualenv<20.22")
    _run(sys.executable, "-m", "virtualenv", "--quiet", "--python", python, str(ENVIRONMENT), path=maker)
    _run(str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", PACKAGE)
    (ENVIRONMENT / PACKAGE).touch()
    if (command := wstest()) is None:
        raise MissingError(f"{PACKAGE} has no wstest")
    return command


def python2() -> str | None:
    """A Python 2.7, if there is one on the path or in pyenv."""
    pyenv = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*2.7*/bin/python"))
    for python in ("python2.7", "python2", "pypy2", "pypy", *map(str, pyenv)):
        if shutil.which(python):
            done = subprocess.run(
                [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, check=False
            )
            if done.stdout.strip() == b"2.7":
                return python
    return None


def _run(*command: str, path: Path | None = None) -> None:
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_PYTHON_VERSION_WARNING": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"{' '.join(command[:4])} … failed:\n{done.stderr[-2000:]}")


Index = dict[str, dict[str, Any]]
"""What the suite says of each case, by its number."""


async def as_client(command: Path, url: str, cases: Sequence[str], within_s: float) -> Index:
    """Let the suite's client try `cases` on a server.

    Raises:
        TimeoutError: it did not come to an end.
    """
    with tempfile.TemporaryDirectory() as folder:
        spec = {"servers": [{"agent": AGENT, "url": url}]}
        process = await _started(command, "fuzzingclient", folder, spec, cases)
        await _ended(process, within_s)
        return index_of(Path(folder))


@asynccontextmanager
async def as_server(command: Path, cases: Sequence[str]) -> AsyncIterator[tuple[str, Path]]:
    """Run the suite's server; its address, and the folder of its reports.

    Raises:
        MissingError: it does not listen.
    """
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        process = await _started(command, "fuzzingserver", folder, {"url": f"ws://127.0.0.1:{port}"}, cases)
        try:
            await _listens(port)
            yield f"ws://127.0.0.1:{port}", Path(folder)
        finally:
            process.terminate()
            await process.wait()


def index_of(folder: Path) -> Index:
    """What the suite has reported there."""
    report: dict[str, Index] = json.loads((folder / "index.json").read_text())
    return report[AGENT]


async def _started(
    command: Path, mode: str, folder: str, spec: dict[str, Any], cases: Sequence[str]
) -> asyncio.subprocess.Process:
    whole = spec | {"outdir": folder, "cases": list(cases), "exclude-cases": [], "exclude-agent-cases": {}}
    (Path(folder) / "spec.json").write_text(json.dumps(whole))
    arguments = ["-m", mode, "-s", f"{folder}/spec.json"] + (["--webport=0"] if mode == "fuzzingserver" else [])
    return await asyncio.create_subprocess_exec(
        command, *arguments, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )


async def _ended(process: asyncio.subprocess.Process, within_s: float) -> None:
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _listens(port: int) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return
    except TimeoutError:
        raise MissingError("the suite's server does not listen") from None
