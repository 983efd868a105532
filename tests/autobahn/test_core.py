"""Autobahn's core cases in both roles; those of sizes and compression too with `make autobahn`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.autobahn import running, tool, verdict
from tests.autobahn.echo import LARGE
from tests.autobahn.tool import Index
from tests.autobahn.verdict import CORE
from tests.support import missing

WITHIN_S = 100.0  # it takes 11

pytestmark = pytest.mark.threat("D1")


@pytest.fixture
def command() -> Path:
    """The suite's command."""
    found = tool.wstest()
    if found is None and tool.python2() is None:
        pytest.skip(f"!! NOT TESTED: {tool.NO_PYTHON}")
    return found or missing(tool.PACKAGE)


async def test_both_roles_do_as_the_core_cases_want(command: Path) -> None:
    """The client's leg and Gemini's: each of 247 cases ends as expected, none may fail."""
    limits = {"max_message": LARGE}

    async def serving(cases: Sequence[str]) -> Index:
        return (await running.as_server(command, cases, limits, WITHIN_S))[0]

    async def dialling(cases: Sequence[str]) -> Index:
        return await running.as_client(command, cases, limits)

    async with asyncio.TaskGroup() as both:
        server = both.create_task(running.patiently(serving, CORE))
        client = both.create_task(running.patiently(dialling, CORE))

    assert verdict.broken(server.result(), [CORE]) == []
    assert verdict.broken(client.result(), [CORE]) == []
