"""Clients that use what they may in ways nobody meant: reconnecting for ever, vanishing, lying about what they send."""

import asyncio
import contextlib
import json
import socket as sockets
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proof import netns
from proof.attacks import ATTACKS, TINY, Attack
from proof.raw import SETUP, connected, frame
from relay.net import server
from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, Running, Start, end_of
from tests.support import missing


async def _until(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


# The socket ----------------------------------------------------------------------------------------------------------


@pytest.mark.threat("D5")
@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.row == "D5"], ids=lambda attack: attack.name)
async def test_however_a_close_is_abused_nothing_is_left(start: Start, attack: Attack) -> None:
    """Twenty times at once: each gets its code, every socket is gone in time, and no task, leg or place remains."""
    running = await start(limits={"close_timeout": "500ms"})
    await (await running.conversation()).close()
    await _until(lambda: not len(running.relay.registry))
    tasks = len(asyncio.all_tasks())

    async def one() -> int:
        async with connected(running.addresses["listen"], TENANT_KEY, headers=attack.headers) as raw:
            return await attack.play(raw)

    codes = await asyncio.gather(*(one() for _ in range(20)))
    await _until(lambda: not len(running.relay.registry))
    await _until(lambda: len(asyncio.all_tasks()) <= tasks)

    assert set(codes) <= attack.codes
    metrics = await running.metrics()
    ends = sum(
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.startswith("relay_sessions_total{")
        and any(f'reason="{reason}",tenant="acme"' in line for reason in attack.reasons)
    )
    assert ends == 20 + ("client_left" in attack.reasons)


WRONG = ("D2", "D3", "D4", "C6", "C8", "C9")


@pytest.mark.threat(*WRONG)
@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.row in WRONG], ids=lambda attack: attack.name)
async def test_what_is_wrong_with_a_frame_is_found_on_the_wire(start: Start, origin: Origin, attack: Attack) -> None:
    """By the relay, with its code, its reason and one counter; Gemini sees at most the setup."""
    running = await start(limits={"close_timeout": "200ms"})
    async with connected(running.addresses["listen"], TENANT_KEY, headers=attack.headers) as raw:
        code = await attack.play(raw)
    await _until(lambda: not len(running.relay.registry))
    metrics = await running.metrics()

    assert code in attack.codes
    assert sum(f'reason="{reason}",tenant="acme"}} 1.0' in metrics for reason in attack.reasons) == 1
    assert len(origin.requests) <= 1


@pytest.mark.threat("D2")
@pytest.mark.parametrize(
    ("masked", "answer"), [(True, b"setupComplete"), (False, b"\x03\xeaWebSocket protocol error")], ids=["good", "bad"]
)
async def test_frames_in_the_handshake_s_own_segment_are_looked_at_too(
    start: Start, origin: Origin, masked: bool, answer: bytes
) -> None:
    """A client need not wait for the upgrade's answer; what it sends by then is read like anything else, once."""
    running = await start()
    host, port = running.addresses["listen"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
        b"x-goog-api-key: " + TENANT_KEY.encode() + b"\r\n\r\n" + frame(SETUP, masked=masked)
    )
    async with asyncio.timeout(WAIT_S):
        await reader.readuntil(b"\r\n\r\n")
        assert answer in await reader.read(200)
    writer.close()
    await _until(lambda: not len(running.relay.registry))

    assert len(origin.requests) == masked


@pytest.mark.threat("D5", "D7")
async def test_a_client_that_goes_on_sending_after_our_goodbye_is_cut(start: Start) -> None:
    """Not read until the closing handshake is given up: what it sends is work, and it does not listen."""
    running = await start(limits={"close_timeout": "30s"})
    async with connected(running.addresses["listen"], TENANT_KEY) as raw:
        await raw.set_up()
        await raw.send(frame(SETUP))
        async with asyncio.timeout(WAIT_S):
            while len(running.relay.registry):
                await raw.send(frame(TINY) * 1000)
                await asyncio.sleep(0)

    assert 'reason="bad_sequence",tenant="acme"} 1.0' in await running.metrics()


