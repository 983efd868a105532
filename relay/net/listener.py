"""A listening socket whose connections are counted from accept to close.

asyncio's own server counts nothing, leaves a TLS handshake a minute, and writes a log line for each connection it has
no file descriptor for. So connections are accepted here: one callback, which takes what waits.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from relay.net.callers import address_of
from relay.net.doorway import Doorway, crowded_error
from relay.net.refusals import RefusedError, error_answer, error_bytes

_BACKLOG = 1024
_ACCEPTS_AT_ONCE = 64
"""Then others have a turn."""
_PAUSE_S = 0.05
"""How long nothing is accepted where the system has no room for one connection more."""
_LINES_EVERY_S = 1.0
_TURNED_AWAY_AT_ONCE = 32
"""Connections over a limit that get to read why; further ones are closed without a word."""
_LINGER_S = 1.0
"""How long such a one may take to ask and to read its answer, and any other to finish a body that nobody wants."""

_log = structlog.get_logger()


class Place:
    """Room that a connection takes, given back once whichever way it ends."""

    __slots__ = ("_free",)

    def __init__(self, free: Callable[[], None]) -> None:
        self._free: Callable[[], None] | None = free

    def free(self) -> None:
        """Give it back; once is enough."""
        if self._free is not None:
            self._free()
            self._free = None


class Connection(web.RequestHandler):
    """One accepted connection, as aiohttp serves it."""

    __slots__ = ("_doorway", "first", "place")

    def __init__(self, server: web.Server, doorway: Doorway, place: Place, handshake_s: float) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=handshake_s,
            lingering_time=_LINGER_S,
        )
        self.first = True
        """Whether no request was served on it yet."""
        self.place = place
        self._doorway = doorway

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let aiohttp clean up, and give the place back."""
        super().connection_lost(exc)
        self.place.free()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp could not parse, or a bug of ours, without repeating any of it to whoever sent it."""
        if status == 400:
            large = isinstance(exc, LineTooLong) or message == "Too many headers received"
            refused = RefusedError(431, "headers", "the headers are too large") if large else _MALFORMED
        else:
            _log.error("a request could not be served", exc_info=exc)
            refused = RefusedError(500, "bug", "the relay made a mistake; its log tells more")
        self._doorway.refusals.tell(refused, str(address_of(request.remote or "")))  # its headers can't be believed
        if request.writer.output_size > 0:
            raise ConnectionError("an answer had begun")
        return error_answer(refused)


def first_of(request: web.BaseRequest) -> bool:
    """Whether a request is the first of its connection; once it was asked, it no longer is."""
    connection = request.protocol
    assert isinstance(connection, Connection)
    first, connection.first = connection.first, False
    return first


_MALFORMED = RefusedError(400, "malformed", "this is not a valid HTTP request")


class _TurnedAway(asyncio.Protocol):
    """A connection over a limit: hears why as soon as it asks, and ends."""

    def __init__(self, answer: bytes, place: Place) -> None:
        self.place = place
        self._answer: bytes | None = answer
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(_LINGER_S, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        """Answer the beginning of a request; whatever follows is thrown away, so that the answer is not."""
        if self._answer is not None:
            self._transport.write(self._answer)
            self._answer = None
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self.place.free()


class Listener:
    """One listener of the process."""

    def __init__(self, application: web.Application, doorway: Doorway, handshake_s: float) -> None:
        """`handshake_s` is what a client has from its connection to the end of its headers, and between requests."""
        self._doorway = doorway
        self._handshake_s = handshake_s
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        self._sockets: list[socket.socket] = []
        self._resting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._said_at = -_LINES_EVERY_S
        self._turned_away = 0
        self._tls: ssl.SSLContext | None = None
        self._opening: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Bind and accept; the port it got. Raises OSError when it can't be bound."""
        await self._runner.setup()
        self._tls = tls
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            # several addresses of one name share the port that the first one got
            bound = self._sockets[0].getsockname()[1] if self._sockets else port
            self._sockets.append(_bound(family, (address[0], bound, *address[2:])))
        for listening in self._sockets:
            self._accept_from(listening)
        return int(self._sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Accept nothing more, end what is open."""
        loop = asyncio.get_running_loop()
        for timer in self._resting.values():
            timer.cancel()
        while self._sockets:
            listening = self._sockets.pop()
            loop.remove_reader(listening)
            listening.close()
        for task in self._opening:
            task.cancel()
        await self._runner.cleanup()

    def _accept_from(self, listening: socket.socket) -> None:
        self._resting.pop(listening, None)
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            try:
                connection, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(listening, error)
                return
            connection.setblocking(False)
            self._arrived(connection, str(peer[0]))

    def _rest(self, listening: socket.socket, error: OSError) -> None:
        """Wait for others to close: a socket that can't be accepted stays readable, and would keep the loop busy."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._resting[listening] = loop.call_later(_PAUSE_S, self._accept_from, listening)
        if loop.time() - self._said_at >= _LINES_EVERY_S:
            self._said_at = loop.time()
            _log.error("connections can't be accepted", cause=errno.errorcode.get(error.errno or 0, "unknown"))

    def _arrived(self, connection: socket.socket, peer: str) -> None:
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None
        caller, crowded = self._doorway.arrive(address_of(peer), loop.time())
        if crowded is None:
            place = Place(partial(self._doorway.gone, caller))
            self._start(connection, Connection(server, self._doorway, place, self._step_s))
            return
        refused = crowded_error(crowded)
        self._doorway.refusals.tell(refused, peer)
        if self._turned_away >= _TURNED_AWAY_AT_ONCE:
            connection.close()
            return
        self._turned_away += 1
        self._start(connection, _TurnedAway(error_bytes(refused), Place(self._one_turned_away_less)))

    def _one_turned_away_less(self) -> None:
        self._turned_away -= 1

    @property
    def _step_s(self) -> float:
        """Where there is TLS, it has one half of the time, and the headers the other."""
        return self._handshake_s / 2 if self._tls else self._handshake_s

    def _start(self, connection: socket.socket, protocol: Connection | _TurnedAway) -> None:
        """Hand an accepted socket to the loop: with a task, because TLS takes its time."""
        task = asyncio.get_running_loop().create_task(self._hand_over(connection, protocol))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _hand_over(self, connection: socket.socket, protocol: Connection | _TurnedAway) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._step_s if self._tls else None,
                ssl_shutdown_timeout=self._step_s if self._tls else None,
            )
        except BaseException as error:
            connection.close()
            protocol.place.free()
            if not isinstance(error, OSError):  # a client that left, or no TLS, is nothing to speak of
                raise


def _bound(family: int, address: Any) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        words = (error.strerror or "can't be used").lower()
        raise OSError(error.errno, f"{address[0]} port {address[1]}: {words}") from None
    return listening
