"""What is written down of each session while it lasts, and how the process deals with its ledger."""

from collections.abc import Callable
from dataclasses import dataclass, field

from relay.core.bill import Times, amounts
from relay.core.events import BudgetSpent
from relay.core.ledger import Charge, Spent
from relay.core.session import Session
from relay.net.labels import NO_LABELS, Labels

NO_TIMES = Times()
MEDIA_S = 0.9
"""How often a session is charged for what passes by; what Gemini reports is charged the next time charges are made."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the process deals with its ledger."""

    shared: bool = False
    """Whether other replicas use it too, so that places are counted there and not here."""
    settle_s: float = 0.5
    open_when_down: bool = False
    """Whether sessions begin while it fails, within this replica's share of the limits."""
    replicas: int = 1
    flush_s: float = 60.0
    """How often a live session is recorded."""


@dataclass(slots=True, eq=False)
class Entry:
    """One session's place in the books."""

    tenant: str
    id: str
    session: Session
    tell: Callable[[BudgetSpent], None]
    """Hands the session the event that its tenant's budget is spent."""
    started_at: float
    """In Unix seconds."""
    recorded_at: float
    """On the clock of timers."""
    labels: Labels = NO_LABELS
    """Of the socket it began with; a client that comes back does not change them."""
    records: int = 0
    counted: Spent = field(default_factory=Spent)
    """What its tenant's account knows."""
    settled: Spent = field(default_factory=Spent)
    """What the ledger knows."""
    charge: Charge | None = None
    """The newest charge."""
    charged_at: float = 0.0
    """When that was made, on the clock of timers."""
    charged_reports: int = 0
    """How many of Gemini's reports it covers."""
    owed: bool = False
    """That charge is not settled."""
    has_place: bool = True
    """It holds a place at a shared ledger."""

    def run_up(self) -> Spent:
        """What it ran up since this was last asked."""
        total = self.session.tab.spent
        added = total - self.counted
        self.counted = total
        return added

    def charged(self, now: float, ended_after: Times | None = None) -> bool:
        """Make a new charge of its totals if they have changed; whether there is one that is not settled.

        Times are charged at the end only, or a session in which nothing happens would be written again and again.
        Before the setup has named a model, nobody knows which row to charge, nor whether this is a session at all.
        """
        session, times = self.session, ended_after or NO_TIMES
        reports = session.meter.tally.reports
        if ended_after is None:
            if not session.model:
                return False
            if reports == self.charged_reports and now - self.charged_at < MEDIA_S:
                return self.owed
        self.charged_at, self.charged_reports = now, reports
        totals = amounts(session.meter, session.tab.spent, times, session.line.handovers)
        if self.charge is None or totals != self.charge.amounts:
            sequence = self.charge.sequence + 1 if self.charge is not None else 1
            model = session.tab.price.name
            self.charge = Charge(self.tenant, self.id, model, sequence, totals, self.started_at)
            self.owed = True
        return self.owed

    def paid(self, charge: Charge) -> Spent:
        """A charge was settled; what that adds to what the ledger knows of this session."""
        added = charge.spent - self.settled
        self.settled = charge.spent
        self.owed = self.owed and charge is not self.charge
        return added
