"""Tickets in SQLite and in Redis: the same promises."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from relay.core.ledger import LedgerError
from relay.core.tickets import Allotment, Stub, TicketStore, Use
from relay.store.redis import RedisLedger
from relay.store.redis_tickets import RedisTickets
from relay.store.sqlite_tickets import SqliteTickets
from tests.store.conftest import KEEP_S, redis_pair
from tests.store.servers import RedisServer


def _stub(uses: int = 1, new_s: float = 60.0, life_s: float = 600.0) -> Stub:
    now = time.time()
    return Stub('{"who": "acme"}', uses, now + new_s, now + life_s)


@pytest.fixture(params=["sqlite", "redis"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[list[TicketStore]]:
    """Two replicas' views of one store; of SQLite there is one process, so both are the same."""
    if request.param == "sqlite":
        one = SqliteTickets(tmp_path / "ledger.db", time.time)
        await one.start()
        yield [one, one]
        await one.stop()
        return
    async with redis_pair(request.getfixturevalue("shared_redis")) as ledgers:
        yield [RedisTickets(ledger) for ledger in ledgers]


async def test_a_ticket_is_found_until_it_is_over(stores: list[TicketStore]) -> None:
    """What was kept comes back with the instant it was kept at; nothing else is found."""
    await stores[0].add("a", _stub())
    found = await stores[1].find("a")
    assert found is not None
    assert found.record == '{"who": "acme"}'
    assert abs(found.issued_at - time.time()) < 5
    assert await stores[1].find("b") is None
    await stores[0].add("old", _stub(life_s=-1))
    await asyncio.wait_for(_until(lambda: stores[0].find("old"), None), 5)


async def _until(ask: Callable[[], object], expected: object) -> None:
    while await ask() != expected:  # type: ignore[misc]
        await asyncio.sleep(0.01)


@pytest.mark.threat("B9")
async def test_of_100_at_once_exactly_one_uses_a_single_use_ticket(stores: list[TicketStore]) -> None:
    """The count is atomic, over both replicas."""
    await stores[0].add("a", _stub(uses=1))
    outcomes = await asyncio.gather(*(stores[number % 2].use("a", f"s{number}") for number in range(100)))
    assert sorted(outcomes) == [Use.USED, *[Use.USED_UP] * 99]


async def test_a_use_counts_once_for_its_session(stores: list[TicketStore]) -> None:
    """An answer that came late may be asked for again."""
    await stores[0].add("a", _stub(uses=2))
    assert [await stores[0].use("a", name) for name in ("s", "s", "t", "u", "s")] == [
        Use.USED,
        Use.USED,
        Use.USED,
        Use.USED_UP,
        Use.USED,
    ]


@pytest.mark.threat("B9")
async def test_uses_end_with_time_and_with_the_ticket(stores: list[TicketStore]) -> None:
    """Late, gone, and any number where none is given."""
    await stores[0].add("late", _stub(new_s=-1))
    await stores[0].add("any", _stub(uses=0))
    assert await stores[0].use("late", "s") is Use.LATE
    assert await stores[0].use("nobody's", "s") is Use.GONE
    assert {await stores[0].use("any", f"s{number}") for number in range(20)} == {Use.USED}


async def test_what_sessions_use_adds_up_and_repeats_change_nothing(stores: list[TicketStore]) -> None:
    """Totals by session, so a report that comes twice counts once."""
    await stores[0].add("a", _stub())
    await stores[0].spend("a", "s", Allotment(1.5, 10, 100))
    await stores[0].spend("a", "s", Allotment(2.5, 20, 200))
    assert await stores[1].spend("a", "t", Allotment(1.0, 1, 1)) == Allotment(3.5, 21, 201)


@pytest.mark.threat("B8")
async def test_a_revocation_is_seen_by_the_other_replica(stores: list[TicketStore]) -> None:
    """The mark with its instant, and the ticket is gone."""
    await stores[0].add("a", _stub())
    found = await stores[0].find("a")
    assert found is not None
    await stores[0].revoke("ticket:acme:a", "a")
    (news,) = (await stores[1].revocations(0.0)).items()
    assert news[0] == "ticket:acme:a"
    assert news[1] >= found.issued_at
    assert await stores[1].find("a") is None
    assert await stores[1].revocations(news[1] + 1) == {}


@pytest.mark.threat("E10")
@pytest.mark.parametrize(
    "wrong",
    [{"uses": "many"}, {"uses": "-1"}, {"expires_at": "nan"}, {"new_until": "inf"}, {"issued_at": ""}],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_ticket_that_somebody_wrote_into_redis_is_a_failure(
    shared_redis: RedisServer, wrong: dict[str, str]
) -> None:
    """Neither a crash nor a ticket that never ends."""
    ledger = RedisLedger(shared_redis.url, None, KEEP_S)
    tickets = RedisTickets(ledger)
    with shared_redis.client() as client:
        client.flushall()
    await tickets.add("a", _stub())
    with shared_redis.client() as client:
        client.hset("relay:{!a}:ticket", mapping=wrong)
    with pytest.raises(LedgerError):
        await tickets.find("a")
    await ledger.stop()


@pytest.mark.threat("E10")
@pytest.mark.parametrize("wrong", ["", "5", "[]", '["a", 1, 1]', "[-5, 1, 1]", "[1, 1]", "{}"])
async def test_amounts_that_somebody_wrote_into_redis_are_a_failure(shared_redis: RedisServer, wrong: str) -> None:
    """They would credit a ticket, or end the process."""
    ledger = RedisLedger(shared_redis.url, None, KEEP_S)
    tickets = RedisTickets(ledger)
    with shared_redis.client() as client:
        client.flushall()
    await tickets.add("a", _stub())
    await tickets.spend("a", "s1", Allotment(1.0, 2, 3))
    with shared_redis.client() as client:
        client.hset("relay:{!a}:spent", "s2", wrong)
    with pytest.raises(LedgerError):
        await tickets.spend("a", "s1", Allotment(1.0, 2, 3))
    await ledger.stop()