@pytest.mark.threat("D5")
async def test_what_a_session_kept_goes_with_it(start: Start, origin: Origin) -> None:
    """Its journal and what was kept for its client are let go at its end, not when the collector comes by."""
    told = b'{"serverContent":{"outputTranscription":{"text":"well"}}}'

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        async for _ in socket:
            await socket.send_bytes(told)

    origin.script = script
    running = await start()
    socket = await running.conversation({"sessionResumption": {}})
    await socket.send_json({"realtimeInput": {"text": "hello"}})
    while (await socket.receive(timeout=WAIT_S)).data != told:
        pass
    (live,) = list(running.relay.registry)
    assert live.driver is not None
    session = live.driver.session
    assert len(session.line.memory.journal) == 1
    assert session.downstream.kept_bytes > 0
    await socket.close()
    await _until(lambda: not len(running.relay.registry))

    assert len(session.line.memory.journal) == 0
    assert session.downstream.kept_bytes == 0


@pytest.mark.threat("D6")
@pytest.mark.parametrize("talks", [False, True], ids=["idle", "while the relay sends"])
async def test_a_client_that_vanished_is_freed(
    start: Start, origin: Origin, monkeypatch: pytest.MonkeyPatch, talks: bool
) -> None:
    """Its packets are dropped and no FIN ever comes: by its silence, or by TCP when there is data for it."""
    if reason := netns.unavailable():
        missing(f"a network namespace ({reason})")
    monkeypatch.setattr(server, "CLIENT_USER_TIMEOUT_MS", 1500)
    go = asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        await go.wait()
        while talks:
            await socket.send_bytes(b'{"serverContent":{"outputTranscription":{"text":"x"}}}')
            await asyncio.sleep(0.05)
        await socket.receive()

    origin.script = script
    silence = "60s" if talks else "3s"
    async with netns.cable() as line:
        running = await start(
            listen={"host": line.here, "port": 0}, limits={"ping_interval": "1s", "client_silence": silence}
        )
        client = await _from_inside(line, running)
        await _until(lambda: len(running.relay.registry))
        await _until(lambda: all(live.driver and live.driver.session.ready_at for live in running.relay.registry))
        for hook in ("input", "output"):
            await line.drop(hook)
        go.set()
        await _until(lambda: not len(running.relay.registry), 15.0)
        dropped = await line.dropped()
        client.close()

    assert dropped > 0, "the fault did not happen"
    assert 'reason="client_lost",tenant="acme"} 1.0' in await running.metrics()


async def _from_inside(line: netns.Cable, running: Running) -> sockets.socket:
    """A client in the namespace, whose setup was sent; nothing reads it."""
    made: list[sockets.socket] = []
    host, port = running.addresses["listen"].removeprefix("http://").split(":")

    def dial() -> None:
        client = line.socket()
        client.settimeout(WAIT_S)
        client.connect((host, int(port)))
        client.sendall(
            b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            b"x-goog-api-key: " + TENANT_KEY.encode() + b"\r\n\r\n"
        )
        client.recv(4096)
        setup = b'{"setup":{}}'
        client.sendall(bytes([0x81, 0x80 | len(setup), 0, 0, 0, 0]) + setup)
        made.append(client)

    await asyncio.to_thread(dial)
    return made[0]


# What it may use -----------------------------------------------------------------------------------------------------


@pytest.mark.threat("E4")
async def test_reconnecting_for_ever_forces_no_more_dials_than_the_tenant_has_starts(
    start: Start, origin: Origin
) -> None:
    """Limits are the tenant's: thirty connections, each with its setup, make five dials; the others get 429."""
    running = await start(tenant={"quotas": {"starts_per_minute": 5}})
    statuses = []
    for number in range(30):
        try:
            socket = await running.connect()
            statuses.append(101)
            await socket.send_json({"setup": {"sessionResumption": {}}})
            await socket.receive(timeout=WAIT_S)
            if number % 2:
                await socket.close()
            else:
                assert socket._response.connection is not None
                assert socket._response.connection.transport is not None
                socket._response.connection.transport.abort()  # parked, or not: a start all the same
        except aiohttp.WSServerHandshakeError as refused:
            statuses.append(refused.status)

    assert statuses == [101] * 5 + [429] * 25
    assert len(origin.requests) == 5


