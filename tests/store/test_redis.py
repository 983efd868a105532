"""What only the shared ledger has: a server that may be away, slow, full or tampered with."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from relay.core.ledger import Ask, Cause, Charge, LedgerError, Query, Spent
from relay.core.windows import day_of
from relay.store import redis as store
from relay.store.redis import RedisLedger, prefix_of
from relay.store.scripts import _PRELUDE
from tests.store.conftest import KEEP_S
from tests.store.servers import RedisServer, redis_server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that a test may harm."""
    with redis_server() as server:
        yield server


@pytest.fixture
async def ledger(own_redis: RedisServer) -> AsyncIterator[RedisLedger]:
    """A ledger on that server."""
    made = RedisLedger(own_redis.url, None, KEEP_S)
    await made.start()
    yield made
    await made.stop()


def charge(sequence: int = 1, tenant: str = "acme", session: str = "s1", **amounts: int) -> Charge:
    """Running totals of a session."""
    return Charge(tenant, session, "live", sequence, amounts or {"tokens": 5}, time.time())


async def admitted_within(ledger: RedisLedger, seconds: float) -> float:
    """How long it takes until the ledger answers again; fails when it takes longer than `seconds`."""
    begin = time.monotonic()
    while True:
        try:
            await ledger.admit(Ask("probe", "s1"))
            return time.monotonic() - begin
        except LedgerError:
            assert time.monotonic() - begin < seconds
            await asyncio.sleep(0.02)


async def failure_s(ledger: RedisLedger) -> float:
    """How long a call takes to fail."""
    begin = time.monotonic()
    with pytest.raises(LedgerError):
        await ledger.admit(Ask("acme", "s1"))
    return time.monotonic() - begin


@pytest.mark.threat("E9")
async def test_every_key_has_a_time_to_live(ledger: RedisLedger, own_redis: RedisServer) -> None:
    """Whatever a relay does, and then never does again, is gone some day."""
    await ledger.admit(Ask("acme", "s1", concurrent_sessions=5, starts_per_minute=5))
    await ledger.settle([charge(), charge(tenant="umb:rella")], {"acme": ["s1"]})
    with own_redis.client() as client:
        keys = sorted(client.scan_iter())
        assert len(keys) >= 9
        assert [key for key in keys if client.pttl(key) <= 0] == []
        assert all(
            key == "relay:tenants" or key.startswith((prefix_of("acme"), prefix_of("umb:rella"))) for key in keys
        )


