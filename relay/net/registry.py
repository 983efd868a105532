"""The live sessions of the process: admission by count, one coarse tick for all of them, drain."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from relay.metrics import Flow
from relay.net.driver import Driver

TICK_S = 1.0
"""How often every session's legs are looked after: one timer for the process, none per frame."""


@dataclass(slots=True)
class Live:
    """One live session."""

    id: str
    tenant: str
    driver: Driver | None = None
    """None until its WebSocket is open."""
    flow: Flow | None = None
    """Carries its meter into the metrics."""


class Registry:
    """Every session between its admission and its end."""

    def __init__(self, max_sessions: int) -> None:
        self.draining = False
        """Whether new sessions are refused because the process is about to end."""
        self._max_sessions = max_sessions
        self._live: dict[str, Live] = {}
        self._tenants: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._ticker: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._live)

    def __iter__(self) -> Iterator[Live]:
        return iter(list(self._live.values()))

    @property
    def full(self) -> bool:
        """Whether the process has as many sessions as it may."""
        return len(self._live) >= self._max_sessions

    def of_tenant(self, tenant: str) -> int:
        """How many sessions a tenant has."""
        return self._tenants[tenant]

    @contextmanager
    def admitted(self, live: Live) -> Iterator[None]:
        """Hold a place for as long as the session lasts; no exception can leak it."""
        self._live[live.id] = live
        self._tenants[live.tenant] += 1
        self._empty.clear()
        try:
            yield
        finally:
            del self._live[live.id]
            self._tenants[live.tenant] -= 1
            if not self._live:
                self._empty.set()

    def start(self) -> None:
        """Begin ticking. Needs a running event loop."""
        loop = asyncio.get_running_loop()
        self._ticker = loop.call_later(TICK_S, self._tick, loop)

    def stop(self) -> None:
        """Stop ticking."""
        if self._ticker is not None:
            self._ticker.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for live in self:
            if live.driver is not None:
                live.driver.tick(now)
        self._ticker = loop.call_later(TICK_S, self._tick, loop)

    async def drain(self, timeout_s: float) -> int:
        """Refuse new sessions, end the live ones, wait for them; how many were left when the time was up."""
        self.draining = True
        for live in self:
            if live.driver is not None:
                live.driver.drain()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            pass
        return len(self._live)
