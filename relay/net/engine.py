"""The WebSocket engine under a leg: aiohttp's handshake and parser, run from the transport's own callbacks.

aiohttp would wake a task for every message and await every frame it writes. Here a message is delivered by the very
callback that read it, and a full transport is told by a callback too: half of what a frame costs otherwise
(docs/adr/0002). This is the one module that knows the inside of aiohttp's WebSockets; an engine of another make needs
the same few methods.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any, cast

from aiohttp import ClientWebSocketResponse, WebSocketError, WSMsgType, web
from aiohttp._websocket.helpers import websocket_mask

from relay.core.closing import FOUND
from relay.net.guard import GuardedParser

Socket = web.WebSocketResponse[bool] | ClientWebSocketResponse[bool]
Deliver = Callable[[bytes, bool], None]
"""Takes one message: its payload, and whether its opcode was text."""

# RFC 6455 7.4.1
PROTOCOL_ERROR = 1002
NO_STATUS = 1005  # a close frame without a code
ABNORMAL = 1006  # no close frame came

# An attribute of an Enum class costs more than a global, and these are asked for with every frame.
TEXT, BINARY, PING, PONG, CLOSE = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE

LATE_BYTES = 256 * 1024
"""What a client may still have under way when we say goodbye; one that sends more does not listen."""
MOST_AT_ONCE = 64
"""Messages of one connection that are delivered before others have their turn: one read may bring thousands."""

_FINAL, _MASKED = 0x80, 0x80  # the highest bits of a frame's first two bytes, RFC 6455 5.2
_SHORT, _MEDIUM, _LONG = Struct("!BB").pack, Struct("!BBH").pack, Struct("!BBQ").pack


@dataclass(frozen=True, slots=True)
class Hooks:
    """What an engine tells besides messages."""

    on_end: Callable[[int, str], None]
    """Once: the code and reason of the peer's goodbye; or `ABNORMAL`; or what we found wrong, `FOUND` plus its code."""
    on_writable: Callable[[], None]
    """The transport takes more again."""
    on_pong: Callable[[], None]
    """The peer has answered a ping."""
    on_batch: Callable[[bool], None]
    """Several messages, which one read has brought, are about to be delivered (True), or were (False)."""


class ServerSocket(web.WebSocketResponse[bool]):
    """A client's WebSocket, whose frames are looked at before they are parsed, from the first one on."""

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: Any) -> None:
        http = cast(Any, request.protocol)
        early, http._message_tail = http._message_tail, b""  # which came together with the handshake
        super()._post_start(request, protocol, writer)
        http._payload_parser = GuardedParser(self._parser, self._reader, asyncio.get_running_loop().time)
        if early:
            http._payload_parser.feed_data(early)

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        """As aiohttp closes, when the handler is done; nearly always the connection is closed by then."""
        closed = await super().close(code=code, message=message, drain=drain)
        _drop_error(self)
        return closed


