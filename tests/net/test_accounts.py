"""Accounts and admission when the ledger is slow, away, full or shared: sessions go on, and no usage is lost."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.core.ledger import Ledger, LedgerError, Used
from relay.store.redis import RedisLedger
from relay.store.sqlite import SqliteLedger
from tests.net.conftest import WAIT_S, Origin, Running, Start, end_of
from tests.net.continuing import Client, simulator
from tests.net.test_budgets import heard, microphone, quotas, refusal, report, says, speak
from tests.store.servers import RedisServer, redis_server

KEEP_S = 40 * 86_400.0
SOON = {"settle_every": "50ms"}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that a test may harm. Asked for before `start`, it outlives the relays, which then end without delay."""
    with redis_server() as running:
        yield running


def shared(server: RedisServer, **more: Any) -> dict[str, Any]:
    """The settings of a ledger on a Redis."""
    return {"kind": "redis", "url": server.url, **SOON, **more}


async def settled(ledger: Ledger, tokens: int) -> None:
    """Wait until the ledger says that the tenant has used so many tokens; fails when it is another number for long."""
    used = Used()
    async with asyncio.timeout(WAIT_S):
        while used.day.tokens != tokens:
            await asyncio.sleep(0.02)
            with contextlib.suppress(LedgerError):
                used = await ledger.used("acme")


async def readiness(running: Running) -> tuple[int, Any]:
    """What the readiness probe answers."""
    async with running.http.get(running.addresses["admin"] + "/readyz") as response:
        return response.status, await response.json()


async def until_degraded(running: Running, degraded: bool) -> None:
    """Wait until the relay has noticed how the ledger is."""
    async with asyncio.timeout(WAIT_S):
        while (await readiness(running))[1].get("degraded", True) is not degraded:
            await asyncio.sleep(0.02)


# The embedded ledger -------------------------------------------------------------------------------------------------


async def test_a_locked_file_loses_nothing(start: Start, origin: Origin, tmp_path: Path) -> None:
    """Sessions go on, begin and end while nothing can be written; health says so; all is there in the end."""
    path = tmp_path / "usage.db"
    origin.script = says(*[report(10, turnComplete=True)] * 3)
    running = await start(store={"path": str(path), **SOON})
    staying = await running.conversation()
    await speak(staying)
    await heard(staying)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for socket in (staying, await running.conversation()):
            await speak(socket)
            await heard(socket)
        await socket.close()
        await until_degraded(running, degraded=True)
        assert "relay_ledger_degraded 1.0" in await running.metrics()
        assert (await readiness(running))[0] == 503
        other.execute("ROLLBACK")
    await until_degraded(running, degraded=False)
    assert (await readiness(running))[0] == 200
    await speak(staying)
    await heard(staying)
    ledger = SqliteLedger(path, KEEP_S, time.time)
    await ledger.start()
    await settled(ledger, 40)
    await ledger.stop()


async def test_what_is_owed_is_settled_when_the_relay_stops(start: Start, origin: Origin, tmp_path: Path) -> None:
    """The last report before SIGTERM is not lost, however rarely usage is written."""
    path = tmp_path / "usage.db"
    origin.script = says(report(10, turnComplete=True))
    running = await start(store={"path": str(path), "settle_every": "1s"})
    socket = await running.conversation()
    await speak(socket)
    await heard(socket)
    await asyncio.gather(running.relay.stop(), end_of(socket))
    with closing(sqlite3.connect(path)) as database:
        ((amounts,),) = database.execute("SELECT amounts FROM sessions").fetchall()
    found = json.loads(amounts)
    assert (found["tokens"], found["sessions"], found["turns"]) == (10, 1, 1)
    assert found["session_ms"] > 0


async def test_a_quiet_session_is_not_written_again_and_again(start: Start, tmp_path: Path) -> None:
    """Only what changes is settled: a session in which nothing happens costs the disk nothing."""
    path = tmp_path / "usage.db"
    running = await start(store={"path": str(path), **SOON})
    await running.conversation()
    sequence = "SELECT sequence FROM sessions"
    with closing(sqlite3.connect(path)) as database:
        async with asyncio.timeout(WAIT_S):
            while not (first := database.execute(sequence).fetchall()):
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # six times it could have been written again
        assert database.execute(sequence).fetchall() in ([(1,)], [(2,)])
        assert len(first) == 1


# The shared ledger ---------------------------------------------------------------------------------------------------


@pytest.mark.threat("E2")
async def test_two_relays_keep_one_limit(server: RedisServer, start: Start) -> None:
    """A place taken at one is taken at the other, and free again when the session has ended."""
    limits = quotas(concurrent_sessions=1)
    one, other = [await start(tenant=limits, store=shared(server)) for _ in range(2)]
    socket = await one.conversation()
    assert await refusal(other) == (429, 5)
    await socket.close()
    async with asyncio.timeout(WAIT_S):
        while len(one.relay.registry):
            await asyncio.sleep(0.01)
    await other.conversation()


