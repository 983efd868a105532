"""What several test packages share: outside tools, Node scripts, and a real relay process to talk to.

A tool that is missing skips the test with a loud reason on a developer's machine and fails it when CI=true.
"""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

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

    Raises:
        AssertionError: it was not ready in time, or did not end within seconds of SIGTERM.
    """
    environment = {name: value for name, value in os.environ.items() if name != "GEMINI_API_KEY"}
    command = [sys.executable, "-m", "relay", *arguments]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdout is not None
            readable, _, _ = select.select([process.stdout], [], [], READY_WITHIN_S)
            line = process.stdout.readline() if readable else b""
            assert line, f"relay {' '.join(arguments)} was not ready:\n{log.read_text()[-4000:]}"
            yield json.loads(line)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=GONE_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise AssertionError("the relay did not end after SIGTERM") from None
