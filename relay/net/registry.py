"""The sessions of the process, live and parked: admission by count, one coarse tick for all, the way back, drain."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from relay.core.events import Event
from relay.core.tickets import Grant
from relay.metrics import Flow
from relay.net.driver import Driver
from relay.net.labels import NO_LABELS, Labels

TICK_S = 1.0
"""How often every session's legs are looked after: one timer for the process, none per frame."""


@dataclass(slots=True)
class Live:
    """One live session."""

    id: str
    tenant: str
    driver: Driver | None = None
    """None until its WebSocket is open, and once it has ended."""
    flow: Flow | None = None
    """Carries its meter into the metrics."""
    grant: Grant | None = None
    """What its client's ticket or token says; None for a tenant's own key."""
    labels: Labels = NO_LABELS
    """Of the socket it began with."""

    def dispatch(self, event: Event) -> None:
        """Hand its session an event, as long as there is one."""
        if self.driver is not None:
            self.driver.dispatch(event)

    @property
    def parked(self) -> bool:
        """Whether it waits for its client to come back."""
        return self.driver is not None and self.driver.session.parked


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
        """How many sessions a tenant has, parked ones included."""
        return self._tenants[tenant]

    def parked(self, tenant: str | None = None) -> int:
        """How many sessions, of one tenant or of all, wait for their clients."""
        return sum(live.parked for live in self._live.values() if tenant in (None, live.tenant))

    def find(self, session_id: str) -> Driver | None:
        """The driver of a live session."""
        live = self._live.get(session_id)
        return live.driver if live is not None else None

    def regrant(self, session_id: str, grant: Grant | None) -> None:
        """A client came back to a session: from now on its new credential counts."""
        if session_id in self._live:
            self._live[session_id].grant = grant

    def make_room(self, tenant: str, limit: int | None) -> None:
        """Give up parked sessions, the oldest first, where a client that is here needs their place."""
        surplus = self._tenants[tenant] - limit if limit is not None else 0
        for live in self:
            if live.parked and live.driver is not None:
                if surplus > 0 and live.tenant == tenant:
                    surplus -= 1
                elif len(self._live) <= self._max_sessions:
                    continue
                live.driver.give_up_parked()

    @contextmanager
    def admitted(self, live: Live) -> Iterator[None]:
        """Hold a place for as long as the session lasts; no exception can leak it."""
        self._live[live.id] = live
        self._tenants[live.tenant] += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.release(live)

    def release(self, live: Live) -> None:
        """Give a place back; once is enough."""
        if self._live.pop(live.id, None) is not None:
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

    async def drain(self, timeout_s: float, close_s: float) -> int:
        """Refuse new sessions, ask clients to leave, end what is left `close_s` before `timeout_s` is over.

        Returns how many sessions were left when the time was up.
        """
        self.draining = True
        for live in self:
            if live.driver is not None:
                live.driver.drain(max(timeout_s - close_s, 0.0))
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            pass
        return len(self._live)
