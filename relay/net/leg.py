"""One WebSocket of a session, on aiohttp.

The driver knows only this class: messages come out through a callback, `send`, `pause`, `resume` and `close` go in, and
all of them are synchronous. So another engine (one that calls back from the socket's own read) can take aiohttp's
place here without a change to the driver or the core. Nothing here knows a message's meaning.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from types import coroutine
from typing import Any

from aiohttp import ClientWebSocketResponse, WebSocketError, WSMsgType, web

Socket = web.WebSocketResponse[bool] | ClientWebSocketResponse[bool]
Spawn = Callable[[Coroutine[Any, Any, None], str], object]
Deliver = Callable[[bytes, bool], None]

ABNORMAL = 1006  # RFC 6455 7.4.1: no close frame came
NO_STATUS = 1005  # RFC 6455 7.4.1: a close frame without a code


@dataclass(frozen=True, slots=True)
class LegLimits:
    """Bounds of one leg, in bytes and seconds."""

    high_bytes: int = 256 * 1024
    """Waiting bytes above which the other leg is paused; it resumes below a quarter of that."""
    ping_s: float | None = None
    """Silence after which the peer is pinged; None never pings."""
    silence_s: float | None = None
    """Silence after which the peer counts as gone; None waits for ever."""
    stuck_s: float = 10.0
    """How long a peer may take fewer than `MIN_PROGRESS_BYTES` while something waits for it."""
    close_s: float = 2.0
    """For flushing and the closing handshake, before the socket is cut."""


MIN_PROGRESS_BYTES = 4096
"""Less than this in `stuck_s` is no progress: speech needs 16 times as much in one second."""


class Leg:
    """One WebSocket: one reader, one writer at a time, a bounded outbox, a close with a deadline."""

    def __init__(self, socket: Socket, limits: LegLimits, spawn: Spawn, on_congestion: Callable[[bool], None]) -> None:
        """`spawn` starts a task that the session owns; `on_congestion` is told when the outbox fills and empties."""
        self._socket = socket
        self._limits = limits
        self._spawn = spawn
        self._on_congestion = on_congestion
        self._outbox: deque[tuple[bytes, WSMsgType]] = deque()
        self._outbox_bytes = 0
        self._draining: asyncio.Event | None = None
        self._congested = False
        self._readable: asyncio.Event | None = None
        self._closing = False
        self._heard = True
        self._silent_since = 0.0
        self._pinged = False
        self._written_bytes = 0
        self._progress = (0, 0.0)

    async def run(self, deliver: Deliver) -> tuple[int, str]:
        """Deliver messages until the socket is gone; then the close code and reason its end came with."""
        receive = self._socket.receive
        while True:
            if self._readable is not None:
                await self._readable.wait()
            message = await receive()
            self._heard = True
            kind = message.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                deliver(message.data, kind is WSMsgType.TEXT)
            elif kind is WSMsgType.PING:
                self._write(message.data, WSMsgType.PONG)
            elif kind is WSMsgType.CLOSE:
                return message.data or NO_STATUS, message.extra or ""
            elif kind is not WSMsgType.PONG:
                error = message.data if kind is WSMsgType.ERROR else None
                # Without a close frame aiohttp reports 1000 for a plain end of file: that is a cut, not a goodbye.
                return (int(error.code) if isinstance(error, WebSocketError) else ABNORMAL), ""

    def send(self, payload: bytes, text: bool) -> None:
        """Write one message, or queue it behind those that wait."""
        self._write(payload, WSMsgType.TEXT if text else WSMsgType.BINARY)
        if not self._congested and self._outbox_bytes > self._limits.high_bytes:
            self._congested = True
            self._on_congestion(True)

    def pause(self) -> None:
        """Read nothing more from the peer until `resume`."""
        if self._readable is None:
            self._readable = asyncio.Event()

    def resume(self) -> None:
        """Read again."""
        if self._readable is not None:
            self._readable.set()
            self._readable = None

    def close(self, code: int, reason: str) -> None:
        """Flush, say goodbye, and cut the socket when that takes longer than allowed. Returns at once."""
        if not self._closing:
            self._closing = True
            self.resume()
            self._spawn(self._close(code, reason), "close")

    def abort(self) -> None:
        """Cut the socket now."""
        transport = _transport(self._socket)
        if transport is not None:
            transport.abort()

    def is_stuck(self, now: float) -> bool:
        """Whether the peer takes hardly a byte of what waits for it. Called about once a second."""
        if self._draining is None:
            self._progress = (self._taken_bytes(), now)
            return False
        taken_bytes, since = self._progress
        if now - since < self._limits.stuck_s:
            return False
        self._progress = (self._taken_bytes(), now)
        return self._taken_bytes() - taken_bytes < MIN_PROGRESS_BYTES

    def is_silent(self, now: float) -> bool:
        """Whether the peer has been silent for too long; pings it before that. Called about once a second."""
        if self._heard or self._readable is not None:  # what we do not read we can't judge
            self._heard = False
            self._pinged = False
            self._silent_since = now
            return False
        silence_s = now - self._silent_since
        if self._limits.ping_s is not None and silence_s >= self._limits.ping_s and not self._pinged:
            self._pinged = True
            self._write(b"", WSMsgType.PING)
        return self._limits.silence_s is not None and silence_s >= self._limits.silence_s

    def _taken_bytes(self) -> int:
        transport = _transport(self._socket)
        return self._written_bytes - (transport.get_write_buffer_size() if transport is not None else 0)

    def _write(self, payload: bytes, kind: WSMsgType) -> None:
        if self._draining is not None:
            self._outbox.append((payload, kind))
            self._outbox_bytes += len(payload)
            return
        self._written_bytes += len(payload)
        try:
            # As a rule the frame is in the transport's buffer when this returns: no task is woken to write it.
            rest = _begin(self._socket.send_frame(payload, kind))
        except ConnectionResetError:
            return  # the reader is about to learn it and to report the leg's end
        if rest is not None:
            self._draining = asyncio.Event()
            self._spawn(self._drain(rest, self._draining), "drain")

    async def _drain(self, rest: Awaitable[None], done: asyncio.Event) -> None:
        """The one writer while the transport is full."""
        try:
            await rest
            while self._outbox:
                payload, kind = self._outbox.popleft()
                self._outbox_bytes -= len(payload)
                self._written_bytes += len(payload)
                await self._socket.send_frame(payload, kind)
                if self._congested and self._outbox_bytes <= self._limits.high_bytes // 4:
                    self._congested = False
                    self._on_congestion(False)
        except ConnectionResetError:
            pass  # as in _write
        finally:
            self._draining = None
            done.set()

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(self._limits.close_s):
                if self._draining is not None:
                    await self._draining.wait()
                # Neither aiohttp's own timeout nor its heartbeat ends a close on a peer that reads nothing.
                if isinstance(self._socket, web.WebSocketResponse):
                    await self._socket.close(code=code, message=reason.encode(), drain=False)
                else:
                    await self._socket.close(code=code, message=reason.encode())
        except (TimeoutError, ConnectionResetError):
            pass
        finally:
            self.abort()


def _begin(writing: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run a coroutine up to its first wait; None when it needed none, else what is left of it, to be awaited."""
    try:
        waited_for = writing.send(None)
    except StopIteration:
        return None
    return _rest(writing, waited_for)


@coroutine
def _rest(writing: Coroutine[Any, Any, None], waited_for: Any) -> Generator[Any, Any, None]:
    yield waited_for
    yield from writing


def _transport(socket: Socket) -> Any:
    """The asyncio transport under a WebSocket, which aiohttp hands out nowhere; None once it is gone."""
    writer = socket._writer
    return writer.transport if writer is not None else None
