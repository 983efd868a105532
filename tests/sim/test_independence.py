"""The simulator judges the relay, so it must not share its code; and what decides must not touch the outside."""

import ast
from pathlib import Path

import pytest

import relay.sim

MODULES = sorted(Path(relay.sim.__file__).parent.glob("*.py"))
SHELL = {"bench", "connection", "inspection", "server"}
"""The only modules that may know the event loop or aiohttp."""


def imported(module: Path) -> set[str]:
    """The modules a source file imports, in full."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_only_the_schema_is_shared_with_the_relay(module: Path) -> None:
    """Of the relay nothing but the table of names and types."""
    own = {name for name in imported(module) if name.split(".")[0] == "relay"}

    assert all(name.startswith(("relay.sim", "relay.core.schema")) or name == "relay.core.schema" for name in own)


@pytest.mark.parametrize("module", [m for m in MODULES if m.stem not in SHELL], ids=lambda module: module.stem)
def test_what_decides_is_pure(module: Path) -> None:
    """No event loop, no network, no clock, no environment outside the shell."""
    roots = {name.split(".")[0] for name in imported(module)}

    assert not roots & {"asyncio", "aiohttp", "time", "socket", "ssl", "os", "logging", "signal"}
