"""One session of the benchmark as both its ends see it: what was sent, what arrived, and how long it took between."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from time import perf_counter


class BenchError(Exception):
    """The run is worthless: something was not as it has to be."""


@dataclass(slots=True)
class Flow:
    """One direction of one session, from its sender to its receiver."""

    transport: asyncio.WriteTransport | None = None
    """The sender's."""
    sent: int = 0
    received: int = 0
    sent_at: deque[float] = field(default_factory=deque)
    latencies_s: list[float] | None = None
    """Where latencies are collected, while they are."""
    refill: bytes | None = None
    """In a closed loop: sent again for each frame that arrived."""
    refill_bytes: int = 0
    """Payload of such a frame, which must arrive with the same length."""

    def send(self, frame: bytes) -> None:
        """Write one frame and remember when."""
        assert self.transport is not None
        self.sent += 1
        self.sent_at.append(perf_counter())
        self.transport.write(frame)

    def arrived(self, length: int, now: float) -> None:
        """One frame came out at the other end. Raises BenchError when it can't be one that was sent."""
        if not self.sent_at:
            raise BenchError("more frames arrived than were sent")
        took_s = now - self.sent_at.popleft()
        self.received += 1
        if self.latencies_s is not None:
            self.latencies_s.append(took_s)
        if self.refill is not None:
            if length != self.refill_bytes:
                raise BenchError(f"a frame of {self.refill_bytes} bytes arrived with {length}")
            self.send(self.refill)


class Session:
    """One session with both its ends."""

    def __init__(self, number: int, key: str, enforced: bool) -> None:
        self.number = number
        self.key = key
        """The client's credential."""
        self.enforced = enforced
        """Whether the setup must arrive with the operator's system instruction in it."""
        self.up = Flow()
        self.down = Flow()
        self.own_frames = 1 if enforced else 0
        """Messages of the relay's own that are still to come: it gives a client its first handle itself."""
        self.closing = False
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ends_left = 0
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Both ends are closed."""


@dataclass(slots=True)
class Sessions:
    """Every open session by its number, and what went wrong in any of them."""

    live: dict[int, Session] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raises BenchError when anything went wrong since the last call."""
        if self.failures:
            found, self.failures = self.failures, []
            raise BenchError(f"{len(found)} failures, the first: {found[0]}")
