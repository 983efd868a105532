"""The suite run against the relay in each role."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.autobahn import echo, tool, verdict
from tests.autobahn.tool import AGENT, Index

CASE_WITHIN_S = 100.0
"""The slowest case takes a tenth of this; longer is a hang."""
AGAIN = 2
"""How often cases are run again that the suite gave up on by its own clock."""


async def patiently(run: Callable[[Sequence[str]], Awaitable[Index]], cases: Sequence[str]) -> Index:
    """What the suite says of each case, where a machine that stood still for a moment is not taken for a failure.

    The suite gives most cases a second and some half of one, by the wall clock. Those it gave up on are run again,
    without the others beside them; one that is wrong and not late is wrong again, and stays so.
    """
    index = await run(cases)
    for _ in range(AGAIN):
        if late := verdict.given_up(index):
            index |= await run(late)
    return index


async def as_server(command: Path, cases: Sequence[str], limits: Mapping[str, Any], within_s: float) -> Index:
    """The relay accepts: what the suite says of each case. Raises as `once_as_server` does."""

    async def run(some: Sequence[str]) -> Index:
        return (await once_as_server(command, some, limits, within_s))[0]

    return await patiently(run, cases)


async def as_client(command: Path, cases: Sequence[str], limits: Mapping[str, Any]) -> Index:
    """The relay dials: what the suite says of each case.

    Raises:
        TimeoutError: a case did not come to an end.
    """
    return await patiently(lambda some: _once_as_client(command, some, limits), cases)


async def once_as_server(
    command: Path, cases: Sequence[str], limits: Mapping[str, Any], within_s: float
) -> tuple[Index, list[str]]:
    """The relay accepts: what the suite says of each case, and how the relay's sessions ended, in order.

    Raises:
        TimeoutError: the suite did not come to an end.
    """
    async with echo.serving(limits) as (served, port):
        index = await tool.as_client(command, f"ws://127.0.0.1:{port}/server", cases, within_s)
        return index, [close.reason.label for close in served.closes]


async def _once_as_client(command: Path, cases: Sequence[str], limits: Mapping[str, Any]) -> Index:
    async with (
        echo.serving(limits) as (_, port),
        tool.as_server(command, cases) as (url, folder),
        aiohttp.ClientSession() as http,
    ):
        async with http.ws_connect(f"{url}/getCaseCount") as asked:
            count = int(await asked.receive_str(timeout=CASE_WITHIN_S))
        for number in range(1, count + 1):
            dialled = f"{url}/runCase?case={number}&agent={AGENT}"
            async with (
                asyncio.timeout(CASE_WITHIN_S),
                http.ws_connect(f"http://127.0.0.1:{port}/client", params={"dial": dialled}) as driven,
            ):
                await driven.receive()
        async with http.ws_connect(f"{url}/updateReports?agent={AGENT}") as asked:
            await asked.receive(timeout=CASE_WITHIN_S)
        return tool.index_of(folder)
