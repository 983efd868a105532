"""Autobahn's core cases in both roles; those of sizes and compression too with `make autobahn`."""

import asyncio
from pathlib import Path

import pytest

from tests.autobahn import running, tool, verdict
from tests.autobahn.echo import LARGE
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
    async with asyncio.TaskGroup() as both:
        server = both.create_task(running.as_server(command, CORE, limits, WITHIN_S))
        client = both.create_task(running.as_client(command, CORE, limits))

    assert verdict.broken(server.result(), [CORE]) == []
    assert verdict.broken(client.result(), [CORE]) == []
