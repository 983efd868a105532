"""One leg on real sockets: the sharp edges of aiohttp's WebSockets, each fenced off."""

import asyncio
import json
import socket as sockets
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from relay.net.tcp import SEND_BUFFER_BYTES
from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, Running, Start, end_of

CHUNK = json.dumps({"serverContent": {"modelTurn": {"parts": [{"text": "x" * 60_000}]}}}).encode()


async def _stuck_client(running: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client that upgrades, sends its setup, and then never reads again, behind the smallest of buffers."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    host, port = running.addresses["listen"].removeprefix("http://").split(":")
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=raw, limit=2**12)
    writer.write(
        b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nx-goog-api-key: " + TENANT_KEY.encode() + b"\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    setup = b'{"setup":{}}'
    writer.write(bytes([0x81, 0x80 | len(setup), 0, 0, 0, 0]) + setup)
    return reader, writer


async def _all_ended(running: Running) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(running.relay.registry):
            await asyncio.sleep(0.01)


@pytest.mark.threat("D7")
async def test_a_client_that_stops_reading_pauses_gemini_and_is_given_up(start: Start, origin: Origin) -> None:
    """Memory stays bounded: Gemini is not read while its reader is stuck, and the stuck client is cut in time."""
    sent_bytes = 0

    async def script(socket: web.WebSocketResponse) -> None:
        nonlocal sent_bytes
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        try:
            while True:
                await socket.send_bytes(CHUNK)
                sent_bytes += len(CHUNK)
        except ConnectionError:
            pass

    origin.script = script
    running = await start(limits={"stuck_timeout": "2s", "close_timeout": "200ms", "buffer": "128KiB"})
    _, writer = await _stuck_client(running)
    async with asyncio.timeout(WAIT_S):
        while not len(running.relay.registry):
            await asyncio.sleep(0.01)
        before = -1
        while before != sent_bytes or not sent_bytes:  # until Gemini is not read any more
            before = sent_bytes
            await asyncio.sleep(0.2)
    waiting_bytes = sent_bytes
    await _all_ended(running)
    writer.close()

    assert (
        'relay_sessions_total{blame="downstream",reason="client_too_slow",tenant="acme"} 1.0' in await running.metrics()
    )
    # Everything that could hide it: our outbox, aiohttp's queues, both kernels' buffers.
    assert waiting_bytes < 8 * 1024 * 1024


@pytest.mark.threat("D5")
async def test_ending_a_session_does_not_wait_for_a_peer_that_reads_nothing(start: Start, origin: Origin) -> None:
    """aiohttp's own close would hang here: ours has a deadline and then cuts the socket."""
    ended = asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        try:
            for _ in range(100):
                async with asyncio.timeout(0.2):
                    await socket.send_bytes(CHUNK)
        except (TimeoutError, ConnectionError):
            pass
        ended.set()
        await socket.close()

    origin.script = script
    running = await start(limits={"stuck_timeout": "60s", "close_timeout": "200ms", "drain_timeout": "5s"})
    _, writer = await _stuck_client(running)
    async with asyncio.timeout(WAIT_S):
        await ended.wait()
        assert await running.relay.registry.drain(5.0, 5.0) == 0
    writer.close()


async def test_a_slow_reader_gets_everything_in_order(start: Start, origin: Origin) -> None:
    """Congestion delays, it does not lose, double or reorder."""
    total = 200

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        for number in range(total):
            padding = "x" * 20_000
            await socket.send_bytes(
                json.dumps({"serverContent": {}, "usageMetadata": {"n": number, "p": padding}}).encode()
            )
        await socket.receive()

    origin.script = script
    running = await start(limits={"buffer": "64KiB"})
    socket = await running.conversation()
    numbers = []
    async with asyncio.timeout(WAIT_S):
        for _ in range(total):
            numbers.append(json.loads((await socket.receive()).data)["usageMetadata"]["n"])
            await asyncio.sleep(0)
    await socket.close()

    assert numbers == list(range(total))


async def test_gemini_reading_slowly_pauses_the_client_and_loses_nothing(start: Start, origin: Origin) -> None:
    """The same the other way: what the client sends while Gemini is busy arrives in order."""
    total = 300
    go, done = asyncio.Event(), asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        await go.wait()
        for _ in range(total):
            origin.received.append(json.loads((await socket.receive()).data)["realtimeInput"]["text"][:5])
        done.set()
        await socket.receive()

    origin.script = script
    running = await start(limits={"buffer": "64KiB"})
    socket = await running.conversation()

    async def talk() -> None:
        for number in range(total):
            await socket.send_str(json.dumps({"realtimeInput": {"text": f"{number:05d}" + "x" * 20_000}}))

    talking = asyncio.ensure_future(talk())
    await asyncio.sleep(0.2)  # long enough to fill every buffer on the way; the outcome does not depend on it
    go.set()
    async with asyncio.timeout(WAIT_S):
        await talking
        await done.wait()
    await socket.close()

    assert origin.received == [f"{number:05d}" for number in range(total)]


async def test_pings_are_answered_at_once_even_while_gemini_is_away(start: Start, origin: Origin) -> None:
    """The Python SDK gives up 20 s after an unanswered ping: the relay answers before Gemini is there."""
    release = asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await release.wait()

    origin.script = script
    running = await start()
    socket = await running.connect(autoping=False)
    await socket.send_str('{"setup":{}}')
    await socket.ping(b"are you there")
    message = await socket.receive(timeout=WAIT_S)
    release.set()

    assert message.type is aiohttp.WSMsgType.PONG
    assert message.data == b"are you there"
    await socket.close()


@pytest.mark.threat("D6")
async def test_a_silent_client_is_pinged_and_then_given_up(start: Start) -> None:
    """Proxies in front cut quiet sockets, so quiet clients are pinged; those that never answer are gone."""
    running = await start(limits={"ping_interval": "1s", "client_silence": "3s"})
    socket = await running.connect(autoping=False)
    await socket.send_str('{"setup":{}}')
    kinds = []
    async with asyncio.timeout(WAIT_S):
        while True:
            message = await socket.receive()
            kinds.append(message.type)
            if message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR}:
                break

    assert aiohttp.WSMsgType.PING in kinds
    await _all_ended(running)
    assert 'reason="client_lost"' in await running.metrics()


