"""Tickets in a Redis that somebody else can write to, and whose names somebody else chooses."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from relay.core.ledger import Ask, Charge, LedgerError
from relay.core.tickets import Allotment, Stub
from relay.store.redis import RedisLedger, prefix_of
from relay.store.redis_tickets import RedisTickets
from tests.store.conftest import KEEP_S
from tests.store.servers import RedisServer


@pytest.fixture
async def ledger(shared_redis: RedisServer) -> AsyncIterator[RedisLedger]:
    """A ledger on an empty server."""
    with shared_redis.client() as client:
        client.flushall()
    made = RedisLedger(shared_redis.url, None, KEEP_S)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def tickets(ledger: RedisLedger) -> RedisTickets:
    """The tickets beside it, of which there is one."""
    made = RedisTickets(ledger)
    await made.add("a", Stub("{}", 1, time.time() + 60, time.time() + 600))
    return made


TICKET, USES, SPENT, REVOKED = "relay:{!a}:ticket", "relay:{!a}:uses", "relay:{!a}:spent", "relay:{!}:revoked"


@pytest.mark.threat("E10")
@pytest.mark.parametrize("name", ["uses", "new_until", "expires_at", "issued_at", "record"])
@pytest.mark.parametrize("value", ["x", "", "1e400x", b"\xff\xfe", None], ids=repr)
async def test_a_ticket_that_cannot_be_read_is_refused(
    tickets: RedisTickets, shared_redis: RedisServer, name: str, value: Any
) -> None:
    """Its store says that it fails; it neither breaks nor lets anybody in."""
    with shared_redis.client() as client:
        client.hdel(TICKET, name) if value is None else client.hset(TICKET, name, value)
    if name == "record" and value in ("x", "", "1e400x"):
        found = await tickets.find("a")  # which is for its reader to judge
        assert found is not None
        assert found.record == value
        return
    with pytest.raises(LedgerError):
        await tickets.find("a")


@pytest.mark.threat("E10")
@pytest.mark.parametrize("key", [TICKET, USES, SPENT, REVOKED])
async def test_a_key_of_another_type_is_a_failure_and_no_crash(
    tickets: RedisTickets, shared_redis: RedisServer, key: str
) -> None:
    """Whoever needs that key is told; nobody is let in."""
    with shared_redis.client() as client:
        client.delete(key)
        client.set(key, "x", ex=60)
    if key in (TICKET, USES):
        with pytest.raises(LedgerError):
            await tickets.use("a", "s")
    if key == TICKET:
        with pytest.raises(LedgerError):
            await tickets.find("a")
    if key == SPENT:
        with pytest.raises(LedgerError):
            await tickets.spend("a", "s", Allotment(1.0, 1, 1))
    if key == REVOKED:
        with pytest.raises(LedgerError):
            await tickets.revocations(0.0)


@pytest.mark.threat("E10", "E5")
@pytest.mark.parametrize(
    "row",
    [
        *("x", "", "{}", "null", "[]", "[1, 2]", "[1, 2, 3, 4]", "[-1, 0, 0]", "[0, -5, 0]", "[NaN, 0, 0]"),
        *("[Infinity, 0, 0]", "[1e300, 0, 0]", '["1", 0, 0]', "[true, 0, 0]", "[null, 0, 0]", "[" * 100_000),
    ],
    ids=lambda row: row[:20],
)
async def test_what_was_used_is_never_a_credit(tickets: RedisTickets, shared_redis: RedisServer, row: str) -> None:
    """Numbers that no session can have used are no numbers."""
    await tickets.spend("a", "s", Allotment(1.0, 10, 100))
    with shared_redis.client() as client:
        client.hset(SPENT, "forged", row)
    with pytest.raises(LedgerError):
        await tickets.spend("a", "s", Allotment(2.0, 20, 200))


@pytest.mark.threat("E10")
async def test_bytes_that_are_no_text_are_a_failure_of_their_tenant(
    ledger: RedisLedger, shared_redis: RedisServer
) -> None:
    """The ledger beside the tickets answers others as before."""
    await ledger.settle([Charge("acme", "s1", "live", 1, {"tokens": 5}, time.time())], {})
    with shared_redis.client() as client:
        (spent,) = [key for key in client.scan_iter(f"{prefix_of('acme')}spent:*") if len(key.rpartition(":")[2]) == 10]
        client.hset(spent, "tokens", b"\xff\xfe")
    with pytest.raises(LedgerError):
        await ledger.used("acme")
    assert (await ledger.admit(Ask("other", "s1", concurrent_sessions=1))).refused is None


NAMES = ["a", "a:b", "a}:{b", "{a}", "a\nb", "a\r\nFLUSHALL", "*", "a b", "ä", "!", "{!a}", "a\x00b", "a:places", "%"]


@pytest.mark.threat("E9")
async def test_no_name_reaches_another_one_s_keys(ledger: RedisLedger, shared_redis: RedisServer) -> None:
    """Whatever stands in a tenant's name: a prefix of its own, one slot, and places that only it takes and frees."""
    prefixes = [prefix_of(name) for name in NAMES]
    assert len(set(prefixes)) == len(NAMES)
    for one in prefixes:
        assert not [other for other in prefixes if other != one and other.startswith(one)]
        assert one.count("{") == one.count("}") == 1
        assert one.isprintable()
        assert not one.startswith("relay:{!"), "those of tickets"
    for name in NAMES:
        assert (await ledger.admit(Ask(name, "s1", concurrent_sessions=1, starts_per_minute=5))).refused is None
        assert (await ledger.admit(Ask(name, "s2", concurrent_sessions=1, starts_per_minute=5))).refused is not None
    with shared_redis.client() as client:
        keys = sorted(client.scan_iter())
        assert len(keys) == 2 * len(NAMES)
        assert all(client.pttl(key) > 0 for key in keys)
        for name in NAMES:
            await ledger.release(name, "s1")
        left = sorted(client.scan_iter())
        assert [key for key in left if key.endswith(":places")] == []
        assert all(0 < client.pttl(key) <= 60_000 for key in left), "starts of the last minute, and then nothing"
