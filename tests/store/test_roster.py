"""What replicas tell each other, in a real Redis: everybody's sheet, forgotten in time, and dismissals for all."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from relay.core.ledger import LedgerError
from relay.store import redis
from relay.store.redis import RedisLedger
from relay.store.redis_roster import RedisRoster
from tests.store.conftest import KEEP_S, redis_pair
from tests.store.servers import RedisServer

LONG_S = 60.0


@pytest.fixture
async def rosters(shared_redis: RedisServer) -> AsyncIterator[list[RedisRoster]]:
    """Two replicas' views of one server."""
    async with redis_pair(shared_redis) as ledgers:
        yield [RedisRoster(ledger) for ledger in ledgers]


async def test_everybody_sees_everybody_s_newest_sheet(rosters: list[RedisRoster]) -> None:
    """A sheet is text that the store does not look into."""
    one, other = rosters
    assert await one.sheets() == {}
    await one.publish("r1", "first", LONG_S)
    await one.publish("r1", '{"größe": "\\u0000 }{"}', LONG_S)
    await other.publish("r2", "", LONG_S)
    assert await one.sheets() == await other.sheets() == {"r1": '{"größe": "\\u0000 }{"}', "r2": ""}


async def test_a_replica_that_says_nothing_more_is_forgotten(rosters: list[RedisRoster]) -> None:
    """Those that go on are not."""
    one, other = rosters
    await one.publish("gone", "sheet", 0.05)
    async with asyncio.timeout(5):
        while "gone" in await other.sheets():
            await other.publish("here", "sheet", LONG_S)
    assert await other.sheets() == {"here": "sheet"}


async def test_a_dismissal_is_told_to_every_replica_for_a_while(
    rosters: list[RedisRoster], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever publishes hears of it; one that has been told long enough is forgotten."""
    one, other = rosters
    await other.dismiss("0123456789abcdef")
    assert await one.publish("r1", "", LONG_S) == ["0123456789abcdef"]
    assert await other.publish("r2", "", LONG_S) == ["0123456789abcdef"]
    monkeypatch.setattr("relay.store.redis_roster.DISMISSED_S", 0.05)
    await other.dismiss("0123456789abcdef")
    async with asyncio.timeout(5):
        while await one.publish("r1", "", LONG_S):
            await asyncio.sleep(0.01)


async def test_a_server_that_is_away_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """By every question."""
    monkeypatch.setattr(redis, "CALL_S", 0.5)
    ledger = RedisLedger("redis://127.0.0.1:1/0", None, KEEP_S)
    roster = RedisRoster(ledger)
    for question in (roster.publish("r1", "", LONG_S), roster.sheets(), roster.dismiss("x")):
        with pytest.raises(LedgerError):
            await question
    await ledger.stop()
