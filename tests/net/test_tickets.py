"""Tickets through a real relay: minted by a tenant's backend, used by clients, revoked."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from relay.core.secret import Secret
from relay.core.tickets import Stub
from relay.net import warden
from relay.net.tickets import id_of
from tests.net.conftest import KEY, TENANT_KEY, WAIT_S, Origin, Running, Start, end_of
from tests.net.continuing import gone
from tests.store.servers import RedisServer, redis_server

CONSTRAINED = "/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContentConstrained"
OTHER_KEY = "relay_other-tenant-key-987654"
OTHER = {"id": "other", "keys": [OTHER_KEY], "policy": "under-test"}


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def _post(
    running: Running, body: Any, what: str = "", key: str = TENANT_KEY, **headers: str
) -> tuple[int, dict[str, Any]]:
    url = f"{running.addresses['listen']}/v1beta/auth_tokens{what}"
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with running.http.post(url, data=data, headers={"x-goog-api-key": key, **headers}) as response:
        return response.status, await response.json()


async def _mint(running: Running, key: str = TENANT_KEY, **body: Any) -> str:
    status, answer = await _post(running, body, key=key)
    assert status == 200, answer
    assert answer.keys() == {"name"}
    assert re.fullmatch(r"auth_tokens/[\w-]{43}", answer["name"])
    return str(answer["name"])


async def _begin(running: Running, ticket: str, setup: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
    """A session by ticket: its socket, and the first message or the close."""
    socket = await running.connect(f"{CONSTRAINED}?access_token={ticket}", headers={})
    await socket.send_json({"setup": setup or {}})
    async with asyncio.timeout(WAIT_S):
        message = await socket.receive()
    if isinstance(message.data, int):
        return socket, {"code": message.data, "reason": message.extra}
    return socket, json.loads(message.data)


async def _status(running: Running, ticket: str, query: str = "", **headers: str) -> int:
    """The answer to a handshake that must be refused."""
    url = running.addresses["listen"] + CONSTRAINED + query
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", **headers}
    async with running.http.get(url, headers=upgrade) as response:
        assert ticket not in await response.text()
        return response.status


USED_UP = {"code": 4401, "reason": "the ticket admits no new session: it was used as often as it may be"}


@pytest.mark.threat("B9")
async def test_a_ticket_opens_one_session(start: Start) -> None:
    """Once, by whichever place its client puts it in; the second use is refused with words."""
    running = await start()
    for spelled in ("auth_tokens/", "auth_tokens%2F"):
        ticket = await _mint(running)
        _, first = await _begin(running, ticket.replace("auth_tokens/", spelled))
        assert first == {"setupComplete": {}}
        assert (await _begin(running, ticket))[1] == USED_UP
    ticket = await _mint(running)
    both = {"x-goog-api-key": ticket, "Authorization": f"Token {ticket}"}
    socket = await running.connect(CONSTRAINED, headers=both)
    await socket.send_json({"setup": {}})
    assert json.loads((await socket.receive()).data) == {"setupComplete": {}}
    metrics = await running.metrics()
    assert 'relay_tickets_total{event="used",tenant="acme"} 3.0' in metrics
    assert 'relay_tickets_total{event="used_up",tenant="acme"} 2.0' in metrics


async def test_the_record_says_for_whom_the_ticket_was(start: Start) -> None:
    """Its holder can't book what it uses to somebody else."""
    running = await start()
    ticket = await _mint(running, relay={"endUser": "user-17", "labels": {"plan": "gold"}})
    refused = await _status(running, ticket, **{"Authorization": f"Token {ticket}", "x-relay-end-user": "user-18"})
    with capture_logs() as logs:
        socket, first = await _begin(running, ticket)
        await socket.close()
        await gone(running)
    (record,) = [line for line in logs if line["event"] == "usage"]

    assert (refused, first) == (400, {"setupComplete": {}})
    assert (record["end_user"], record["labels"]) == ("user-17", {"plan": "gold"})