async def test_a_dead_replica_gives_its_places_back(ledger: RedisLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that nobody renews runs out; one that is renewed does not."""
    monkeypatch.setattr(store, "LEASE_S", 0.3)
    for session in ("dead", "alive"):
        assert (await ledger.admit(Ask("acme", session, concurrent_sessions=2))).refused is None
    begin = time.monotonic()
    while (await ledger.admit(Ask("acme", "next", concurrent_sessions=2))).refused is Cause.CONCURRENT_SESSIONS:
        assert time.monotonic() - begin < 5
        await ledger.settle([], {"acme": ["alive"]})
        await asyncio.sleep(0.02)
    assert time.monotonic() - begin > 0.2
    await ledger.settle([], {"acme": ["alive"]})
    assert (await ledger.admit(Ask("acme", "more", concurrent_sessions=2))).refused is Cause.CONCURRENT_SESSIONS


@pytest.mark.deadlines
async def test_a_stopped_server_costs_a_quarter_of_a_second_once(ledger: RedisLedger, own_redis: RedisServer) -> None:
    """The first call waits for its deadline, the next ones for nothing; it is used again soon after it is back."""
    await ledger.admit(Ask("acme", "s0"))
    own_redis.process.send_signal(signal.SIGSTOP)
    assert 0.2 < await failure_s(ledger) < 0.6
    assert await failure_s(ledger) < 0.05
    own_redis.process.send_signal(signal.SIGCONT)
    assert await admitted_within(ledger, 2.0) < 2.0


@pytest.mark.deadlines
async def test_a_paused_server_is_the_same(ledger: RedisLedger, own_redis: RedisServer) -> None:
    """CLIENT PAUSE keeps the connection open and answers nothing."""
    await ledger.admit(Ask("acme", "s0"))
    with own_redis.client() as client:
        client.client_pause(1000)
    assert await failure_s(ledger) < 0.6
    assert await admitted_within(ledger, 3.0) < 2.5  # of which one second is the pause


@pytest.mark.deadlines
async def test_a_killed_server_is_noticed_at_once(ledger: RedisLedger, own_redis: RedisServer) -> None:
    """Nothing is waited for, and what was owed is settled when another one stands in its place."""
    await ledger.settle([charge()], {})
    own_redis.process.kill()
    own_redis.process.wait()
    assert await failure_s(ledger) < 0.1
    own_redis.restart()
    await admitted_within(ledger, 2.0)
    assert (await ledger.settle([charge(2, tokens=9)], {}))["acme"].day == Spent(9)


@pytest.mark.deadlines
async def test_a_settlement_whose_answer_was_lost_is_not_doubled(ledger: RedisLedger, own_redis: RedisServer) -> None:
    """The server carries out what it was asked while it was stopped, and then is asked the same again."""
    await ledger.settle([charge(1, tokens=1)], {})
    own_redis.process.send_signal(signal.SIGSTOP)
    with pytest.raises(LedgerError):
        await ledger.settle([charge(2, tokens=100)], {})
    own_redis.process.send_signal(signal.SIGCONT)
    await admitted_within(ledger, 2.0)
    assert (await ledger.used("acme")).day == Spent(100)
    assert (await ledger.settle([charge(2, tokens=100), charge(3, tokens=101)], {}))["acme"].day == Spent(101)


async def test_a_full_server_refuses_and_recovers(ledger: RedisLedger, own_redis: RedisServer) -> None:
    """Without memory nothing is taken; with memory again everything is."""
    with own_redis.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(LedgerError):
            await ledger.admit(Ask("acme", "s1", concurrent_sessions=5, starts_per_minute=5))
        assert await ledger.settle([charge()], {}) == {}
        client.config_set("maxmemory", "0")
    assert (await ledger.settle([charge()], {}))["acme"].day == Spent(5)


@pytest.mark.threat("E10")
@pytest.mark.parametrize("value", ["x", "1.5", "", "99999999999999999999999"])
async def test_a_tampered_total_harms_its_tenant_only(ledger: RedisLedger, own_redis: RedisServer, value: str) -> None:
    """Nothing crashes; the tenant's sessions are refused, and other tenants are settled with the same call."""
    used = await ledger.settle([charge()], {})
    with own_redis.client() as client:
        client.hset(f"{prefix_of('acme')}spent:{day_of(used['acme'].at)}", "tokens", value)
    if value != "99999999999999999999999":  # which is a number
        with pytest.raises(LedgerError):
            await ledger.admit(Ask("acme", "s2"))
    settled = await ledger.settle([charge(2, tokens=6), charge(tenant="other")], {})
    assert settled.keys() == {"other"}


@pytest.mark.threat("E10")
async def test_a_key_of_another_type_harms_its_tenant_only(ledger: RedisLedger, own_redis: RedisServer) -> None:
    """Somebody wrote a text where the places are."""
    with own_redis.client() as client:
        client.set(f"{prefix_of('acme')}places", "x", ex=60)
    with pytest.raises(LedgerError):
        await ledger.admit(Ask("acme", "s1"))
    assert (await ledger.admit(Ask("other", "s1"))).refused is None


@pytest.mark.threat("E10")
async def test_amounts_that_are_no_numbers_are_not_listed(ledger: RedisLedger, own_redis: RedisServer) -> None:
    """A list with a wrong number in it is not given out."""
    used = await ledger.settle([charge()], {})
    day = day_of(used["acme"].at)
    with own_redis.client() as client:
        client.hset(f"{prefix_of('acme')}day:{day}:live", "tokens", "x")
    with pytest.raises(LedgerError):
        await ledger.usage(Query(day, day))


async def test_no_password_is_in_an_error() -> None:
    """An address that nobody answers at is not repeated, nor what stands in it."""
    ledger = RedisLedger("redis://:canary-password@127.0.0.1:1/0", None, KEEP_S)
    with pytest.raises(LedgerError) as raised:
        await ledger.admit(Ask("acme", "s1"))
    assert "canary" not in repr(raised.value)
    assert raised.value.__cause__ is None
    await ledger.stop()


async def test_many_charges_are_settled_in_parts(ledger: RedisLedger) -> None:
    """A server is never held up by one long script, and no part is left out."""
    charges = [charge(session=f"s{number}", tokens=1) for number in range(store.CHARGES_PER_CALL * 2 + 1)]
    assert (await ledger.settle(charges, {}))["acme"].day == Spent(len(charges))


@pytest.mark.threat("E8")
def test_the_server_s_calendar_is_ours(own_redis: RedisServer) -> None:
    """Every day of thirty years, and the seconds around midnight, in Lua and in Python."""
    script = _PRELUDE.replace("redis.call('TIME')", "{ARGV[1], '0'}") + "return {today, this_month}"
    with own_redis.client() as client:
        calendar = client.register_script(script)
        for day in range(20_000, 31_000, 7):
            for unix_s in (day * 86_400 - 1, day * 86_400):
                today, month = calendar(keys=["x"], args=[unix_s])
                assert (today, month) == (day_of(unix_s), day_of(unix_s)[:7])
