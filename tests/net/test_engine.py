"""The engine under a leg, against aiohttp's own WebSockets and raw sockets: nothing lost, doubled or reordered."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
import trustme
import uvloop
from aiohttp import WSMsgType, web

from relay.core.closing import FOUND
from relay.net.engine import ABNORMAL, BINARY, MOST_AT_ONCE, NO_STATUS, TEXT, Engine, Hooks, Socket

WAIT_S = 10.0
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)
SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 300_000)
"""Each side of every step in the length of a frame's header."""


class Watched:
    """An engine, and all it told."""

    def __init__(self, socket: Socket) -> None:
        self.messages: list[tuple[bytes, bool]] = []
        self.ends: list[tuple[int, str]] = []
        self.writable_again = 0
        self.batches: list[bool] = []
        self.pongs = 0
        hooks = Hooks(
            lambda code, reason: self.ends.append((code, reason)), self._on_writable, self._on_pong, self.batches.append
        )
        self.engine = Engine(socket, hooks)

    def _on_writable(self) -> None:
        self.writable_again += 1

    def _on_pong(self) -> None:
        self.pongs += 1

    def start(self) -> None:
        self.engine.start(lambda payload, text: self.messages.append((payload, text)))
        self.engine.resume()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.005)


Script = Callable[[web.WebSocketResponse[bool]], Awaitable[None]]


@asynccontextmanager
async def _listening(script: Script, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    async def handle(request: web.Request) -> web.StreamResponse:
        socket: web.WebSocketResponse[bool] = web.WebSocketResponse(
            autoping=False, compress=False, decode_text=False, **options
        )
        await socket.prepare(request)
        await script(socket)
        return socket

    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _dialled(
    port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse[bool]]:
    scheme = "ws" if tls is None else "wss"
    async with aiohttp.ClientSession() as http:
        yield await http.ws_connect(
            f"{scheme}://127.0.0.1:{port}/", ssl=tls or True, max_msg_size=0, decode_text=False, autoping=False
        )


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_engines_understand_each_other_at_every_length(run: Callable[..., None], encrypted: bool) -> None:
    """Both roles, masked and not, through every form of header, under each loop, in the clear and in TLS."""

    async def talk() -> None:
        server_tls, client_tls = _contexts() if encrypted else (None, None)
        accepted: list[Watched] = []

        async def script(socket: web.WebSocketResponse[bool]) -> None:
            accepted.append(Watched(socket))
            accepted[0].start()
            await accepted[0].engine.gone

        async with _listening(script, server_tls, max_msg_size=0) as port, _dialled(port, client_tls) as socket:
            dialled = Watched(socket)
            dialled.start()
            await dialled.until(lambda: accepted)
            sent = [(bytes([size % 251]) * size, bool(size % 2)) for size in SIZES]
            for payload, text in sent:
                dialled.engine.write(payload, TEXT if text else BINARY)
                accepted[0].engine.write(payload, TEXT if text else BINARY)
            await dialled.until(lambda: len(dialled.messages) == len(accepted[0].messages) == len(sent))
            assert dialled.messages == accepted[0].messages == sent
            dialled.engine.say_goodbye(4001, "tschüß")
            await accepted[0].until(lambda: accepted[0].ends)
            assert accepted[0].ends == [(4001, "tschüß")]
            accepted[0].engine.say_goodbye(1000, "")
            accepted[0].engine.close()
            await dialled.until(lambda: dialled.engine.gone.done())
            assert dialled.ends == [(1000, "")]

    run(talk())


async def test_aiohttp_reads_what_an_engine_writes() -> None:
    """The frames are not only symmetric but right: aiohttp's own reader takes them, text checked as UTF-8."""
    heard: list[tuple[WSMsgType, Any]] = []

    async def script(socket: web.WebSocketResponse[bool]) -> None:
        heard.extend([(message.type, message.data) async for message in socket])

    async with _listening(script, max_msg_size=0) as port, _dialled(port) as socket:
        watched = Watched(socket)
        watched.start()
        watched.engine.write("grüß Gott".encode(), TEXT)
        watched.engine.write(b"\x00\xff", BINARY)
        watched.engine.say_goodbye(1000, "")
        watched.engine.write(b"after the goodbye", TEXT)
        await watched.until(lambda: watched.ends)

    assert heard == [(WSMsgType.TEXT, "grüß Gott".encode()), (WSMsgType.BINARY, b"\x00\xff")]
    assert watched.ends == [(1000, "")]


async def _with_raw_client(
    conversation: Callable[
        [asyncio.StreamReader, asyncio.StreamWriter, Callable[[], Watched]], Coroutine[Any, Any, None]
    ],
    first: bytes = b"",
    **options: Any,
) -> None:
    """Run a conversation of a raw client with an engine; `first` comes in one segment with the handshake."""
    accepted: list[Watched] = []
    ready = asyncio.Event()

    async def script(socket: web.WebSocketResponse[bool]) -> None:
        accepted.append(Watched(socket))
        ready.set()
        await accepted[0].engine.gone

    async with _listening(script, **options) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE + first)
        async with asyncio.timeout(WAIT_S):
            await reader.readuntil(b"\r\n\r\n")
            await ready.wait()
            await conversation(reader, writer, lambda: accepted[0])
        writer.close()