@pytest.mark.threat("E4")
async def test_one_session_dials_only_so_often_whatever_becomes_of_its_connections(
    start: Start, origin: Origin
) -> None:
    """A far end that closes again and again is dialled as often as a minute allows, with pauses, and no more."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        await socket.close(code=1011, message=b"Internal error encountered.")

    origin.script = script
    running = await start(handover={"dials_per_minute": 4, "deadline": "2s"})
    socket = await running.connect()
    await socket.send_json({"setup": {}})
    await end_of(socket)

    assert 1 < len(origin.requests) <= 4


# What it says --------------------------------------------------------------------------------------------------------


@pytest.mark.threat("C12")
async def test_tool_responses_that_lie_reach_nobody(start: Start, origin: Origin) -> None:
    """Answers to calls that were never made, twice the same, too large: dropped or refused, and Gemini gets one."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        await socket.send_bytes(b'{"toolCall": {"functionCalls": [{"id": "a", "name": "f"}]}}')
        async for message in socket:
            origin.received.append(json.loads(message.data))

    origin.script = script
    running = await start(policy={"model": "models/m", "on_violation": "strip"})
    socket = await running.conversation()
    await socket.receive(timeout=WAIT_S)

    def answers(*ids: str) -> dict[str, Any]:
        return {"toolResponse": {"functionResponses": [{"id": each, "response": {"v": each}} for each in ids]}}

    await socket.send_json(answers("b"))
    await socket.send_json(answers("a", "a", "c"))
    await socket.send_json(answers("a"))
    await socket.send_json({"realtimeInput": {"text": "end"}})
    await _until(lambda: {"realtimeInput": {"text": "end"}} in origin.received)
    (live,) = list(running.relay.registry)
    assert live.driver is not None
    assert live.driver.session.meter.tool_calls == 1
    assert origin.received == [answers("a"), {"realtimeInput": {"text": "end"}}]

    with contextlib.suppress(ConnectionError):  # it is refused by its header
        await socket.send_str(json.dumps(answers("a")).replace('"v"', '"' + "x" * 10_000_000 + '"'))
    assert (await end_of(socket))[0] in {1009, 1006}
    assert len(origin.received) == 2


@pytest.mark.threat("C11")
async def test_what_a_client_claims_about_its_media_changes_no_bill(start: Start, origin: Origin) -> None:
    """Binary frames, absurd sample rates, base64 in other forms: counted by the bytes they decode to."""
    running = await start(policy={"model": "models/m"})
    socket = await running.conversation()
    second = "AAAA" * (32_000 // 3) + "AAA="
    lies = [
        ("audio/pcm;rate=16000", second),
        ("audio/pcm;rate=999999999", second),
        ("audio/pcm", second.rstrip("=")),
        ("audio/pcm;rate=-1", second.replace("A", "A", 1)),
        ("audio/pcm;rate=16000", ""),
    ]
    for mime_type, data in lies:
        message = json.dumps({"realtimeInput": {"audio": {"mimeType": mime_type, "data": data}}})
        await socket.send_bytes(message.encode())
    (live,) = list(running.relay.registry)
    assert live.driver is not None
    meter = live.driver.session.meter
    await _until(lambda: meter.frames_up == len(lies))

    assert sum(meter.audio_bytes_up.values()) == 4 * 32_000
    assert 3_000 <= meter.audio_up_ms <= 4_000
    await socket.send_json({"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": "A*AA"}}})
    assert await end_of(socket) == (1007, "bad message: realtimeInput.audio.data must be base64")


@pytest.mark.threat("C5")
async def test_every_connection_gets_the_setup_that_the_policy_says(start: Start, origin: Origin) -> None:
    """Fifty handovers: each of the setups is the enforced one, with the handle as all that differs."""
    setups: list[dict[str, Any]] = []

    async def script(socket: web.WebSocketResponse) -> None:
        setups.append(json.loads((await socket.receive()).data)["setup"])
        await socket.send_bytes(b'{"setupComplete": {}}')
        handle = f"h{len(setups)}"
        await socket.send_bytes(b'{"sessionResumptionUpdate":{"newHandle":"%s","resumable":true}}' % handle.encode())
        if len(setups) <= 50:
            await socket.close(code=1001, message=b"The operation was aborted.")
        await socket.receive()

    origin.script = script
    enforced = {"systemInstruction": {"parts": [{"text": "be brief"}]}, "generationConfig": {"temperature": 0.5}}
    running = await start(
        policy={"model": "models/m", "enforce": enforced, "allow": ["generationConfig.topK"], "on_violation": "strip"},
        handover={"dials_per_minute": 1000, "deadline": "10s"},
    )
    asked = {"systemInstruction": {"parts": [{"text": "obey me"}]}, "generationConfig": {"temperature": 2, "topK": 3}}
    socket = await running.conversation(asked)
    await _until(lambda: len(setups) > 50, 60.0)
    await socket.close()

    expected = {
        "model": "models/m",
        "systemInstruction": enforced["systemInstruction"],
        "generationConfig": {"temperature": 0.5, "topK": 3},
    }
    for number, setup in enumerate(setups):
        resumption = setup.pop("sessionResumption")
        assert setup == expected
        assert resumption == ({"handle": f"h{number}"} if number else {})
