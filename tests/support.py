"""What several test packages share: outside tools, Node scripts, and a real relay process to talk to.

A tool that is missing skips the test with a loud reason on a developer's machine and fails it when CI=true.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests import canary

ROOT = Path(__file__).parent.parent
JS = ROOT / "tests" / "js"
"""Scripts that need Node; their packages are installed beside them by `make test`."""

READY_WITHIN_S = 20.0
GONE_WITHIN_S = 15.0


def missing(what: str) -> NoReturn:
    """Skip the calling test because `what` is not there, or fail it where nothing may be skipped.

    Raises:
        pytest.skip.Exception: on a developer's machine.
        pytest.fail.Exception: when CI=true.
    """
    reason = f"!! NOT TESTED: {what} is missing here; `make test` installs what it can"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require_tool(*names: str) -> Path:
    """Path of the first of these commands that is installed.

    Raises:
        pytest.skip.Exception: none is, on a developer's machine.
        pytest.fail.Exception: none is, and CI=true.
    """
    for name in names:
        if found := shutil.which(name):
            return Path(found)
    missing(" or ".join(names))


def require_promtool() -> str:
    """Path of `promtool`, which `make test` puts beside the interpreter; skips or fails as `require_tool` does."""
    beside = Path(sys.executable).parent / "promtool"
    return str(beside if beside.exists() else require_tool("promtool"))


def require_node_packages(*names: str) -> Path:
    """Path of `node`, once it is sure that these packages are installed for the scripts in tests/js.

    Raises:
        pytest.skip.Exception: something is missing, on a developer's machine.
        pytest.fail.Exception: something is missing, and CI=true.
    """
    node = require_tool("node", "nodejs")
    for name in names:
        if not (JS / "node_modules" / name / "package.json").exists():
            missing(f"the Node package {name}")
    return node


def run_node(node: Path, script: str, options: Mapping[str, Any], timeout_s: float = 60.0) -> Any:
    """Run a script of tests/js with `options` as its one argument, and return the JSON it printed.

    Raises:
        AssertionError: it exited with an error; its own words are in the message.
        subprocess.TimeoutExpired: it took longer than `timeout_s`.
    """
    command = [str(node), str(JS / script), json.dumps(options)]
    done = subprocess.run(command, cwd=JS, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{script} failed:\n{done.stderr[-4000:]}"
    return json.loads(done.stdout)


@contextlib.contextmanager
def relay_process(log: Path, *arguments: str) -> Iterator[dict[str, Any]]:
    """Run `python -m relay …` until the block ends; yields its ready line. Standard error goes to `log`.

    It logs at DEBUG, and none of its secrets may stand in what it wrote.

    Raises:
        AssertionError: it was not ready in time, did not end within seconds of SIGTERM, or wrote a secret.
    """
    notes, out = log.with_suffix(".secrets"), log.with_suffix(".out")
    environment = canary.environment(notes, os.environ)
    environment.pop("GEMINI_API_KEY", None)
    level = ["--set", "log.level=debug"] if arguments[0] in {"serve", "demo"} else []
    command = [sys.executable, "-m", "relay", *arguments, *level]
    with log.open("wb") as errors, out.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        try:
            line = _first_line(out, process)
            assert line, f"relay {' '.join(arguments)} was not ready:\n{log.read_text()[-4000:]}"
            yield json.loads(line)
        finally:
            process.terminate()
            try:
                process.wait(timeout=GONE_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError("the relay did not end after SIGTERM") from None
    # `relay demo` tells whoever started it the token it made for them.
    said = b"".join(line for line in log.read_bytes().splitlines(keepends=True) if b", its token " not in line)
    canary.look_in_process(notes, {"standard output": out.read_bytes(), "standard error": said})


def _first_line(file: Path, process: "subprocess.Popen[bytes]") -> bytes:
    """What the process says first, once it has; nothing when it ended, or took too long."""
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with file.open("rb") as written:
            if (line := written.readline()).endswith(b"\n"):
                return line
        time.sleep(0.02)
    return b""
