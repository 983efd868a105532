"""A TCP proxy that does harm on request: delay, jitter, rate, slices, stalls, resets, FINs, refusals, silence.

It sits between the relay and the simulator. It is TCP on both sides, so it can't lose packets: what needs that is in
`proof.netns`.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

_CHUNK_BYTES = 64 * 1024
_AHEAD = 256
"""Chunks that may be under way in one direction."""


class Answer(Enum):
    """What a new connection meets."""

    SERVE = "serve"
    RESET = "reset"
    HANG = "hang"
    """Accepted, never read, never answered."""


@dataclass(slots=True)
class Pipe:
    """One direction of every connection; may be changed while bytes flow."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much more delay, anew for each chunk; order is kept, as TCP would."""
    bytes_per_s: float = 0.0
    """0: no cap."""
    slice_bytes: int = 0
    """Write at most so much at once; 0: whatever was read."""
    passed: int = 0
    """Bytes written so far."""
    slices: int = 0
    """Writes so far."""
    flowing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.flowing.set()


class Through:
    """One proxied connection."""

    def __init__(self, proxy: "FaultProxy", number: int, near: asyncio.StreamWriter) -> None:
        self.number = number
        self.proxy = proxy
        self.near = near
        """Towards the relay."""
        self.far: asyncio.StreamWriter | None = None
        """Towards the simulator."""
        self.kept: asyncio.Event | None = None
        """The far side stays open when the near side ends, until this is set."""

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Serve it until either side ends."""
        proxy = self.proxy
        far_reader, self.far = await asyncio.open_connection(*proxy.target)
        up = asyncio.create_task(self._pump(reader, self.far, proxy.up))
        down = asyncio.create_task(self._pump(far_reader, self.near, proxy.down))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            with contextlib.suppress(TimeoutError):  # a side that ended in order may still be read from the other one
                async with asyncio.timeout(2.0):
                    await asyncio.wait({up, down})
            if self.kept is not None:
                await self.kept.wait()
        finally:
            for task in (up, down):
                task.cancel()
            for writer in (self.near, self.far):
                writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pipe: Pipe) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_AHEAD)
        feeding = asyncio.create_task(self._feed(reader, queue, pipe))
        try:
            while True:
                due, chunk = await queue.get()
                await _until(due)
                if not chunk:
                    break
                for piece in _slices(chunk, pipe.slice_bytes):
                    await pipe.flowing.wait()
                    writer.write(piece)
                    pipe.passed += len(piece)
                    pipe.slices += 1
                    if pipe.bytes_per_s:
                        await asyncio.sleep(len(piece) / pipe.bytes_per_s)
                    elif pipe.slice_bytes:
                        await asyncio.sleep(0)
                await writer.drain()
            if writer.can_write_eof() and self.kept is None:
                writer.write_eof()
        except OSError:
            pass
        finally:
            feeding.cancel()

    async def _feed(self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]], pipe: Pipe) -> None:
        now = asyncio.get_running_loop().time
        size = 1400 if pipe.bytes_per_s else _CHUNK_BYTES
        chunk = b"?"
        while chunk:
            try:
                chunk = await reader.read(size)
            except OSError:
                chunk = b""
            late = pipe.delay_s + (random.random() * pipe.jitter_s if pipe.jitter_s else 0.0)
            await queue.put((now() + late, chunk))


class FaultProxy:
    """Listens on loopback (or on a given socket) and passes every connection on to `target`."""

    def __init__(self, target: tuple[str, int], listener: socket.socket | None = None) -> None:
        self.target = target
        self.up = Pipe()
        """From the relay to the simulator."""
        self.down = Pipe()
        self.answer = Answer.SERVE
        """What connections meet from now on."""
        self.connections: list[Through] = []
        """The live ones, oldest first."""
        self.accepted = 0
        self.ended = asyncio.Event()
        self.port = 0
        self._listener = listener
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._full: list[socket.socket] = []

    async def start(self) -> None:
        """Listen. Raises OSError when the address can't be bound."""
        if self._listener is not None:
            self._server = await asyncio.start_server(self._accept, sock=self._listener)
            self._listener = None
        else:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more and drop every connection."""
        self.ended.set()
        for one in self.connections:
            if one.kept is not None:
                one.kept.set()
        self.refuse()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- faults --------------------------------------------------------------------------------------------------

    def stall(self, *, up: bool = True, down: bool = True) -> None:
        """Nothing moves until `flow`."""
        if up:
            self.up.flowing.clear()
        if down:
            self.down.flowing.clear()

    def flow(self) -> None:
        """Everything moves again."""
        self.up.flowing.set()
        self.down.flowing.set()

    def reset(self) -> int:
        """End every connection by a RST towards the relay, and cut the simulator off too; how many."""
        cut = list(self.connections)
        for one in cut:
            _reset(one.near)
            if one.far is not None:
                _reset(one.far)
        return len(cut)

    def half_reset(self) -> asyncio.Event:
        """End every connection by a RST towards the relay; the simulator notices nothing until the event is set."""
        kept = asyncio.Event()
        for one in list(self.connections):
            one.kept = kept
            _reset(one.near)
        return kept

    def fin(self, first: bytes = b"") -> int:
        """End every connection towards the relay by a FIN, after some last bytes; how many."""
        cut = list(self.connections)
        for one in cut:
            one.near.write(first)
            one.near.write_eof()
            if one.far is not None:
                one.far.transport.abort()
        return len(cut)

    def refuse(self) -> None:
        """Close the listening socket: connections are refused until `start`; live ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for filler in self._full:
            filler.close()
        self._full.clear()

    def drop_syns(self) -> None:
        """Let every new connection's SYN go unanswered until `refuse` or `start`; live ones go on."""
        self.refuse()
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(0)
        self._full.append(listener)
        for _ in range(4):  # more than the queue of nobody's accept() holds; from then on the kernel drops SYNs
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._full.append(filler)

    # -- serving -------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.answer is Answer.RESET:
            _reset(writer)
            return
        if self.answer is Answer.HANG:
            try:
                await self.ended.wait()
            finally:
                writer.close()
            return
        through = Through(self, self.accepted, writer)
        self.connections.append(through)
        try:
            await through.run(reader)
        finally:
            self.connections.remove(through)


def _slices(chunk: bytes, size: int) -> Iterator[bytes]:
    step = size or len(chunk)
    return (chunk[at : at + step] for at in range(0, len(chunk), step))


async def _until(due: float) -> None:
    left = due - asyncio.get_running_loop().time()
    if left > 0:
        await asyncio.sleep(left)


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
