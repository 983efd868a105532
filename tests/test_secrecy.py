"""What holds for the relay as a whole, so that nothing secret gets out where nobody thought of it."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.test_architecture import MODULES

FOREIGN = frozenset({"aiohttp", "jwt", "redis", "requests", "urllib", "google", "yaml", "pydantic", "sqlite3"})
"""Libraries whose exceptions quote what they were given: addresses, headers, tokens, whole files."""
QUOTING = frozenset(
    {
        *("ClientError", "WSServerHandshakeError", "ClientConnectorCertificateError", "RedisError", "ResponseError"),
        *("PyJWTError", "HTTPError", "URLError", "HTTPException", "YAMLError", "MarkedYAMLError", "ValidationError"),
        *("UnicodeDecodeError", "JSONDecodeError", "ValueError", "Error", "TransportError", "InvalidTag"),
    }
)


def _names(node: ast.expr | None) -> set[str]:
    if node is None:
        return {"BaseException"}
    return {
        inner.attr if isinstance(inner, ast.Attribute) else inner.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute | ast.Name)
    }


def _chained(path: Path) -> Iterator[str]:
    """Raises that hand a foreign exception on as cause or context, with their line."""
    for handler in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(handler, ast.ExceptHandler) or not _names(handler.type) & QUOTING:
            continue
        for node in ast.walk(handler):
            if not isinstance(node, ast.Raise):
                continue
            cut = isinstance(node.cause, ast.Constant) and node.cause.value is None
            if not cut:
                yield f"{path.name}:{node.lineno}"


@pytest.mark.threat("A4")
def test_no_exception_of_ours_drags_a_foreign_one_along() -> None:
    """Every raise where a library's exception was caught says `from None`; none is raised again as it is."""
    modules = {name: path for name, path in MODULES.items() if not name.startswith("relay.sim")}
    handlers = [
        handler
        for path in modules.values()
        for handler in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(handler, ast.ExceptHandler) and _names(handler.type) & QUOTING
    ]
    assert len(handlers) > 25, "they were found"
    assert [line for path in modules.values() for line in _chained(path)] == []


@pytest.mark.threat("A4")
def test_nothing_is_printed_but_by_the_command_line() -> None:
    """The log is the one way out: no print, no traceback module, no write to a standard stream."""
    printers = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and node.attr in {"print_exc", "format_exc", "print_stack", "stderr"})
    }
    assert printers <= {"relay.cli"}


@pytest.mark.threat("A5")
def test_a_process_leaves_no_core_and_can_have_its_keys_from_files(tmp_path: Path) -> None:
    """A crash writes no memory to a disk, and what the environment shows to others holds no key."""
    key = "AIzaCoreCanary0123456789abcdefghij"
    for name in ("google", "tenant", "admin", "handles"):
        (tmp_path / name).write_text(f"{name}-{key}")
    config = {
        "listen": {"port": 0},
        "admin": {"port": 0, "token_file": str(tmp_path / "admin")},
        "upstream": {"api_key_file": str(tmp_path / "google")},
        "handles": {"secret_file": str(tmp_path / "handles")},
        "policies": {"p": {"model": "models/m"}},
        "tenants": [{"id": "acme", "policy": "p", "key_files": [str(tmp_path / "tenant")]}],
    }
    (tmp_path / "relay.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "relay", "serve", "--config", str(tmp_path / "relay.yaml")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        about = Path(f"/proc/{process.pid}")
        (limit,) = [line for line in (about / "limits").read_text().splitlines() if line.startswith("Max core file")]
        shown = (about / "environ").read_bytes() + (about / "cmdline").read_bytes()
        process.send_signal(signal.SIGABRT)
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)

    assert limit.split()[4:6] == ["0", "0"]
    assert key[:12].encode() not in shown
    assert process.returncode == -signal.SIGABRT
    assert not list(ROOT.glob("core*"))