@pytest.mark.threat("E3")
async def test_a_budget_spent_at_one_relay_ends_sessions_at_another(
    server: RedisServer, start: Start, origin: Origin
) -> None:
    """Within a moment; both know the sum of both."""
    limits = quotas(day={"tokens": 100})
    one, other = [await start(tenant=limits, store=shared(server)) for _ in range(2)]
    quiet = await other.conversation()
    origin.script = says(report(150, turnComplete=True))
    spender = await one.conversation()
    await speak(spender)
    await heard(spender)
    words = (4429, "the budget is used up: tokens of this day")
    assert [await end_of(spender), await end_of(quiet)] == [words, words]


async def test_a_parked_session_lends_its_place_to_its_own_client(server: RedisServer, start: Start) -> None:
    """A client that drops and comes back at once finds a place although the limit is one."""
    async with simulator() as gemini:
        running = await start(
            tenant=quotas(concurrent_sessions=1),
            store=shared(server),
            upstream={"base_url": gemini.url},
            policy={"model": "models/gemini-2.5-flash-native-audio-latest", "allow": ["*"]},
        )
        client = Client(running)
        await client.begin()
        for _ in range(3):
            client.socket._writer.transport.abort()
            async with asyncio.timeout(WAIT_S):
                while not running.relay.registry.parked():
                    await asyncio.sleep(0.01)
            await client.come_back()
        assert await refusal(running) == (429, 5)


@pytest.mark.parametrize("fault", ["stop", "kill"])
async def test_a_dead_redis_delays_no_live_message(
    server: RedisServer, start: Start, origin: Origin, fault: str
) -> None:
    """Live sessions go on as before, new ones are refused at once, and everything is settled once it is back."""
    origin.script = says(*[report(1, turnComplete=True)] * 60)
    running = await start(tenant=quotas(day={"tokens": 1000}), store=shared(server))
    socket = await running.conversation()
    before = await slowest_of(socket, 20)
    if fault == "stop":
        server.process.send_signal(signal.SIGSTOP)
    else:
        server.process.kill()
        server.process.wait()
    during = await slowest_of(socket, 20)
    assert during < before + 0.2  # a deadline of Redis' is 0.25 s: nothing has waited for one
    await until_degraded(running, degraded=True)
    assert (await readiness(running))[0] == 503
    assert await refusal(running) == (503, 5)
    if fault == "stop":
        server.process.send_signal(signal.SIGCONT)
    else:
        server.restart()  # and with an empty memory
    await until_degraded(running, degraded=False)
    await slowest_of(socket, 20)
    ledger = RedisLedger(server.url, None, KEEP_S)
    await settled(ledger, 60)
    await ledger.stop()


async def slowest_of(socket: Any, count: int) -> float:
    """The longest time between a message and its answer."""
    slowest = 0.0
    for _ in range(count):
        begin = time.perf_counter()
        await speak(socket)
        await heard(socket)
        slowest = max(slowest, time.perf_counter() - begin)
    return slowest


async def test_sessions_may_begin_within_a_share_while_redis_is_away(
    server: RedisServer, start: Start, origin: Origin
) -> None:
    """`when_down: open`: this replica's part of each limit, and what it knows of the budget."""
    origin.script = says(report(10, turnComplete=True))
    limits = quotas(concurrent_sessions=4, starts_per_minute=6, day={"tokens": 10})
    running = await start(tenant=limits, store=shared(server, when_down="open", replicas=2))
    server.process.kill()
    server.process.wait()
    first, second = await running.conversation(), await running.conversation()
    assert (await refusal(running))[0] == 429
    await second.close()
    async with asyncio.timeout(WAIT_S):
        while len(running.relay.registry) > 1:
            await asyncio.sleep(0.01)
    third = await running.conversation()
    assert (await readiness(running))[0] == 200
    await third.close()
    async with asyncio.timeout(WAIT_S):
        while len(running.relay.registry) > 1:
            await asyncio.sleep(0.01)
    assert (await refusal(running))[0] == 429  # three starts are the share of six
    await speak(first)
    await heard(first)
    assert (await end_of(first))[0] == 4429
    assert (await refusal(running))[1] > 5  # the budget is used up until midnight


async def test_tenants_without_limits_need_no_ledger(server: RedisServer, start: Start) -> None:
    """Nothing is asked that nobody has to answer."""
    running = await start(store=shared(server))
    server.process.kill()
    server.process.wait()
    socket = await running.conversation()
    await socket.send_json(microphone(0.1))


async def test_losing_and_finding_the_ledger_is_told_once(server: RedisServer, start: Start) -> None:
    """One line when it fails and one when it is back, not one for every attempt."""
    with capture_logs() as logs:
        running = await start(store=shared(server))
        await running.conversation()
        server.process.kill()
        server.process.wait()
        await until_degraded(running, degraded=True)
        await asyncio.sleep(0.3)
        server.restart()
        await until_degraded(running, degraded=False)
    told = [line["event"] for line in logs if "ledger" in line["event"]]
    assert told == ["the ledger failed; usage is kept until it is back", "the ledger is back"]