@pytest.mark.threat("D5")
@pytest.mark.parametrize("how", ["close", "close without a code", "end of file", "reset"])
async def test_however_a_client_leaves_both_legs_are_gone(start: Start, origin: Origin, how: str) -> None:
    """Gemini's side is closed with 1000, whatever the client's code was: 1005 and 1006 are never copied."""
    codes: list[int | None] = []

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        await socket.receive()
        codes.append(socket.close_code)

    origin.script = script
    running = await start()
    socket: Any = await running.conversation()
    if how == "close":
        await socket.close(code=4000, message=b"bye")
    elif how == "close without a code":
        await socket._writer.send_frame(b"", aiohttp.WSMsgType.CLOSE)
    elif how == "end of file":
        socket._response.connection.transport.write_eof()
    else:
        socket._response.connection.transport.abort()
    await _all_ended(running)
    async with asyncio.timeout(WAIT_S):
        while not codes:
            await asyncio.sleep(0.01)

    assert codes == [1000]
    await socket.close()


@pytest.mark.threat("C9")
async def test_invalid_utf8_is_refused(start: Start) -> None:
    """Text frames are not decoded on the way in; bad UTF-8 is still no JSON."""
    running = await start()
    socket = await running.connect()
    await socket._writer.send_frame(b'{"setup":{"model":"\xff"}}', aiohttp.WSMsgType.TEXT)

    assert (await end_of(socket))[0] == 1007


