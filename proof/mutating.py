"""Switches each protection off, in a copy of the tree, and expects its tests to fail.

What to switch off stands in proof/mutations/*.yaml: a text that occurs once in a file, and what takes its place. A
mutation holds nothing unless its tests pass without it, so they are run that way first.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import yaml

from proof.client import ProofError
from proof.figures import note, table

ROOT = Path(__file__).parent.parent
LISTS = ROOT / "proof" / "mutations"
_INSTALLED = (".venv", ".venv-sdk1", "tests/js/node_modules")
"""What the copy borrows from the tree beside it: environments that are not in the repository."""
_TESTS_WITHIN_S = 180.0


class Exit(IntEnum):
    """What pytest's exit codes mean to us; any other one is a mistake in a mutation."""

    PASSED = 0
    FAILED = 1


@dataclass(frozen=True, slots=True)
class Mutation:
    """A protection, and how to do without it."""

    rows: tuple[str, ...]
    """Of docs/threat-model.md; none for a promise that is not about attacks."""
    protection: str
    file: str
    replace: str
    put: str
    tests: tuple[str, ...]

    def mutated(self, text: str) -> str:
        """The file's text without the protection.

        Raises:
            ProofError: the text to replace is not there, or there more than once.
        """
        if text.count(self.replace) != 1:
            raise ProofError(f"{self.protection}: {text.count(self.replace)} × in {self.file}: {self.replace!r}")
        return text.replace(self.replace, self.put)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said without a protection."""

    mutation: Mutation
    code: int
    """pytest's exit code."""
    tail: str

    @property
    def noticed(self) -> bool:
        """Whether the tests missed the protection."""
        return self.code == Exit.FAILED


def listed(folder: Path = LISTS) -> list[Mutation]:
    """Every mutation there is.

    Raises:
        ProofError: an entry has other keys than these.
    """
    found = []
    for file in sorted(folder.glob("*.yaml")):
        for entry in yaml.safe_load(file.read_text()):
            if set(entry) != {"rows", "protection", "file", "replace", "with", "tests"} or not entry["tests"]:
                raise ProofError(f"{file.name}: {entry.get('protection', entry)}: wrong or missing keys")
            rows, tests = tuple(entry["rows"]), tuple(entry["tests"])
            found.append(Mutation(rows, entry["protection"], entry["file"], entry["replace"], entry["with"], tests))
    return found


async def run(wanted: list[str], jobs: int) -> list[Verdict]:
    """Try every mutation whose rows, or words, contain one of `wanted`; all of them when nothing is wanted.

    Raises:
        ProofError: there is none such; a mutation does not apply; or its tests fail even without it.
    """
    chosen = [
        mutation
        for mutation in listed()
        if not wanted or set(wanted) & set(mutation.rows) or any(words in mutation.protection for words in wanted)
    ]
    if not chosen:
        raise ProofError(f"no mutation is called {', '.join(wanted)}")
    with tempfile.TemporaryDirectory() as folder:
        desks: asyncio.Queue[Path] = asyncio.Queue()
        for number in range(jobs):
            desks.put_nowait(_copied(Path(folder) / str(number)))
        await _pass_as_it_is(desks, chosen)
        return await asyncio.gather(*(_tried(desks, mutation) for mutation in chosen))


def _copied(place: Path) -> Path:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / name)
    for name in _INSTALLED:
        if (ROOT / name).exists():
            (place / name).symlink_to(ROOT / name)
    return place


async def _pass_as_it_is(desks: asyncio.Queue[Path], chosen: list[Mutation]) -> None:
    tests = sorted({test for mutation in chosen for test in mutation.tests})
    note(f"{len(tests)} tests, first with everything switched on")
    desk = await desks.get()
    code, tail = await _tests(desk, tests, _TESTS_WITHIN_S * len(chosen))
    desks.put_nowait(desk)
    if code != Exit.PASSED:
        raise ProofError(f"the tests fail though nothing is switched off:\n{tail}")


async def _tried(desks: asyncio.Queue[Path], mutation: Mutation) -> Verdict:
    desk = await desks.get()
    file = desk / mutation.file
    as_it_is = file.read_text()
    mutated = mutation.mutated(as_it_is)
    if file.suffix == ".py":
        compile(mutated, mutation.file, "exec")  # a typing error in a mutation must not pass for a noticed one
    file.write_text(mutated)
    try:
        code, tail = await _tests(desk, list(mutation.tests), _TESTS_WITHIN_S)
    finally:
        file.write_text(as_it_is)
        desks.put_nowait(desk)
    note(f"{'noticed' if code == Exit.FAILED else 'NOT NOTICED'}: {mutation.protection}")
    return Verdict(mutation, code, tail)


async def _tests(desk: Path, tests: list[str], within_s: float) -> tuple[int, str]:
    """Run tests on one copy; pytest's exit code, and the end of what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests),
        cwd=desk,
        env=os.environ | {"CI": "true", "PYTHONPATH": str(desk)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(within_s):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, f"no result within {within_s:.0f} s"
    return process.returncode or 0, output.decode()[-2000:]


def shown(verdicts: list[Verdict]) -> str:
    """For people."""
    head = ("rows", "switched off", "in", "noticed by")
    rows = [
        (
            ", ".join(verdict.mutation.rows) or "–",
            verdict.mutation.protection,
            verdict.mutation.file,
            ", ".join(test.partition("::")[2] for test in verdict.mutation.tests) if verdict.noticed else "NOBODY",
        )
        for verdict in verdicts
    ]
    return table(head, rows)


def broken(verdicts: list[Verdict]) -> list[str]:
    """The protections nobody misses, in words."""
    return [
        f"{verdict.mutation.protection} is not missed (pytest: {verdict.code})\n{verdict.tail}"
        for verdict in verdicts
        if not verdict.noticed
    ]


def json(verdicts: list[Verdict]) -> dict[str, Any]:
    """For machines."""
    rows = [
        {"rows": verdict.mutation.rows, "protection": verdict.mutation.protection, "noticed": verdict.noticed}
        for verdict in verdicts
    ]
    return {"rows": rows}
