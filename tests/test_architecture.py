"""The shape of the code, checked by reading it: who imports whom, who stays pure, and that everything has its test."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "relay").rglob("*.py"))
}

PURE = frozenset(
    {"collections", "dataclasses", "decimal", "enum", "hmac", "json", "math", "re", "types", "typing", "orjson"}
)
"""All that the core may import beside itself: no clock, no socket, no randomness, no files, no logs."""

MAX_LINES = 400

# What each part of the package may import of the others; a part always sees itself.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "config": {"core"},
    "web": set(),
    "sim": {"core"},
    "metrics": {"core"},
    "scrubber": {"core"},
    "log": {"core", "scrubber"},
    "store": {"core"},
    "net": {"core", "metrics", "scrubber", "web"},
    "upstream": {"core", "config", "net"},
    "accounting": {"core", "config", "net", "store", "metrics"},
    "credentials": {"core", "config", "net"},
    "doorways": {"core", "config", "net", "metrics"},
    "app": {
        *("core", "config", "net", "upstream", "accounting", "credentials", "doorways"),
        *("metrics", "scrubber", "log", "web"),
    },
    "console": {"core"},
    "ticket_cli": {"console"},
    "cli": {"app", "config", "console", "sim", "log", "core", "ticket_cli"},
    "__main__": {"cli"},
}


def part(module: str) -> str:
    """The part of the package a module belongs to: `relay.core.policy` -> `core`."""
    return [*module.split("."), ""][1]


def imports(path: Path) -> Iterator[str]:
    """Every module a file names in an import, wherever it stands in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            # `from relay import log` names a module, `from relay.log import Scrubber` a thing in one
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)


def parts_imported(path: Path) -> set[str]:
    """The parts of the package that a file imports."""
    return {part(name) for name in imports(path) if name.split(".")[0] == "relay"} - {""}


@pytest.mark.parametrize("module", [module for module in MODULES if part(module) == "core"])
def test_the_core_is_pure(module: str) -> None:
    """It decides from events alone: nothing it imports could wait, look at a clock or open anything."""
    foreign = {name.split(".")[0] for name in imports(MODULES[module])} - {"relay"}
    assert foreign <= PURE


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_inwards(module: str) -> None:
    """cli -> app -> net -> core: no part imports one that is built on it."""
    own = part(module)
    if own:  # relay/__init__.py itself imports nothing of the package
        assert own in MAY_IMPORT, f"{own} is new: say what it may import"
    assert parts_imported(MODULES[module]) - {own} <= MAY_IMPORT.get(own, set())


def test_only_the_composition_root_sees_the_whole_configuration() -> None:
    """Everybody else is handed a slice."""
    users = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("relay.config")
        and any(alias.name == "Config" for alias in node.names)
    }
    assert {part(module) for module in users} <= {"config", "app", "doorways", "cli"}


def imported_before(module: str) -> set[str]:
    """The modules of the package that `module` asks for, and the packages around those.

    Not the packages around itself: they are always begun first, and may import what they hold.
    """
    named = {name for name in imports(MODULES[module]) if name in MODULES}
    around = {name.rsplit(".", depth)[0] for name in named for depth in range(1, name.count(".") + 1)}
    return named | {package for package in around if not f"{module}.".startswith(f"{package}.")}


def test_every_module_can_be_imported_alone() -> None:
    """No module relies on another one having been imported first: none imports itself by a detour."""
    try:
        graphlib.TopologicalSorter({module: imported_before(module) for module in MODULES}).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short(module: str) -> None:
    """A module that grows past the limit is two modules."""
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= MAX_LINES


def test_only_the_driver_starts_tasks() -> None:
    """A task that nobody owns outlives its session: they are born in one TaskGroup per session, and nowhere else.

    The accounts and the warden have one task each for the process, and exports one for each place, which the
    composition root starts and waits for. A listener has one for each connection that is being accepted.
    """
    starters = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"create_task", "ensure_future", "TaskGroup"}
    }
    assert starters == {
        "relay.net.driver",
        "relay.net.accounts",
        "relay.net.exports",
        "relay.net.listener",
        "relay.net.warden",
        "relay.sim.connection",
    }  # the simulator has its own


def has_code(path: Path) -> bool:
    """Whether a module does anything beyond holding tables and plain data."""
    return any(isinstance(node, ast.FunctionDef) for node in ast.walk(ast.parse(path.read_text("utf-8"))))


@pytest.mark.parametrize(
    "module",
    [module for module, path in MODULES.items() if part(module) in {"core", "config"} and has_code(path)],
)
def test_every_module_of_the_core_and_the_configuration_has_its_test(module: str) -> None:
    """`relay/core/policy.py` is tested by `tests/core/test_policy*.py`, and so on."""
    name = MODULES[module].stem
    assert list((ROOT / "tests" / part(module)).glob(f"test_{name}*.py"))
