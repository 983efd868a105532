"""One WebSocket of a session: a bounded outbox with water marks, a watch over the peer, a close with a deadline.

The driver knows only this class: messages come out through a callback, `send`, `pause`, `resume` and `close` go in, and
all of them are synchronous. Reading, parsing and framing are the engine's (`relay.net.engine`), which can be exchanged
without a change to the driver or the core. Nothing here knows a message's meaning.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WSMsgType

from relay.net import tcp
from relay.net.engine import BINARY, PING, TEXT, Deliver, Engine, Hooks, Socket


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

ENTRY_BYTES = 128
"""What a waiting message takes beside its payload: many small ones must not be a way past the bound."""


class Leg:
    """One WebSocket: delivers as it reads, writes at once or in order, closes with a deadline. Has no task."""

    def __init__(
        self,
        socket: Socket,
        limits: LegLimits,
        on_congestion: Callable[[bool], None],
        on_batch: Callable[[bool], None],
    ) -> None:
        """`on_congestion` is told when the outbox fills (True) and when it has emptied (False), `on_batch` when several
        messages at once are about to be delivered (True) and when they were (False)."""
        self.congested = False
        """Whether more waits than should: whoever feeds this leg is to wait."""
        self.on_pong: Callable[[], None] = lambda: None
        """Told of each pong."""
        self._engine = Engine(socket, Hooks(self._on_end, self._flush, self._pong, self._batch))
        self._limits = limits
        self._on_congestion = on_congestion
        self._on_batch = on_batch
        self._outbox: deque[tuple[bytes, WSMsgType]] = deque()
        self._outbox_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._running = False
        self._paused = False
        self._goodbye: tuple[int, str] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._silent_since = 0.0
        self._pinged = False
        self._written_bytes = 0
        self._progress = (0, 0.0)

    async def run(self, deliver: Deliver) -> tuple[int, str]:
        """Deliver messages until the peer has said goodbye or is gone; then the code and reason of that.

        Our own goodbye is still to be said, with `close`.
        """
        self._running = True
        self._engine.start(deliver)
        if not self._paused:
            self._engine.resume()
        return await self._ended

    def hand_over(
        self, deliver: Deliver, on_congestion: Callable[[bool], None], on_batch: Callable[[bool], None]
    ) -> None:
        """Let somebody else have the messages, from the next one on, and hear of congestion and batches."""
        self._engine.start(deliver)
        self._on_congestion = on_congestion
        self._on_batch = on_batch

    def send(self, payload: bytes, text: bool) -> None:
        """Write one message, or queue it behind those that wait."""
        kind = TEXT if text else BINARY
        if self._engine.writable:
            self._written_bytes += len(payload)
            self._engine.write(payload, kind)
        else:
            self._wait(payload, kind)

    def ping(self) -> None:
        """Send a ping, behind what waits: its pong tells that all of that was read."""
        self._wait(b"", PING) if self._outbox else self._engine.write(b"", PING)

    def cork(self) -> None:
        """Collect what is sent until `uncork`, and write it at once."""
        self._engine.cork()

    def uncork(self) -> None:
        """Write what was collected."""
        self._engine.uncork()

    def pause(self) -> None:
        """Read nothing more from the peer until `resume`."""
        self._paused = True
        self._engine.pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        if self._running:
            self._engine.resume()

    def close(self, code: int, reason: str) -> None:
        """Flush, say goodbye, wait for the peer's, and cut the socket when all that takes longer than allowed."""
        if self._goodbye is None:
            self._goodbye = code, reason
            # Neither aiohttp's own timeout nor its heartbeat ends a close on a peer that reads nothing.
            self._deadline = self._loop.call_later(self._limits.close_s, self.abort)
            self.resume()
            self._advance_close()

    def round_trip_s(self) -> float:
        """TCP's measure of the round trip to the peer, in seconds."""
        return tcp.round_trip_s(self._engine.socket)

    def unacknowledged_bytes(self) -> int:
        """What was written and the peer's TCP has not acknowledged, as far as the system tells."""
        return self._outbox_bytes + self._engine.unsent_bytes() + tcp.unacknowledged_bytes(self._engine.socket)

    async def gone(self) -> None:
        """Wait until the socket is closed, at most as long as `close` takes."""
        await self._engine.gone
        self.abort()
        self._engine.let_go()

    def abort(self) -> None:
        """Cut the socket now, if it is not closed yet."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._engine.abort()

    def is_stuck(self, now: float) -> bool:
        """Whether the peer takes hardly a byte of what waits for it. Called about once a second."""
        if self._engine.writable:
            self._progress = (self._taken_bytes(), now)
            return False
        taken_bytes, since = self._progress
        if now - since < self._limits.stuck_s:
            return False
        self._progress = (self._taken_bytes(), now)
        return self._taken_bytes() - taken_bytes < MIN_PROGRESS_BYTES

    def is_silent(self, now: float) -> bool:
        """Whether the peer has been silent for too long; pings it before that. Called about once a second."""
        if self._engine.heard or self._paused:  # what we do not read we can't judge
            self._engine.heard = False
            self._pinged = False
            self._silent_since = now
            return False
        silence_s = now - self._silent_since
        if self._limits.ping_s is not None and silence_s >= self._limits.ping_s and not self._pinged:
            self._pinged = True
            self._engine.write(b"", PING)  # past those that wait: a control frame may come between messages
        return self._limits.silence_s is not None and silence_s >= self._limits.silence_s

    def _pong(self) -> None:
        self.on_pong()

    def _batch(self, begins: bool) -> None:
        self._on_batch(begins)

    def _taken_bytes(self) -> int:
        return self._written_bytes - self._engine.unsent_bytes()

    def _wait(self, payload: bytes, kind: WSMsgType) -> None:
        self._outbox.append((payload, kind))
        self._outbox_bytes += len(payload)
        if not self.congested and self._waiting_bytes() > self._limits.high_bytes:
            self.congested = True
            self._on_congestion(True)

    def _waiting_bytes(self) -> int:
        return self._outbox_bytes + len(self._outbox) * ENTRY_BYTES

    def _flush(self) -> None:
        """Write what waits, as far as the transport takes it. Until the outbox is empty nothing else is written."""
        while self._outbox and self._engine.writable:
            payload, kind = self._outbox.popleft()
            self._outbox_bytes -= len(payload)
            self._written_bytes += len(payload)
            self._engine.write(payload, kind)
        if self.congested and self._waiting_bytes() <= self._limits.high_bytes // 4:
            self.congested = False
            self._on_congestion(False)
        self._advance_close()

    def _on_end(self, code: int, reason: str) -> None:
        if not self._ended.done():  # its session may have been cancelled
            self._ended.set_result((code, reason))
        self._advance_close()

    def _advance_close(self) -> None:
        """Take the next step of closing that is possible: goodbye once everything is written, close once both said it.

        Called whenever one of these may have become true.
        """
        if self._goodbye is None or not self._engine.writable:
            return
        self._engine.say_goodbye(*self._goodbye)
        if self._ended.done():
            self._engine.close()
