"""One WebSocket of the simulator: reads client frames into a dialogue, does what the dialogue asks for, in time.

A reader and a pump, in one task group. The pump alone writes to the socket, pongs and closes included.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web

from relay.sim.bench import Speaker, Wheel
from relay.sim.dialogue import Dialogue
from relay.sim.encoding import cut_reason
from relay.sim.framing import BINARY, CLOSE, TEXT, frame
from relay.sim.ledger import Sent
from relay.sim.outputs import Close, Cut, Frame, Output, Stall, StartBench
from relay.sim.profile import Profile
from relay.sim.record import ConnectionRecord, Recorder

_ABNORMAL = 1006
_NO_STATUS = 1005


@dataclass(slots=True)
class Surroundings:
    """What a connection shares with its simulator."""

    profile: Profile
    recorder: Recorder
    wheel: Wheel
    released: Callable[[], None]
    """To be called when a session lost its connection."""


class Connection:
    """Runs one accepted upgrade to its end."""

    def __init__(
        self,
        surroundings: Surroundings,
        dialogue: Dialogue,
        record: ConnectionRecord,
        request: web.Request,
        ws: web.WebSocketResponse,
    ) -> None:
        assert request.transport is not None
        self._profile = surroundings.profile
        self._recorder = surroundings.recorder
        self._wheel = surroundings.wheel
        self._released = surroundings.released
        self.dialogue = dialogue
        self.record = record
        self._transport = request.transport
        self._ws = ws
        self._changed = asyncio.Event()
        self._hearing = asyncio.Event()
        self._hearing.set()
        self._pongs: deque[tuple[float, bytes]] = deque()
        self._next_ping_at = float("inf")
        self._asleep_until = float("inf")
        self._speaker: Speaker | None = None
        self._ending = False
        """The pump is closing or cutting: the reader's end must not stop it."""
        self._over = asyncio.Event()
        """The peer closed or vanished."""

    async def run(self) -> None:
        """Serve until the connection is over; returns soon after, whatever the peer does."""
        if self._profile.ping_every_s:
            self._next_ping_at = self._now() + self._profile.ping_every_s
        try:
            async with asyncio.TaskGroup() as tasks:
                pump = tasks.create_task(self._pump(), name=f"sim-pump-{self.record.id}")
                await self._read()
                self._over.set()
                if not self._ending:
                    pump.cancel()
            if not self._ending:
                await self._answer_close()
            self._transport.close()
        finally:  # a handler is cancelled when its peer vanishes
            if self._speaker is not None:
                self._wheel.leave(self._speaker)
            if self.record.close_code is None:
                self.record.close_code = _ABNORMAL
            self.release()

    def nudge(self) -> None:
        """Something changed from outside: look at the dialogue again."""
        self._changed.set()

    def release(self) -> None:
        """This connection no longer holds its session: it is closed, or as good as."""
        self.dialogue.closed(self._now())
        self._released()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    # -- reading -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        quick = self._profile.reply == "bench"
        while True:
            message = await self._ws.receive()
            if not self._hearing.is_set():
                await self._hearing.wait()
            match message.type:
                case WSMsgType.TEXT:
                    if quick and self.dialogue.live and '"audio"' in message.data[:64]:
                        self.record.message_count += 1
                        self.dialogue.count_unread()
                        continue
                    self._take(message.data, binary=False)
                case WSMsgType.BINARY:
                    self._take(message.data.decode("utf-8", "replace"), binary=True)
                case WSMsgType.PING:
                    if self._profile.answer_pings:
                        self._pongs.append((self._now() + self._profile.pong_delay_s, bytes(message.data)))
                        self._changed.set()
                case WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE:
                    self.record.close_code = message.data or _NO_STATUS
                    self.release()
                    return
                case WSMsgType.ERROR:
                    if isinstance(message.data, WebSocketError):  # the library has closed with this code
                        self.record.sent_close = (message.data.code, "")
                    return
                case _:
                    return

    def _take(self, text: str, binary: bool) -> None:
        now = self._now()
        self._recorder.received(self.record, text, binary, now)
        self.dialogue.receive(text, now)
        if self.record.setup is None:
            self.record.setup = self.dialogue.setup
        if self.record.session is None and self.dialogue.session is not None:
            self.record.session = self.dialogue.session.id
        if self.dialogue.due_before(self._asleep_until):  # waking the pump for every chunk of audio would cost most
            self._changed.set()

    # -- writing -----------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        while not self._ending:
            self._changed.clear()
            await self._pings_and_pongs()
            output = self.dialogue.pop(self._now())
            if output is None:
                await self._idle()
            else:
                await self._perform(output)

    async def _idle(self) -> None:
        wake_at = self._asleep_until = min(
            self.dialogue.next_at, self._next_ping_at, self._pongs[0][0] if self._pongs else float("inf")
        )
        if wake_at == float("inf"):
            await self._changed.wait()
            return
        try:
            async with asyncio.timeout_at(wake_at):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _perform(self, output: Output) -> None:
        match output:
            case Frame():
                await self._write(output)
            case Close(code, reason):
                await self._close(code, reason)
            case Cut(reset):
                self._cut(reset)
            case Stall(seconds, deaf):
                if deaf:
                    self._hearing.clear()
                await asyncio.sleep(seconds)
                self._hearing.set()
            case StartBench():
                self._speaker = self._wheel.join(self._transport, self._turn_over)

    async def _write(self, output: Frame) -> None:
        profile, payload = self._profile, output.payload
        try:
            if profile.slice_bytes or profile.line_bytes_per_second:
                await self._trickle(payload)
            elif profile.text_frames:
                await self._ws.send_str(payload.decode())
            else:
                await self._ws.send_bytes(payload)
        except ConnectionError:  # the reader notices the same and ends the connection
            return
        self.record.frames_sent += 1
        session = self.dialogue.session
        if session is not None:
            session.sent.entries.append(Sent(output.number, self.record.id, output.kind, len(payload), crc32(payload)))
            if output.usage is not None:
                session.usage.append(output.usage)

    async def _trickle(self, payload: bytes) -> None:
        """Write one frame slice by slice, no faster than the line is supposed to be."""
        whole = frame(payload, TEXT if self._profile.text_frames else BINARY)
        size, rate = self._profile.slice_bytes or 1400, self._profile.line_bytes_per_second
        for at in range(0, len(whole), size):
            piece = whole[at : at + size]
            self._transport.write(piece)
            await asyncio.sleep(len(piece) / rate if rate else 0)

    async def _pings_and_pongs(self) -> None:
        now = self._now()
        try:
            while self._pongs and self._pongs[0][0] <= now:
                await self._ws.pong(self._pongs.popleft()[1])
            if self._next_ping_at <= now:
                self._next_ping_at = now + self._profile.ping_every_s
                await self._ws.ping()
        except ConnectionError:
            self._pongs.clear()

    # -- ending ------------------------------------------------------------------------------------------------

    async def _close(self, code: int, reason: str) -> None:
        """Send a close frame and wait for the client's, but not for ever.

        Not by the library's close(): with a reader at work that ends the TCP connection at once, and what the client
        still had under way would turn the end into a reset that can overtake the close frame.
        """
        self._ending = True
        message = cut_reason(reason)
        self.record.sent_close = (code, message.decode())
        self._transport.write(frame(struct.pack("!H", code) + message, CLOSE))
        self.release()
        try:
            async with asyncio.timeout(self._profile.close_timeout_s):
                await self._over.wait()
        except TimeoutError:
            self._transport.abort()

    async def _answer_close(self) -> None:
        """Finish a close the peer began, or tidy up after one that vanished."""
        seen = self.record.close_code
        if seen is not None:
            with contextlib.suppress(ConnectionError, ValueError):
                await self._ws.close(code=WSCloseCode.OK if seen == _NO_STATUS else seen, drain=False)

    def _cut(self, reset: bool) -> None:
        self._ending = True
        self.record.close_code = _ABNORMAL
        self.release()
        if not reset:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:  # TLS can't be half closed
                self._transport.close()
            asyncio.get_running_loop().call_later(self._profile.close_timeout_s, self._transport.abort)
            return
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # abort becomes a RST
        self._transport.abort()

    def _turn_over(self) -> None:
        self.dialogue.bench_turn_over(self._now())
        self._changed.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
