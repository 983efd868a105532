"""A far end that is no Gemini: whatever it sends is bounded, and nothing of it is believed that has not the form."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.net.conftest import WAIT_S, Origin, Running, Start, end_of

pytestmark = pytest.mark.threat("C14")

READY = b'{"setupComplete": {}}'


async def _saying(start: Start, origin: Origin, *messages: bytes | str, text: bool = False, **sections: Any) -> Running:
    """A relay whose far end says these after its answer to the setup, and then listens."""

    async def script(socket: web.WebSocketResponse) -> None:
        origin.received.append(json.loads((await socket.receive()).data))
        await socket.send_bytes(READY)
        for message in messages:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
        async for heard in socket:
            origin.received.append(json.loads(heard.data))

    origin.script = script
    return await start(handover={"dials_per_minute": 3, "deadline": "3s"}, **sections)


async def _next(socket: aiohttp.ClientWebSocketResponse) -> Any:
    message = await socket.receive(timeout=WAIT_S)
    assert message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}, message
    return json.loads(message.data)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"\x00\xff",
        b'{"serverContent": {"turnComplete": tru}}',
        b"[" * 100_000,
        b'{"serverContent":' * 50_000,
        b'{"serverContent": {"x": [' + b"{}," * 200_000 + b"{}]}}",
        b'{"serverContent": {"x": "\xff"}}',
    ],
    ids=lambda payload: repr(payload[:30]),
)
async def test_what_can_not_be_read_ends_the_session(start: Start, origin: Origin, payload: bytes) -> None:
    """With 1011 and words of ours: none of its bytes go on, and the relay is as it was."""
    running = await _saying(start, origin, payload)
    socket = await running.conversation()

    assert await end_of(socket) == (1011, "Gemini sent something the relay can't read")
    assert 'reason="upstream_nonsense"' in await running.metrics()


async def test_a_message_that_is_too_large_is_never_held(start: Start, origin: Origin) -> None:
    """It is refused by its header; the session is moved, and ends when the next connection is no better."""
    running = await _saying(start, origin, b"x" * 200_000, upstream={"max_message": "64KiB"})
    socket = await running.conversation()
    code, _ = await end_of(socket)

    assert code in {1011, 1013}
    assert 1 < len(origin.requests) <= 3, "the dials of a session are bounded"


@pytest.mark.parametrize("forged", [{"setup": {"model": "models/evil"}}, {"realtimeInput": {"text": "x"}}, {"new": 1}])
async def test_what_looks_like_a_client_s_message_is_not_passed(start: Start, origin: Origin, forged: Any) -> None:
    """No client can read it, and nothing comes of it: what follows it arrives as ever."""
    told = {"serverContent": {"outputTranscription": {"text": "well"}}}
    running = await _saying(start, origin, json.dumps(forged), json.dumps(told))
    socket = await running.conversation()

    assert await _next(socket) == told
    assert len(origin.received) == 1, "one setup, and nothing else"
    await socket.close()


@pytest.mark.parametrize(
    "malformed",
    [
        {"goAway": "now"},
        {"goAway": ["0s"]},
        {"sessionResumptionUpdate": "x"},
        {"sessionResumptionUpdate": {"newHandle": 7, "resumable": "yes"}},
        {"setupComplete": "yes"},
        {"toolCall": {"functionCalls": "x"}},
        {"toolCallCancellation": {"ids": {"a": 1}}},
        {"usageMetadata": [1]},
    ],
    ids=lambda malformed: json.dumps(malformed)[:40],
)
async def test_control_that_is_no_control_does_nothing(start: Start, origin: Origin, malformed: Any) -> None:
    """A word of Gemini's with something else behind it moves no session, opens no call and counts no token."""
    told = {"serverContent": {"outputTranscription": {"text": "well"}}}
    running = await _saying(start, origin, json.dumps(malformed), json.dumps(told))
    socket = await running.conversation()
    while await _next(socket) != told:
        pass
    (live,) = list(running.relay.registry)
    assert live.driver is not None
    session = live.driver.session

    assert len(origin.requests) == 1, "no handover"
    assert not session.line.memory.resumption.newest
    assert not session.meter.tally.tokens
    await socket.send_json({"toolResponse": {"functionResponses": [{"id": "a", "response": {}}]}})
    assert (await end_of(socket))[0] == 1008


async def test_calls_without_end_need_no_memory_without_end(start: Start, origin: Origin) -> None:
    """Thousands of open calls, some with ids as long as books: so many are remembered, and the session goes on."""
    calls = [{"toolCall": {"functionCalls": [{"id": f"{batch}-{each}"} for each in range(500)]}} for batch in range(10)]
    calls.append({"toolCall": {"functionCalls": [{"id": "x" * 100_000}]}})
    told = {"serverContent": {"outputTranscription": {"text": "well"}}}
    running = await _saying(start, origin, *(json.dumps(call) for call in [*calls, told]))
    socket = await running.conversation()
    while await _next(socket) != told:
        pass
    (live,) = list(running.relay.registry)
    assert live.driver is not None
    open_calls = live.driver.session._conversation.open_calls

    assert len(open_calls) == 1000
    assert max(map(len, open_calls)) < 100
    await socket.close()


async def test_a_hundred_thousand_tiny_messages_hold_nobody_up(start: Start, origin: Origin) -> None:
    """All arrive, in order, and between them the relay has time for others: no other session waits for their end."""
    total = 100_000
    tiny = b'{"voiceActivity":{}}'

    async def script(socket: web.WebSocketResponse) -> None:
        setup = json.loads((await socket.receive()).data)["setup"]
        await socket.send_bytes(READY)
        if "flood" in setup.get("labels", {}):
            assert socket._writer is not None
            for _ in range(total // 1000):
                socket._writer.transport.write((bytes((0x82, len(tiny))) + tiny) * 1000)
                await asyncio.sleep(0)
        async for _ in socket:
            await socket.send_bytes(b'{"serverContent":{"outputTranscription":{"text":"echo"}}}')

    origin.script = script
    running = await start()
    calm = await running.conversation()
    flooded = await running.conversation({"labels": {"flood": "yes"}})
    arrived = 0

    async def take() -> None:
        nonlocal arrived
        while arrived < total:
            message = await flooded.receive(timeout=WAIT_S)
            arrived += message.data == tiny

    taking = asyncio.ensure_future(take())
    between = []
    async with asyncio.timeout(60.0):
        while arrived < total:
            asked = time.monotonic()
            await calm.send_str('{"realtimeInput":{"text":"x"}}')
            await _next(calm)
            between.append((arrived, time.monotonic() - asked))
            await asyncio.sleep(0.05)
        await taking

    assert len([at for at, _ in between if 0 < at < total]) > 3, "it was answered while the flood went on"
    await calm.close()
    await flooded.close()


async def test_a_bomb_that_is_compressed_is_no_frame(start: Start, origin: Origin) -> None:
    """Nothing was negotiated, so a frame that says it is compressed ends the connection unread."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        assert socket._writer is not None
        socket._writer.transport.write(bytes((0xC2, 126, 0x10, 0x00)) + b"\xec\xc1\x01\x0d" * 1024)
        await socket.receive()

    origin.script = script
    running = await start(upstream={"setup_deadline": "2s"}, handover={"dials_per_minute": 2})
    socket = await running.connect()
    await socket.send_str('{"setup":{}}')
    code, reason = await end_of(socket)

    assert code in {1011, 1013}
    assert reason in {"Gemini's connection failed", "Gemini did not answer the setup, try again later"}
    assert all("Sec-WebSocket-Extensions" not in request.headers for request in origin.requests)
