"""Keeps credentials to their word while sessions last: their end, their limits, and revocations by any replica.

One task for the process looks about once a second. It tells the drivers; it waits for nobody's frames. A store that
fails for a while delays revocations and per-ticket limits, never the end of a ticket's life.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from relay.core.closing import Close, CloseReason
from relay.core.events import BudgetSpent, CredentialOver
from relay.core.ledger import LedgerError
from relay.core.session import Session
from relay.core.tickets import Allotment, Grant, Stub, TicketStore, Use, mark_of_tenant
from relay.metrics import Metrics
from relay.net.registry import Live, Registry
from relay.net.tickets import grant_of

LOOK_S = 1.0
"""How often expiry is looked at."""
POLL_S = 2.0
"""How often the store is asked for revocations: with a store in good health they take this long at most."""
SPEND_S = 5.0
"""How often what limited tickets have used is carried to the store."""
OVERLAP_S = 10.0
"""How far back each poll reaches: a transaction may become visible after a later one."""
FORGET_S = 7 * 86_400.0

_log = structlog.get_logger()


class Warden:
    """The process's watch over credentials."""

    def __init__(
        self,
        store: TicketStore,
        registry: Registry,
        metrics: Metrics,
        clock: Callable[[], float],
        chores: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """`clock` gives Unix seconds, until the store has said its own; `chores` are further things to look after, such
        as key sets."""
        self._store = store
        self._registry = registry
        self._metrics = metrics
        self._ahead_s = clock() - time.monotonic()
        self._chores = chores
        self._revoked: dict[str, float] = {}
        self._polled_at = 0.0
        self._spent_at = 0.0
        self._newest = 0.0
        self._failing = False
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def now(self) -> float:
        """The store's time, as far as is known, carried on by the clock that nobody sets: wall clocks may jump, and
        those of replicas differ."""
        return time.monotonic() + self._ahead_s

    async def start(self) -> None:
        """Open the store, learn what is revoked, begin to watch. Raises LedgerError."""
        await self._store.start()
        await self._round()
        await self._do_chores()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._every_look(self._round), name="warden"),
            # Apart, because an identity provider that hangs must not hold up the end of anybody's session.
            loop.create_task(self._every_look(self._do_chores), name="warden's chores"),
        ]

    async def stop(self) -> None:
        """Stop watching and close the store."""
        self._stopping.set()
        for task in self._tasks:
            await task
        with contextlib.suppress(LedgerError):
            await self._store.stop()

    def revoked(self, tenant: str, grant: Grant) -> bool:
        """Whether a credential was revoked, as far as this replica has heard."""
        return any(self._revoked.get(mark, -1.0) >= grant.issued_at for mark in grant.marks(tenant))

    async def admit(self, live: Live, *, new: bool) -> Close | None:
        """Count a session that begins with a ticket, if it is a new conversation; why it may not begin.

        Raises LedgerError.
        """
        grant = live.grant
        if grant is None:
            return None
        if grant.allotment.limited:
            if not grant.ticket:  # a token is not in the store by itself
                await self._store.add(grant.id, Stub("", 0, grant.expires_at, grant.expires_at))
            spent = grant.spent(await self._store.spend(grant.id, live.id, Allotment()))
            if spent is not None:
                return Close(CloseReason.BUDGET_SPENT, spent)
        if not new or not grant.ticket:
            return None
        use = await self._store.use(grant.id, live.id)
        self._metrics.tickets.labels(live.tenant, use.value).inc()
        return None if use is Use.USED else Close(CloseReason.TICKET_REFUSED, _WORDS[use])

    async def close(self, live: Live, used: Allotment) -> None:
        """Note what a session of a limited ticket or token has used when it ends."""
        if live.grant is not None and live.grant.allotment.limited:
            with contextlib.suppress(LedgerError):
                await self._store.spend(live.grant.id, live.id, used)

    async def revoke(self, mark: str) -> int:
        """Revoke what a mark of `relay.core.tickets` stands for, on every replica; how many sessions end here at once.

        Raises LedgerError; then nothing may have been revoked.
        """
        kind, _, rest = mark.partition(":")
        tenant, _, ticket_id = rest.partition(":")
        # A ticket's name says nothing of whose it is: another tenant's is left alone, and its mark fits nothing.
        own = kind == "ticket" and await self._owner(ticket_id) == tenant
        await self._store.revoke(mark, ticket_id if own else None)
        self._metrics.revocations.labels(kind).inc()
        ending = [live for live in self._registry if live.driver is not None and mark in _marks(live)]
        await self._poll()
        _log.info("revoked", kind=kind, sessions=len(ending))
        return len(ending)

    async def _owner(self, ticket_id: str) -> str | None:
        with contextlib.suppress(LedgerError):  # one that can't be read opens nothing, and its sessions end by the mark
            stub = await self._store.find(ticket_id)
            return None if stub is None else grant_of(ticket_id, stub)[0]
        return None

    async def _every_look(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._stopping.wait()
            await work()

    async def _do_chores(self) -> None:
        await asyncio.gather(*(chore() for chore in self._chores))

    async def _round(self) -> None:
        self._judge()
        now = asyncio.get_running_loop().time()
        try:
            if now - self._polled_at >= POLL_S or not self._polled_at:
                self._polled_at = now
                await self._poll()
            if now - self._spent_at >= SPEND_S:
                self._spent_at = now
                await self._spend(now)
            self._note(None)
        except LedgerError as error:
            self._note(error)
        self._judge()  # the store may have taken its time

    def _note(self, failure: LedgerError | None) -> None:
        if failure is not None and not self._failing:
            _log.error("the store failed; revocations wait until it is back", cause=str(failure))
        self._failing = failure is not None

    def _judge(self) -> None:
        """End every session whose credential has expired or was revoked."""
        now = self.now()
        for live in self._registry:
            if live.grant is None:
                continue
            if live.grant.expires_at <= now:
                _tell(live, CloseReason.CREDENTIAL_EXPIRED)
            elif self.revoked(live.tenant, live.grant):
                _tell(live, CloseReason.CREDENTIAL_REVOKED)

    async def _poll(self) -> None:
        self._ahead_s = await self._store.now() - time.monotonic()
        news = await self._store.revocations(max(self._newest - OVERLAP_S, 0.0))
        # A mark from the future is none of ours, and would hide all that come before it.
        latest = self.now() + OVERLAP_S
        fresh = {mark: at for mark, at in news.items() if self._revoked.get(mark) != at and at <= latest}
        if not fresh:
            return
        self._revoked.update(fresh)
        self._newest = max(self._newest, *fresh.values())
        self._revoked = {mark: at for mark, at in self._revoked.items() if at > self._newest - FORGET_S}
        for live in self._registry:  # by the tenant's own key: whoever holds that may come back, but this session ends
            if live.grant is None and mark_of_tenant(live.tenant) in fresh:
                _tell(live, CloseReason.CREDENTIAL_REVOKED)
        self._judge()

    async def _spend(self, now: float) -> None:
        failure: LedgerError | None = None
        for live in self._registry:
            grant, driver = live.grant, live.driver
            if grant is None or driver is None or not grant.allotment.limited:
                continue
            try:
                over = grant.spent(await self._store.spend(grant.id, live.id, used_by(driver.session, now)))
            except LedgerError as error:  # of this one, perhaps: the others have limits too
                failure = error
                continue
            if over is not None:
                driver.dispatch(BudgetSpent(over))
        if failure is not None:
            raise failure


def used_by(session: Session, now: float) -> Allotment:
    """What one session has used of its ticket's limits; `now` is on the clock of timers."""
    spent = session.tab.spent
    return Allotment(session.tab.times(now).session_s, spent.tokens, spent.nanos)


def _marks(live: Live) -> list[str]:
    return live.grant.marks(live.tenant) if live.grant is not None else [mark_of_tenant(live.tenant)]


def _tell(live: Live, reason: CloseReason) -> None:
    live.dispatch(CredentialOver(Close(reason)))


_WORDS = {
    Use.USED_UP: "it was used as often as it may be",
    Use.LATE: "its time for new sessions is over",
    Use.GONE: "it has expired or was revoked",
}
