"""One operator for all replicas: whichever is asked shows every session, and ends it wherever it is."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay import __version__
from relay.net import roster as module
from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, Running, Start, end_of
from tests.net.test_admin_api import ask, operator
from tests.net.test_budgets import heard, report, says, speak
from tests.store.servers import RedisServer, redis_server

OTHER = {"id": "other", "keys": ["another-tenant-key-0123"], "policy": "under-test"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A Redis; replicas tell each other several times a second. Asked for before `start`, it outlives the relays."""
    monkeypatch.setattr(module, "PUBLISH_S", 0.05)
    monkeypatch.setattr("relay.net.warden.LOOK_S", 0.05)
    with redis_server() as running:
        yield running


async def replicas(start: Start, server: RedisServer, count: int = 2) -> list[Running]:
    """Relays that share it."""
    store = {"kind": "redis", "url": server.url}
    return [await start(admin=operator(), store=store, tenants=[OTHER]) for _ in range(count)]


async def listed(running: Running, count: int, query: str = "") -> dict[str, Any]:
    """What a replica says when it knows of so many sessions."""
    async with asyncio.timeout(WAIT_S):
        while len((answer := (await ask(running, f"/admin/sessions{query}"))[1])["sessions"]) != count:
            await asyncio.sleep(0.02)
    assert isinstance(answer, dict)
    return answer


async def test_every_replica_shows_all_sessions(server: RedisServer, start: Start, origin: Origin) -> None:
    """With all that the one that has it knows of it, and each once; by tenant too."""
    origin.script = says(report(1_000, turnComplete=True))
    one, two = await replicas(start, server)
    here, there = await one.conversation(), await two.conversation(key="another-tenant-key-0123")
    await speak(there)
    await heard(there)
    answer = await listed(one, 2)
    async with asyncio.timeout(WAIT_S):
        while not any(row["tokens"] for row in answer["sessions"]):
            await asyncio.sleep(0.02)
            answer = await listed(one, 2)
    told = next(row for row in answer["sessions"] if row["tokens"])
    (own,) = [row for row in (await ask(two, "/admin/sessions"))[1]["sessions"] if row["tokens"]]
    for name in ("id", "tenant", "model", "state", "cost", "tokens_by_kind", "turns", "frames_up"):
        assert told[name] == own[name]
    assert (answer["unlisted"], answer["current"]) == (0, True)
    assert [row["tenant"] for row in (await listed(one, 1, "?tenant=other"))["sessions"]] == ["other"]
    assert TENANT_KEY not in json.dumps(answer)
    await here.close()
    await there.close()
    assert (await listed(one, 0))["sessions"] == []


async def test_a_session_is_ended_wherever_it_is(server: RedisServer, start: Start) -> None:
    """The replica that is asked passes it on; one that nobody has is said to be nowhere."""
    one, two = await replicas(start, server)
    socket = await two.conversation()
    (session,) = (await listed(one, 1))["sessions"]
    with capture_logs() as logs:
        status, body = await ask(one, f"/admin/sessions/{session['id']}", "DELETE")
        assert await end_of(socket) == (1008, "ended by the operator")
    assert (status, body) == (
        202,
        {"id": session["id"], "reason": "ended_by_operator", "code": 1008, "state": "ending"},
    )
    assert sum(line["event"] == "session ended by the operator" for line in logs) == 1
    await listed(one, 0)
    for unknown in (session["id"], "0123456789abcdef", "x" * 16, "{!}:revoked"):
        assert (await ask(one, f"/admin/sessions/{unknown}", "DELETE"))[0] == 404


async def test_without_redis_each_replica_shows_its_own(server: RedisServer, start: Start) -> None:
    """It says that there may be more; a session that is elsewhere can't be ended then."""
    one, two = await replicas(start, server)
    sockets = [await one.conversation(), await two.conversation()]
    answer = await listed(one, 2)
    server.process.kill()
    async with asyncio.timeout(WAIT_S):
        while (alone := (await ask(one, "/admin/sessions"))[1])["current"]:
            await asyncio.sleep(0.02)
    (own,) = alone["sessions"]
    (elsewhere,) = {row["id"] for row in answer["sessions"]} - {own["id"]}
    assert (await ask(one, f"/admin/sessions/{elsewhere}", "DELETE"))[0] == 503
    assert (await ask(one, f"/admin/sessions/{own['id']}", "DELETE"))[0] == 200
    assert await end_of(sockets[0]) == (1008, "ended by the operator")
    await sockets[1].close()


async def test_too_many_are_counted(server: RedisServer, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one of those that are not listed can be ended all the same."""
    monkeypatch.setattr(module, "MOST", 1)
    one, two = await replicas(start, server)
    sockets = [await two.conversation() for _ in range(3)]
    async with asyncio.timeout(WAIT_S):
        while (answer := (await ask(one, "/admin/sessions"))[1])["unlisted"] != 2:
            await asyncio.sleep(0.02)
    assert len(answer["sessions"]) == 1
    ids = {row["id"] for row in (await ask(two, "/admin/sessions"))[1]["sessions"]}
    unlisted = sorted(ids - {answer["sessions"][0]["id"]})[0]
    assert (await ask(one, f"/admin/sessions/{unlisted}", "DELETE"))[0] == 202
    async with asyncio.timeout(WAIT_S):
        while len(two.relay.registry) != 2:
            await asyncio.sleep(0.02)
    for socket in sockets:
        await socket.close()


def said(rows: Any, unlisted: Any = 0, version: str = __version__) -> str:
    """What a replica might have written."""
    return json.dumps({"version": version, "rows": rows, "unlisted": unlisted})


@pytest.mark.threat("E10")
@pytest.mark.parametrize(
    ("sheet", "unlisted"),
    [
        ("", 0),
        ("[]", 0),
        ("{}", 0),
        (said(5), 0),
        (said([7]), 0),
        (said([{"id": 1, "tenant": "acme"}]), 0),
        (said([{"id": "x", "tenant": ["acme"]}]), 0),
        (said([{"id": "x", "tenant": "nobody"}]), 0),
        (said([], unlisted="many"), 0),
        (said([{"id": "x"}, {}], unlisted=3, version="0.0"), 5),
    ],
)
async def test_what_stands_in_the_store_is_only_text(
    server: RedisServer, start: Start, sheet: str, unlisted: int
) -> None:
    """A sheet that is none is passed over; one of another version is counted. The own sessions are shown."""
    (one,) = await replicas(start, server, 1)
    socket = await one.conversation()
    with server.client() as client:
        client.set("relay:{!}:sheet:stranger", sheet, px=60_000)
        client.zadd("relay:{!}:replicas", {"stranger": 9e9})
    answer = (await ask(one, "/admin/sessions"))[1]
    assert (len(answer["sessions"]), answer["unlisted"], answer["current"]) == (1, unlisted, True)
    await socket.close()


async def test_a_single_relay_needs_no_store_for_it(start: Start) -> None:
    """With the ledger in SQLite nobody is told anything."""
    running = await start(admin=operator())
    socket = await running.conversation()
    assert running.relay._roster._store is None
    answer = (await ask(running, "/admin/sessions"))[1]
    assert (len(answer["sessions"]), answer["unlisted"], answer["current"]) == (1, 0, True)
    await socket.close()
