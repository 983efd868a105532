"""Tickets that have limits, where they are kept, and what happens when that was tampered with."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.core.secret import Secret
from relay.net import warden
from relay.net.tickets import id_of
from tests.net.conftest import PATH, TENANT_KEY, WAIT_S, Origin, Running, Start, end_of
from tests.net.test_budgets import heard, report, says, speak
from tests.store.servers import RedisServer, redis_server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis that outlives the relay."""
    with redis_server() as running:
        yield running


async def _mint(running: Running, **body: Any) -> str:
    url = f"{running.addresses['listen']}/v1/auth_tokens"
    async with running.http.post(url, json=body, headers={"x-goog-api-key": TENANT_KEY}) as answer:
        return str((await answer.json())["name"])


async def _status(running: Running, ticket: str) -> int:
    headers = {"x-goog-api-key": ticket, "Upgrade": "websocket", "Connection": "Upgrade"}
    async with running.http.get(running.addresses["listen"] + PATH, headers=headers) as answer:
        assert ticket not in await answer.text()
        return answer.status


@pytest.mark.threat("E1", "E3")
@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"tokens": 1334}, "tokens of this ticket"),
        # 1,000 tokens of text at 0.75 for a million are 0.00075; 1,334 are the first to reach 0.001.
        ({"money": "0.001"}, "money of this ticket"),
    ],
)
async def test_a_ticket_ends_with_the_turn_that_spends_it(
    start: Start, origin: Origin, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], words: str
) -> None:
    """Two sessions spend it together: one token short both go on, with that one both end and no third one begins."""
    monkeypatch.setattr(warden, "SPEND_S", 0.0)
    running = await start()
    ticket = await _mint(running, uses=0, relay={"limits": limits})
    origin.script = says(report(1000, turnComplete=True))
    first = await running.conversation(key=ticket)
    await speak(first)
    await heard(first)
    origin.script = says(report(333, turnComplete=True), report(1, turnComplete=True))
    second = await running.conversation(key=ticket)
    await speak(second)
    await heard(second)
    more_than_a_look_s = 1.2
    quiet = await asyncio.gather(
        *(socket.receive(timeout=more_than_a_look_s) for socket in (first, second)), return_exceptions=True
    )
    assert [type(silence) for silence in quiet] == [TimeoutError, TimeoutError]
    await speak(second)
    await heard(second)
    for socket in (first, second):
        assert await end_of(socket) == (4429, f"the budget is used up: {words}")
    third = await running.connect(headers={"x-goog-api-key": ticket})
    await third.send_json({"setup": {}})
    assert await end_of(third) == (4429, f"the budget is used up: {words}")


@pytest.mark.threat("E6")
async def test_the_file_of_a_relay_holds_no_ticket(start: Start, tmp_path: Path) -> None:
    """Minted, used and revoked: its name is in none of the files, its hash is."""
    path = tmp_path / "usage.db"
    running = await start(store={"path": str(path)})
    tickets = [await _mint(running) for _ in range(3)]
    await running.conversation(key=tickets[0])
    url = f"{running.addresses['listen']}/v1/auth_tokens:revoke"
    async with running.http.post(url, json={"name": tickets[1]}, headers={"x-goog-api-key": TENANT_KEY}) as answer:
        assert answer.status == 200
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert id_of(Secret(tickets[2])).encode() in kept
    for ticket in tickets:
        assert ticket.removeprefix("auth_tokens/").encode() not in kept


@pytest.mark.threat("E10")
async def test_a_ticket_that_was_tampered_with_opens_nothing(server: RedisServer, start: Start) -> None:
    """503 as for a store that fails; other tickets, and sessions that are there, go on."""
    with server.client() as client:
        running = await start(store={"kind": "redis", "url": server.url})
        talking = await running.conversation(key=await _mint(running))
        good, forged = await _mint(running), await _mint(running)
        key = f"relay:{{!{id_of(Secret(forged))}}}:ticket"
        record = json.loads(client.hget(key, "record"))
        for name, value in (
            ("record", "{"),
            ("record", json.dumps(record | {"limits": {"tokens": -5}})),
            ("record", b"\xff"),
            ("uses", "many"),
            ("expires_at", "never"),
        ):
            before = client.hget(key, name)
            client.hset(key, name, value)
            assert await _status(running, forged) == 503, name
            client.hset(key, name, before)
        client.hset(key, "record", json.dumps(record | {"tenant": "nobody"}))
        assert await _status(running, forged) == 401
        client.set("relay:{!}:revoked", "x", ex=60)
        await running.conversation(key=good)
        async with asyncio.timeout(WAIT_S):
            await talking.ping()
        assert not talking.closed