class Engine(asyncio.Protocol):
    """One upgraded WebSocket. Every method returns at once."""

    def __init__(self, socket: Socket, hooks: Hooks) -> None:
        """Take the transport over from aiohttp; messages wait in its queue until `start` and `resume`."""
        assert socket._writer is not None, "the handshake is over"
        assert socket._reader is not None, "the handshake is over"
        self.writable = True
        """Whether the transport takes more; False while its buffer is above its high-water mark."""
        self.heard = True
        """Whether bytes came from the peer; cleared by whoever looks."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is closed or lost."""
        self._hooks = hooks
        self._deliver: Deliver
        self._socket = socket
        self._masks = isinstance(socket, ClientWebSocketResponse)
        self._transport = socket._writer.transport
        self._http = cast(Any, self._transport.get_protocol())
        self._messages = socket._reader
        self._waiting = socket._reader._buffer
        self._paused = True
        self._yielding = False
        self._fault = 0
        self._ended = False
        self._said_goodbye = False
        self._late_bytes = 0
        self._corked: list[bytes] | None = None
        parser = self._http._payload_parser if self._http is not None else None
        broken = socket._reader.exception() is not None  # by what came with the handshake
        if self._transport.is_closing() or (parser is None and not broken):  # lost between handshake and now
            self._transport.abort()
            self._release()
        else:
            self._parse = _ignore if parser is None else parser.feed_data  # aiohttp drops a parser that has failed
            self._transport.set_protocol(self)

    def let_go(self) -> None:
        """The connection is closed: tell nobody anything more, so that nobody is held in memory by being told."""
        self._hooks, self._deliver = _UNHEARD, _undelivered

    def start(self, deliver: Deliver) -> None:
        """Set who gets the messages, from the next `resume` on."""
        self._deliver = deliver

    def pause(self) -> None:
        """Deliver and read nothing more until `resume`."""
        if not self._paused:
            self._paused = True
            if not self._transport.is_closing():
                self._transport.pause_reading()

    def resume(self) -> None:
        """Deliver and read again."""
        if self._paused:
            self._paused = False
            if self._yielding:
                return  # it goes on by itself
            if not self._transport.is_closing():
                self._transport.resume_reading()
            self._deliver_waiting()

    def write(self, payload: bytes, kind: WSMsgType) -> None:
        """Write one frame; afterwards `writable` may be False. After the end, or our goodbye, it goes nowhere."""
        transport = self._transport
        if self._said_goodbye or transport.is_closing():
            return
        length, masked = len(payload), _MASKED if self._masks else 0
        if length < 126:
            header = _SHORT(_FINAL | kind, masked | length)
        elif length < 65536:
            header = _MEDIUM(_FINAL | kind, masked | 126, length)
        else:
            header = _LONG(_FINAL | kind, masked | 127, length)
        if masked:
            mask, body = _next_mask(), bytearray(payload)
            websocket_mask(mask, body)
            frame = header + mask + body
        else:
            frame = header + payload
        if self._corked is None:
            transport.write(frame)
        else:
            self._corked.append(frame)

    def cork(self) -> None:
        """Collect the frames that are written until `uncork`."""
        if self._corked is None:
            self._corked = []

    def uncork(self) -> None:
        """Write the collected frames with one system call."""
        frames, self._corked = self._corked, None
        if frames and not self._transport.is_closing():
            self._transport.writelines(frames)

    def say_goodbye(self, code: int, reason: str) -> None:
        """Write the close frame, the last one; a second goodbye goes nowhere.

        A peer that broke the protocol is told that instead, whatever else there was to say (RFC 6455 7.1.7).
        """
        if self._fault and self._fault != code:
            code, reason = self._fault, ""
        self.write(code.to_bytes(2, "big") + reason.encode(), CLOSE)
        self._said_goodbye = True

    def close(self) -> None:
        """Close the connection when everything written has left."""
        self.uncork()
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection now."""
        if not self.gone.done():  # asyncio's transports can't be cut once they are gone
            self._transport.abort()

    @property
    def socket(self) -> socket.socket | None:
        """The kernel's socket, for what only it can tell; None once it is gone."""
        raw: socket.socket | None = self._transport.get_extra_info("socket")
        return raw if raw is not None and raw.fileno() >= 0 else None

    def unsent_bytes(self) -> int:
        """What the kernel has not yet taken of what was written."""
        return self._transport.get_write_buffer_size()

    # Called by the transport ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse what was read, deliver what is complete."""
        self.heard = True
        if self._said_goodbye and not self._masks:
            self._late_bytes += len(data)
            if self._late_bytes > LATE_BYTES:
                self._transport.abort()
                return
        self._parse(data)
        self._deliver_waiting()

    def eof_received(self) -> None:
        """The peer sends nothing more: the transport closes itself."""
        self._http.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Let aiohttp clean up, then report the end."""
        self._http.connection_lost(error)
        self._release()
        self.resume_writing()  # into nothing, so that nobody waits for it
        self._deliver_waiting()

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.writable = False

    def resume_writing(self) -> None:
        """The transport's buffer is below its low-water mark."""
        self.writable = True
        self._hooks.on_writable()

    def _release(self) -> None:
        if isinstance(self._socket, ClientWebSocketResponse):
            _finish(self._socket.close())  # aiohttp's pool wants the connection back, though it is closed
            _drop_error(self._socket)
        if not self.gone.done():
            self.gone.set_result(None)

    def _deliver_waiting(self) -> None:
        if self._yielding:
            return
        if len(self._waiting) > 1:
            self._hooks.on_batch(True)
            self._deliver_some()
            self._hooks.on_batch(False)
        elif self._waiting:
            self._deliver_some()
        if self._paused:
            return
        if self._waiting:
            self._yield()
        elif not self._ended and (error := self._messages.exception()) is not None:
            if isinstance(error, WebSocketError):
                self._fault = int(error.code)
            self._end(FOUND + self._fault if self._fault else ABNORMAL, "")
        elif self.gone.done():
            self._end(ABNORMAL, "")

    def _yield(self) -> None:
        """Let others have their turn before the rest is delivered."""
        self._yielding = True
        if not self._transport.is_closing():
            self._transport.pause_reading()
        asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._yielding = False
        self._deliver_waiting()
        if not self._yielding and not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _deliver_some(self) -> None:
        for _ in range(MOST_AT_ONCE):
            if self._paused or not self._waiting:
                return
            message = _finish(self._messages.read())
            kind = message.type
            if kind is TEXT or kind is BINARY:
                self._deliver(message.data, kind is TEXT)
            elif kind is PING:
                self.write(message.data, PONG)
            elif kind is PONG:
                self._hooks.on_pong()
            elif kind is CLOSE:
                self._take_goodbye(message.data or NO_STATUS, message.extra or "")

    def _take_goodbye(self, code: int, reason: str) -> None:
        self._waiting.clear()  # what follows a goodbye counts for nothing, RFC 6455 5.5.1
        self._parse = _ignore
        if code == ABNORMAL:  # which nobody may send; aiohttp lets it pass
            self._fault = PROTOCOL_ERROR
            code = FOUND + PROTOCOL_ERROR
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        if not self._ended:
            self._ended = True
            self._hooks.on_end(code, reason)


def first_too_large(max_bytes: int) -> int:
    """aiohttp's `max_msg_size` for messages of up to `max_bytes`: it refuses those that reach what it is given."""
    return max_bytes + 1


def _undelivered(_payload: bytes, _text: bool) -> None:
    """A message for nobody."""


_UNHEARD = Hooks(lambda _code, _reason: None, lambda: None, lambda: None, lambda _begins: None)


def _ignore(_data: bytes) -> tuple[bool, bytes]:
    """A parser for the rest of a connection that has nothing more to say."""
    return False, b""


def _drop_error(socket: Socket) -> None:
    """Forget that a goodbye could not be written: the error's traceback holds the socket, and the socket the error."""
    socket._exception = None


def _finish(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine of aiohttp's that has nothing to wait for: there is a message, or no connection."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("aiohttp had to wait")


def _masks() -> Iterator[bytes]:
    """Four unpredictable bytes at a time (RFC 6455 5.3), a thousand for each system call."""
    while True:
        drawn = os.urandom(4096)
        for position in range(0, len(drawn), 4):
            yield drawn[position : position + 4]


_next_mask = _masks().__next__
