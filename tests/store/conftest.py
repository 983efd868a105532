"""Ledgers to test: each on its own SQLite file, or all on one real Redis that is emptied for each test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from relay.core.ledger import Ledger
from relay.store import redis
from relay.store.redis import RedisLedger
from relay.store.sqlite import SqliteLedger
from tests.store.servers import RedisServer, redis_server

KEEP_S = 40 * 86_400.0
NOON = 1_795_608_000.0
"""2026-11-25, 12:00 UTC."""

Open = Callable[[], Awaitable[Ledger]]


class Clock:
    """A wall clock that goes when it is told to."""

    def __init__(self) -> None:
        self.unix_s = NOON

    def __call__(self) -> float:
        return self.unix_s


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give Redis time on a busy machine, except where a test is about how little it gets (mark `deadlines`)."""
    if request.node.get_closest_marker("deadlines") is None:
        monkeypatch.setattr(redis, "CALL_S", 3.0)
        monkeypatch.setattr(redis, "QUEUE_S", 10.0)


@pytest.fixture
def clock() -> Clock:
    """The clock of SQLite ledgers; Redis has its own."""
    return Clock()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for all tests that do it no harm."""
    with redis_server() as server:
        yield server


@asynccontextmanager
async def redis_pair(server: RedisServer) -> AsyncIterator[list[RedisLedger]]:
    """Two replicas' ways to an emptied server; what they leave there must not stay for ever."""
    with server.client() as client:
        client.flushall()
        ledgers = [RedisLedger(server.url, None, KEEP_S) for _ in range(2)]
        yield ledgers
        keys = client.keys("*")
        assert all(client.pttl(key) > 0 for key in keys), "every key has a time to live"
        for ledger in ledgers:
            await ledger.stop()


@pytest.fixture(params=["sqlite", "redis"])
async def reopen(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Open]:
    """Opens ledgers on one and the same store, as a restart of the relay would; every test runs with both kinds."""
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            server: RedisServer = request.getfixturevalue("shared_redis")
            with server.client() as client:
                client.flushall()

        async def opened() -> Ledger:
            made: Ledger
            if request.param == "redis":
                made = RedisLedger(server.url, None, KEEP_S)
            else:
                made = SqliteLedger(tmp_path / "ledger.db", KEEP_S, clock)
            await made.start()
            stack.push_async_callback(made.stop)
            return made

        yield opened


@pytest.fixture
async def ledger(reopen: Open) -> Ledger:
    """One ledger of either kind."""
    return await reopen()
