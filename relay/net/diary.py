"""What the process remembers of its last hour, for whoever looks at it: samples of what was used, and what happened.

Nothing here is exact bookkeeping, which is the ledger's, and nothing outlives the process. Everything is bounded: by
the number of samples and events, and by the tenants that did something in a sample.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from relay.core.closing import Blame, Close, CloseReason
from relay.core.handover import Handover
from relay.core.ledger import Spent

SAMPLE_S = 10.0
SAMPLES = 360
"""An hour of them."""
EVENTS = 200

_ORDERLY = frozenset(
    {
        CloseReason.BUDGET_SPENT,
        CloseReason.DRAINING,
        CloseReason.ENDED_BY_OPERATOR,
        CloseReason.SESSION_TOO_LONG,
        CloseReason.UPSTREAM_FINISHED,
    }
)
"""Ends that are not the client's doing and still as they should be."""


@dataclass(slots=True)
class Happening:
    """One thing that happened."""

    number: int
    """Counts from 1 over the life of the process."""
    at: float
    """In Unix seconds."""
    kind: str
    """`handover`, `ended` or `refused`."""
    cause: str
    outcome: str
    """Of a handover; the blame of an end; the status of a refusal."""
    bad: bool
    """Whether somebody should look at it."""
    tenant: str | None = None
    session: str | None = None
    count: int = 1
    """How many such refusals came in a row."""
    stall_s: float | None = None


@dataclass(slots=True)
class Tally:
    """What one tenant did between two samples."""

    tokens: int = 0
    nanos: int = 0
    handovers: int = 0
    errors: int = 0
    sessions: int = 0
    """Live ones at the sample's end, parked ones included."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was done since the sample before, `SAMPLE_S` seconds earlier, by the tenants that did anything."""

    at: float
    """In Unix seconds."""
    tenants: Mapping[str, Tally]


@dataclass(slots=True)
class Sources:
    """Where a sample's numbers come from."""

    tenants: Iterable[str]
    total: Callable[[str], Spent]
    """What a tenant has used in this process so far."""
    sessions: Callable[[str], int]
    """How many sessions a tenant has."""
    clock: Callable[[], float]
    """Gives Unix seconds."""


@dataclass(slots=True)
class Diary:
    """The memory of the process's last hour."""

    sources: Sources
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    events: deque[Happening] = field(default_factory=lambda: deque(maxlen=EVENTS))
    _known: dict[str, Spent] = field(default_factory=dict)
    _handovers: Counter[str] = field(default_factory=Counter)
    _errors: Counter[str] = field(default_factory=Counter)
    _number: int = 0
    _timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to sample. Needs a running event loop."""
        self._timer = asyncio.get_running_loop().call_later(SAMPLE_S, self._tick)

    def stop(self) -> None:
        """Sample no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.sample()
        self.start()

    def sample(self) -> None:
        """Add what was done since the last sample."""
        self.samples.append(self.current())
        self._known = {tenant: self.sources.total(tenant) for tenant in self.sources.tenants}
        self._handovers.clear()
        self._errors.clear()

    def current(self) -> Sample:
        """What was done since the last sample: the next one, as far as it has come."""
        found = {}
        for tenant in self.sources.tenants:
            added = self.sources.total(tenant) - self._known.get(tenant, Spent())
            tally = Tally(
                added.tokens,
                added.nanos,
                self._handovers[tenant],
                self._errors[tenant],
                self.sources.sessions(tenant),
            )
            if tally != _NOTHING:
                found[tenant] = tally
        return Sample(self.sources.clock(), found)

    def handed_over(self, tenant: str, session: str, handover: Handover) -> None:
        """A session was moved to another upstream leg, or could not be."""
        self._handovers[tenant] += 1
        event = self._new("handover", handover.cause.value, handover.outcome.value, bad=not handover.restored)
        event.tenant, event.session, event.stall_s = tenant, session, handover.stall_s

    def ended(self, tenant: str, session: str, close: Close) -> None:
        """A session is over."""
        bad = close.reason.blame is not Blame.DOWNSTREAM and close.reason not in _ORDERLY
        self._errors[tenant] += bad
        event = self._new("ended", close.reason.label, close.reason.blame.value, bad=bad)
        event.tenant, event.session = tenant, session

    def refused(self, status: int, cause: str) -> None:
        """A client that could have had a session got none; the same again is only counted."""
        last = self.events[-1] if self.events else None
        if last is not None and (last.kind, last.cause, last.outcome) == ("refused", cause, str(status)):
            last.count += 1
            last.at = self.sources.clock()
        else:
            self._new("refused", cause, str(status), bad=True)

    def _new(self, kind: str, cause: str, outcome: str, *, bad: bool) -> Happening:
        self._number += 1
        event = Happening(self._number, self.sources.clock(), kind, cause, outcome, bad)
        self.events.append(event)
        return event


_NOTHING = Tally()