@pytest.mark.threat("D6")
async def test_tcp_notices_dead_peers_on_both_legs(start: Start, origin: Origin) -> None:
    """No ping timeout towards Gemini, whose pongs may take 30 s: the kernel watches instead."""
    running = await start()
    client = await running.conversation()
    (live,) = list(running.relay.registry)
    assert live.driver is not None
    options = [
        [
            leg._engine._transport.get_extra_info("socket").getsockopt(sockets.IPPROTO_TCP, option)
            for option in (sockets.TCP_USER_TIMEOUT, sockets.TCP_KEEPIDLE)
        ]
        for leg in live.driver._legs.values()
    ]
    buffers = [
        leg._engine._transport.get_extra_info("socket").getsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF)
        for leg in live.driver._legs.values()
    ]
    await client.close()

    assert options == [[10_000, 15], [4_000, 15]]
    assert buffers == [2 * SEND_BUFFER_BYTES] * 2  # Linux reports twice what was asked for


async def test_a_leg_tells_of_pongs_behind_what_it_wrote(start: Start, origin: Origin) -> None:
    """A pong to our ping, from a real peer, tells that what was written before it was read."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        await socket.send_bytes(b'{"sessionResumptionUpdate": {"newHandle": "h", "resumable": true}}')
        await socket.receive()

    origin.script = script
    running = await start()
    await running.conversation()
    driver = next(iter(running.relay.registry)).driver
    assert driver is not None
    async with asyncio.timeout(WAIT_S):
        while not driver.session.line.memory.lag_s(0.0):  # the relay pings with each handle it is issued
            await asyncio.sleep(0.005)

    assert 0 < driver.session.line.memory.lag_s(0.0) < WAIT_S


async def test_a_message_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(start: Start, origin: Origin) -> None:
    """On both legs, and what is too big is told with 1009."""
    limit = 2000

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}'.ljust(limit))
        await socket.receive()
        await socket.send_bytes(b'{"serverContent": {}}'.ljust(limit + 1))
        end = await socket.receive()
        told.append((end.type, end.data))

    told: list[tuple[aiohttp.WSMsgType, int]] = []
    origin.script = script
    running = await start(limits={"max_message": limit}, upstream={"max_message": limit})
    socket = await running.connect()
    await socket.send_bytes(b'{"setup": {}}'.ljust(limit))
    assert b"setupComplete" in (await socket.receive_bytes(timeout=WAIT_S))
    await socket.send_bytes(b'{"realtimeInput": {"text": "hello"}}'.ljust(limit + 1))
    assert (await end_of(socket))[0] == 1009

    socket = await running.connect()
    await socket.send_bytes(b'{"setup": {}}')
    assert b"setupComplete" in (await socket.receive_bytes(timeout=WAIT_S))
    await socket.send_bytes(b'{"realtimeInput": {"text": "hello"}}')
    await end_of(socket)
    async with asyncio.timeout(WAIT_S):
        while (aiohttp.WSMsgType.CLOSE, 1009) not in told:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("nonsense", "told"),
    [(b"\x81\x02{\xff", 1007), (b"\x82\x05hello", 1007), (b"\xc1\x00", 1002)],
    ids=["no UTF-8", "no JSON", "a reserved bit"],
)
async def test_gemini_is_told_that_it_can_t_be_read(start: Start, origin: Origin, nonsense: bytes, told: int) -> None:
    """Nothing of it reaches the client, and Google's side of the close says what was wrong."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        assert socket._writer is not None
        socket._writer.transport.write(nonsense)
        end = await socket.receive()
        ends.append((end.type, end.data))

    ends: list[tuple[aiohttp.WSMsgType, int]] = []
    origin.script = script
    running = await start()
    socket = await running.conversation()
    async with asyncio.timeout(WAIT_S):
        while not ends:
            await asyncio.sleep(0.01)
    if told == 1007:
        assert (await end_of(socket))[0] == 1011

    assert ends[0] == (aiohttp.WSMsgType.CLOSE, told)