def _frame(payload: bytes, opcode: int = 0x81) -> bytes:
    assert len(payload) < 126
    return bytes([opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def test_what_came_with_the_handshake_is_not_lost() -> None:
    """A client may be early: one and a half frames in the handshake's own segment, the rest later."""

    async def conversation(_: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        watched.start()
        writer.write(_frame(b"second")[4:] + _frame(b"third"))
        await watched.until(lambda: len(watched.messages) == 3)
        assert [payload for payload, _ in watched.messages] == [b"first", b"second", b"third"]

    await _with_raw_client(conversation, _frame(b"first") + _frame(b"second")[:4])


async def test_what_a_server_sends_with_its_answer_is_not_lost() -> None:
    """The same for the leg that dials: aiohttp may hold messages before the engine takes over."""

    async def script(socket: web.WebSocketResponse[bool]) -> None:
        await socket.send_str("at once")
        await socket.close(code=1011, message=b"no")

    async with _listening(script) as port, _dialled(port) as socket:
        await asyncio.sleep(0.05)  # so that both are there before the engine is
        watched = Watched(socket)
        watched.start()
        await watched.until(lambda: watched.ends)

    assert watched.messages == [(b"at once", True)]
    assert watched.ends == [(1011, "no")]


async def test_corked_frames_are_written_together_and_in_order() -> None:
    """What one read brought leaves with one system call: the far end gets all of it with one read, goodbye included."""

    async def conversation(reader: asyncio.StreamReader, _: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        watched.start()
        watched.engine.write(b"before", TEXT)
        assert await reader.readexactly(8) == b"\x81\x06before"
        watched.engine.cork()
        watched.engine.write(b"one", TEXT)
        watched.engine.write(b"two", BINARY)
        await asyncio.sleep(0.02)
        watched.engine.say_goodbye(1000, "")
        watched.engine.close()
        assert await reader.read(1000) == b"\x81\x03one\x82\x03two\x88\x02\x03\xe8"

    await _with_raw_client(conversation)


async def test_several_messages_of_one_read_are_announced() -> None:
    """So that whoever forwards them can cork; a single one, the common case, is not worth it."""

    async def conversation(_: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        watched.start()
        writer.write(_frame(b"alone"))
        await watched.until(lambda: watched.messages)
        assert watched.batches == []
        writer.write(_frame(b"two") + _frame(b"at once"))
        await watched.until(lambda: len(watched.messages) == 3)
        assert watched.batches == [True, False]

    await _with_raw_client(conversation)


async def test_nothing_is_delivered_while_paused() -> None:
    """Not what is read later, and not what the same read has already brought."""

    async def conversation(_: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        seen: list[bytes] = []

        def deliver(payload: bytes, _: bool) -> None:
            seen.append(payload)
            watched.engine.pause()

        watched.engine.start(deliver)
        watched.engine.resume()
        writer.write(b"".join(_frame(b"%d" % number) for number in range(5)))
        for expected in range(1, 6):
            await watched.until(lambda expected=expected: len(seen) == expected)
            await asyncio.sleep(0.02)
            assert len(seen) == expected
            watched.engine.resume()
        assert seen == [b"0", b"1", b"2", b"3", b"4"]

    await _with_raw_client(conversation)


async def test_a_full_transport_is_told_and_so_is_its_end() -> None:
    """`writable` follows the transport's marks, and whoever waits for it is woken when the connection goes instead."""

    async def conversation(_: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        watched.start()
        while watched.engine.writable:
            watched.engine.write(bytes(100_000), BINARY)
        assert watched.engine.unsent_bytes() > 0
        assert watched.writable_again == 0
        writer.transport.abort()
        await watched.until(lambda: watched.ends)
        assert watched.engine.writable
        assert watched.writable_again == 1

    await _with_raw_client(conversation)


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (_frame((4000).to_bytes(2, "big") + b"bye", 0x88), (4000, "bye")),
        (_frame(b"", 0x88), (NO_STATUS, "")),
        (b"", (ABNORMAL, "")),
        (_frame((1006).to_bytes(2, "big") + b"lost", 0x88), (FOUND + 1002, "lost")),  # a code that nobody may send
        (bytes([0xC1, 0x80, 0, 0, 0, 0]), (FOUND + 1002, "")),  # a reserved bit
        (bytes([0x81, 0x80 | 126, 0xFF, 0xFF, 0, 0, 0, 0]), (FOUND + 1009, "")),
    ],
    ids=["goodbye", "goodbye without a code", "end of file", "abnormal goodbye", "protocol error", "too big"],
)
async def test_an_end_is_told_once_and_with_its_reason(ending: bytes, told: tuple[int, str]) -> None:
    """Messages before it are delivered first, nothing after it, and the connection's own end adds nothing."""

    async def conversation(_: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        watched.start()
        writer.write(_frame(b"last words") + ending)
        writer.write_eof()
        await watched.until(lambda: watched.ends)
        watched.engine.close()
        await watched.engine.gone
        assert watched.messages == [(b"last words", True)]
        assert watched.ends == [told]

    await _with_raw_client(conversation, max_msg_size=1000)


async def test_a_connection_lost_before_the_engine_took_over_ends_it_too() -> None:
    """Between aiohttp's handshake and the engine nobody listens; the end is noticed all the same."""

    async def script(socket: web.WebSocketResponse[bool]) -> None:
        await socket.receive()

    async with _listening(script) as port, _dialled(port) as socket:
        assert socket._writer is not None
        socket._writer.transport.abort()
        await asyncio.sleep(0)
        watched = Watched(socket)
        watched.start()

        assert watched.ends == [(ABNORMAL, "")]
        assert watched.engine.gone.done()


@pytest.mark.parametrize("nonsense", [b"", bytes([0xC1, 0x80, 0, 0, 0, 0])], ids=["well-formed", "and broken"])
async def test_what_follows_a_goodbye_counts_for_nothing(nonsense: bytes) -> None:
    """Neither what the same read brought nor what comes later is delivered or answered (RFC 6455 5.5.1)."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        watched.start()
        ping = _frame(b"there?", 0x89)
        goodbye = _frame((1000).to_bytes(2, "big"), 0x88)
        writer.write(_frame(b"last words") + goodbye + ping + _frame(b"too late") + nonsense)
        await watched.until(lambda: watched.ends)
        watched.engine.heard = False
        writer.write(ping + _frame(b"later still") + nonsense)
        await watched.until(lambda: watched.engine.heard)
        watched.engine.say_goodbye(1000, "")
        watched.engine.close()
        assert await reader.read(1000) == b"\x88\x02\x03\xe8"
        assert watched.messages == [(b"last words", True)]
        assert watched.ends == [(1000, "")]

    await _with_raw_client(conversation)


@pytest.mark.parametrize("first", [False, True], ids=["later", "with the handshake"])
async def test_a_peer_that_breaks_the_protocol_is_told_that_and_nothing_else(first: bool) -> None:
    """Also where aiohttp read it before the engine took over; what came before it is answered all the same."""
    wrong = _frame(b"fine") + bytes([0xC1, 0x80, 0, 0, 0, 0])

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        if not first:
            writer.write(wrong)
        watched.start()
        await watched.until(lambda: watched.ends)
        assert (watched.messages, watched.ends) == ([(b"fine", True)], [(FOUND + 1002, "")])
        watched.engine.write(b"answer", TEXT)
        watched.engine.say_goodbye(1000, "as if nothing had happened")
        watched.engine.close()
        assert await reader.read(1000) == b"\x81\x06answer\x88\x02\x03\xea"

    await _with_raw_client(conversation, wrong if first else b"")


async def test_a_server_that_breaks_the_protocol_at_once_is_told_that() -> None:
    """The leg that dials: aiohttp's client lets go of its parser when that fails, and the engine goes on without."""

    async def script(socket: web.WebSocketResponse[bool]) -> None:
        assert socket._writer is not None
        socket._writer.transport.write(b"\x81\x04fine\xc1\x00")
        await behind.wait()
        socket._writer.transport.write(b"\x81\x04more")
        told.append(await socket.receive())

    told: list[Any] = []
    behind = asyncio.Event()
    async with _listening(script) as port, _dialled(port) as socket:
        await asyncio.sleep(0.05)  # so that it is there before the engine is
        watched = Watched(socket)
        watched.engine.heard = False
        behind.set()
        await watched.until(lambda: watched.engine.heard)
        watched.start()
        assert (watched.messages, watched.ends) == ([(b"fine", True)], [(FOUND + 1002, "")])
        watched.engine.say_goodbye(1000, "")
        watched.engine.close()
        await watched.until(lambda: told)

    assert (told[0].type, told[0].data) == (WSMsgType.CLOSE, 1002)


async def test_an_abort_after_the_end_does_nothing() -> None:
    """Though asyncio's transports break when they are cut after they were closed with something left to write."""

    async def conversation(reader: asyncio.StreamReader, _: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        watched.start()
        while watched.engine.writable:
            watched.engine.write(bytes(100_000), BINARY)
        watched.engine.close()
        while await reader.read(1_000_000):
            pass
        await watched.until(lambda: watched.engine.gone.done())
        watched.engine.abort()

    await _with_raw_client(conversation)


@pytest.mark.threat("D3", "E7")
async def test_one_connection_takes_turns_with_the_others() -> None:
    """A read that brings hundreds of messages is delivered in parts, in order, between which others have their turn."""

    async def conversation(_: asyncio.StreamReader, writer: asyncio.StreamWriter, accepted: Any) -> None:
        watched = accepted()
        watched.start()
        turns: list[int] = []

        def take_turn() -> None:
            if len(watched.messages) < 900:
                turns.append(len(watched.messages))
                asyncio.get_running_loop().call_soon(take_turn)

        watched.engine.data_received(b"".join(_frame(b"message %d" % number) for number in range(900)))
        take_turn()
        await watched.until(lambda: len(watched.messages) == 900)
        assert [payload for payload, _ in watched.messages] == [b"message %d" % number for number in range(900)]
        assert max(after - before for before, after in pairwise(turns)) <= MOST_AT_ONCE
        assert len(set(turns)) >= 900 // MOST_AT_ONCE
        watched.engine.pause()
        watched.engine.data_received(_frame(b"later") * 100)
        watched.engine.resume()
        watched.engine.pause()
        seen = len(watched.messages)
        await asyncio.sleep(0.02)
        assert len(watched.messages) == seen == 900 + MOST_AT_ONCE
        watched.engine.resume()
        await watched.until(lambda: len(watched.messages) == 1000)
        writer.write(_frame(b"", 0x88))
        await watched.until(lambda: watched.ends)

    await _with_raw_client(conversation)