@pytest.mark.threat("B9")
async def test_of_100_at_once_exactly_one_gets_in(start: Start, origin: Origin) -> None:
    """The other 99 are refused, and Gemini is dialled once."""
    running = await start()
    ticket = await _mint(running)
    answers = [answer for _, answer in await asyncio.gather(*(_begin(running, ticket) for _ in range(100)))]
    assert answers.count({"setupComplete": {}}) == 1
    assert answers.count(USED_UP) == 99
    assert len(origin.requests) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "the body is not valid JSON"),
        (b"[]", "the body: must be an object"),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nests deeper"),
        (b"x" * 70_000, "the body is larger than 65536 bytes"),
        ({"nope": 1}, "nope: is not a field of a ticket"),
        ({"uses": -1}, "uses: must be"),
        ({"uses": True}, "uses: must be"),
        ({"uses": 1, "expireTime": "tomorrow"}, "expireTime: must be a time"),
        ({"expireTime": "2026-13-01T00:00:00Z"}, "expireTime: is no time"),
        ({"expireTime": "2020-01-01T00:00:00Z"}, "expireTime: must be in the future"),
        ({"expireTime": _in(30 * 3600)}, "expireTime: must be in the future, and less than 20 hours"),
        ({"newSessionExpireTime": _in(30 * 3600)}, "newSessionExpireTime: must be"),
        ({"expireTime": None, "expire_time": "x", "relay": []}, "expireTime: is given twice"),
        ({"fieldMask": "nope"}, "fieldMask names no field of setup: nope"),
        ({"bidiGenerateContentSetup": {"nope": 1}}, "bidiGenerateContentSetup.nope is not a field of the Live API"),
        ({"bidiGenerateContentSetup": {"tools": [{}]}}, "bidiGenerateContentSetup.tools may not be set by the client"),
        ({"bidiGenerateContentSetup": {"model": "models/x"}}, "bidiGenerateContentSetup.model is not a model"),
        (
            {"bidiGenerateContentSetup": {"sessionResumption": {"handle": "h"}}},
            "sessionResumption.handle was not given",
        ),
        ({"relay": {"endUser": "a\nb"}}, "relay.endUser: must be printable"),
        ({"relay": {"labels": {"a b": "c"}}}, "relay.labels: must be"),
        ({"relay": {"limits": {"seconds": 0}}}, "relay.limits.seconds: must be a number above 0"),
        ({"relay": {"limits": {"seconds": "1e9999"}}}, "relay.limits.seconds: must be a number above 0"),
        ({"relay": {"limits": {"wishes": 3}}}, "relay.limits.wishes: is not a field"),
    ],
)
async def test_what_makes_no_ticket_is_a_400_that_names_the_field(start: Start, body: Any, words: str) -> None:
    """In Google's form of an error."""
    running = await start(
        policy={"model": "models/gemini-3.8-live", "allow": ["generationConfig"], "on_violation": "strip"}
    )
    status, answer = await _post(running, body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert words in answer["error"]["message"]


async def test_only_a_tenants_key_and_no_page_makes_tickets(start: Start) -> None:
    """Not a ticket, not a stranger, not a browser, unless the tenant is configured so."""
    page = "https://app.example"
    running = await start(tenant={"origins": [page]})
    ticket = await _mint(running)
    assert (await _post(running, {}, key=ticket))[0] == 403
    assert (await _post(running, {}, key="relay_nobody"))[0] == 401
    assert (await _post(running, {}, Origin=page))[0] == 403
    url = f"{running.addresses['listen']}/v1/auth_tokens"
    async with running.http.get(url, headers={"x-goog-api-key": TENANT_KEY}) as response:
        assert response.status == 405
    async with running.http.post(f"{url}?key={TENANT_KEY}") as response:
        assert response.status == 401
        assert TENANT_KEY not in await response.text()
    lenient = await start(tenant={"origins": [page], "tickets_from_pages": True})
    assert (await _post(lenient, {}, Origin=page))[0] == 200
    assert (await _post(lenient, {}, Origin="https://evil.example"))[0] == 403


async def test_a_ticket_fixes_the_setup_within_the_policy(start: Start, origin: Origin) -> None:
    """What Gemini gets is the ticket's, what the policy enforces wins, and the client's own is ignored."""
    got: list[Any] = []

    async def script(socket: Any) -> None:
        got.append(json.loads(await socket.receive_str())["setup"])
        await socket.send_bytes(b'{"setupComplete": {}}')
        await socket.receive()

    origin.script = script
    enforced: dict[str, Any] = {"outputAudioTranscription": {}}
    running = await start(policy={"model": "models/gemini-3.8-live", "allow": ["*"], "enforce": enforced})
    fixed = {"generationConfig": {"temperature": 0.5}}
    ticket = await _mint(running, bidiGenerateContentSetup=fixed)
    await _begin(running, ticket, {"generationConfig": {"topK": 4}, "tools": [{"googleSearch": {}}]})
    ticket = await _mint(running, bidiGenerateContentSetup=fixed, fieldMask="generationConfig.temperature")
    await _begin(running, ticket, {"generationConfig": {"topK": 4, "temperature": 2}})
    for setup in got:
        del setup["sessionResumption"]
    model = {"model": "models/gemini-3.8-live"}
    assert got == [
        {**model, **fixed, **enforced},
        {**model, "generationConfig": {"topK": 4, "temperature": 0.5}, **enforced},
    ]


@pytest.mark.threat("E6")
async def test_a_handle_brings_a_client_back_without_a_use(start: Start) -> None:
    """Uses 1: the same session is taken up again by the same ticket, and by nobody else's."""
    running = await start(tenants=[OTHER])
    ticket = await _mint(running, relay={"endUser": "eva"})
    socket, _ = await _begin(running, ticket, {"sessionResumption": {}})
    handle = json.loads((await socket.receive()).data)["sessionResumptionUpdate"]["newHandle"]
    for stranger in (
        await _mint(running),
        await _mint(running, relay={"endUser": "adam"}),
        await _mint(running, OTHER_KEY),
    ):
        _, answer = await _begin(running, stranger, {"sessionResumption": {"handle": handle}})
        assert answer["code"] == 1008
    again, answer = await _begin(running, ticket, {"sessionResumption": {"handle": handle}})
    assert answer == {"setupComplete": {}}
    assert (await _begin(running, ticket))[1] == USED_UP
    newer = await _mint(running, relay={"endUser": "eva"})
    handle = json.loads((await again.receive()).data)["relay"] and json.loads((await again.receive()).data)
    handle = handle["sessionResumptionUpdate"]["newHandle"]
    last, answer = await _begin(running, newer, {"sessionResumption": {"handle": handle}})
    assert answer == {"setupComplete": {}}
    await _post(running, {"name": newer}, ":revoke")  # now it is this ticket that holds the session
    assert await end_of(last) == (4401, "access was revoked")


@pytest.mark.threat("B7")
async def test_expiry_ends_a_session_in_the_middle(start: Start) -> None:
    """With 4401 within a few seconds; the ticket opens nothing any more, and is no more than a wrong key."""
    running = await start()
    loop = asyncio.get_running_loop()
    began = loop.time()
    ticket = await _mint(running, uses=0, expireTime=_in(2.0))
    socket, _ = await _begin(running, ticket)
    assert await end_of(socket) == (4401, "the ticket or token has expired")
    assert 1.5 < loop.time() - began < 2.0 + 5.0
    assert await _status(running, ticket, f"?access_token={ticket}") == 401


@pytest.mark.threat("B9")
async def test_new_sessions_have_a_time_of_their_own(start: Start) -> None:
    """After newSessionExpireTime only those that are there go on."""
    running = await start()
    ticket = await _mint(running, uses=0, newSessionExpireTime=_in(1.0))
    socket, first = await _begin(running, ticket)
    assert first == {"setupComplete": {}}
    async with asyncio.timeout(WAIT_S):
        while (answer := (await _begin(running, ticket))[1]) == {"setupComplete": {}}:
            await asyncio.sleep(0.1)
    assert answer == {"code": 4401, "reason": "the ticket admits no new session: its time for new sessions is over"}
    assert not socket.closed


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis; asked for before `start`, it outlives the relays, which then end without delay."""
    with redis_server() as running:
        yield running


@pytest.fixture
async def replicas(server: RedisServer, start: Start) -> list[Running]:
    """Two relays on one Redis."""
    return [await start(store={"kind": "redis", "url": server.url}, tenants=[OTHER]) for _ in range(2)]


@pytest.mark.threat("B8")
@pytest.mark.parametrize("by", ["name", "endUser", "all"])
async def test_revocation_ends_sessions_on_every_replica(replicas: list[Running], by: str) -> None:
    """Within 10 s, and nothing of another tenant's, though its end user has the same name; the ticket is refused."""
    ticket = await _mint(replicas[0], uses=0, relay={"endUser": "eva"})
    others = await _mint(replicas[0], OTHER_KEY, uses=0, relay={"endUser": "eva"})
    sockets = [(await _begin(running, ticket))[0] for running in replicas]
    untouched, _ = await _begin(replicas[1], others)
    body = {by: {"name": ticket, "endUser": "eva", "all": True}[by]}
    if by == "name":  # another tenant's key takes nothing back
        assert await _post(replicas[0], body, ":revoke", key=OTHER_KEY) == (200, {"sessionsEndedHere": 0})
        assert not sockets[0].closed
        assert (await _begin(replicas[1], ticket))[1] == {"setupComplete": {}}
    assert await _post(replicas[0], body, ":revoke") == (200, {"sessionsEndedHere": 1})
    began = asyncio.get_running_loop().time()
    for socket in sockets:
        assert await end_of(socket) == (4401, "access was revoked")
    assert asyncio.get_running_loop().time() - began < 10.0
    for running in replicas:
        assert await _status(running, ticket, f"?access_token={ticket}") == 401
    assert not untouched.closed
    fresh = await _mint(replicas[1], relay={"endUser": "eva"})
    assert (await _begin(replicas[0], fresh))[1] == {"setupComplete": {}}, "what is minted later is not revoked"


@pytest.mark.parametrize(
    "body", [b"{", {}, {"name": "x"}, {"all": False}, {"endUser": ""}, {"all": True, "endUser": "a"}]
)
async def test_an_order_to_revoke_that_says_nothing_is_refused(start: Start, body: Any) -> None:
    """Exactly one of three, or 400."""
    assert (await _post(await start(), body, ":revoke"))[0] == 400


@pytest.mark.threat("E1")
async def test_a_ticket_has_limits_over_all_its_sessions(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds are counted on; when they are spent the session ends, and no other one begins."""
    monkeypatch.setattr(warden, "SPEND_S", 0.2)
    running = await start()
    ticket = await _mint(running, uses=0, relay={"limits": {"seconds": 1}})
    socket, _ = await _begin(running, ticket)
    assert await end_of(socket) == (4429, "the budget is used up: seconds of this ticket")
    assert (await _begin(running, ticket))[1]["code"] == 4429
    short = await _mint(running, relay={"limits": {"sessionSeconds": 1}})
    socket, _ = await _begin(running, short)
    assert (await end_of(socket))[0] == 1008


@pytest.mark.threat("E1")
async def test_a_flood_of_tickets_is_throttled(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant gets so many at once, and one more for what was renewed meanwhile; the rest is 429. Revoking too."""
    monkeypatch.setattr("relay.net.minting.BURST", 3.0)
    monkeypatch.setattr("relay.net.minting.PER_SECOND", 0.001)
    running = await start()
    assert [(await _post(running, {}))[0] for _ in range(5)] == [200, 200, 200, 200, 429]
    other = await start()
    revocations = [{"endUser": f"user-{number}"} for number in range(5)]
    assert [(await _post(other, each, ":revoke"))[0] for each in revocations] == [200, 200, 200, 200, 429]


async def test_without_the_store_a_ticket_is_neither_made_nor_taken(start: Start) -> None:
    """503, because nobody can say whether it was used."""
    with redis_server() as server:
        running = await start(store={"kind": "redis", "url": server.url})
        ticket = await _mint(running)
        server.process.kill()
        server.process.wait()
        assert (await _post(running, {}))[0] == 503
        assert await _status(running, ticket, f"?access_token={ticket}") == 503


@pytest.mark.threat("E10")
@pytest.mark.parametrize(
    "record",
    ["", "[]", "{}", "null", '"tenant"', "[" * 5000, "tenant", "end_user", "labels", "limits", "setup", "mask"],
    ids=lambda record: record[:10] or "empty",
)
async def test_a_ticket_that_somebody_else_wrote_opens_nothing(start: Start, record: str) -> None:
    """A shared store may hold anything: 503 and no traceback, neither for its holder nor for who revokes it."""
    fields = ("tenant", "end_user", "labels", "limits", "setup", "mask")
    running = await start()
    name = f"auth_tokens/{'x' * 43}"
    written = {"tenant": "acme", "end_user": "", "labels": {}, "limits": {"seconds": 9}, "setup": {}, "mask": []}
    good = json.dumps(written)
    text = json.dumps(written | {record: {"seconds": -1, "tools": 5}}) if record in fields else record
    store = running.relay.warden._store
    now = datetime.now(UTC).timestamp()
    for body, status in ((good, 101), (text, 503)):
        await store.add(id_of(Secret(name)), Stub(body, 1, now + 60, now + 60))
        if status == 101:
            assert (await _begin(running, name))[1] == {"setupComplete": {}}
            await store.revoke("none", id_of(Secret(name)))
            continue
        with capture_logs() as logs:
            assert await _status(running, name, f"?access_token={name}") == 503
            assert (await _post(running, {"name": name}, ":revoke"))[0] in (200, 503)
        assert not [line for line in logs if line["log_level"] == "error"]


@pytest.mark.threat("A3")
@pytest.mark.parametrize("query", ["key", "access_token"])
async def test_a_tenants_key_in_a_url_is_refused_unless_configured(start: Start, query: str) -> None:
    """A ticket may stand there; a key only where its tenant was told to, and a wrong one is like any other."""
    running = await start()
    assert await _status(running, TENANT_KEY, f"?{query}={TENANT_KEY}") == 401
    assert 'cause="key_in_url"' in await running.metrics()
    lenient = await start(tenant={"keys_in_url": True})
    socket = await lenient.connect(f"{CONSTRAINED}?{query}={TENANT_KEY}", headers={})
    assert not socket.closed
    assert KEY not in str(socket)
