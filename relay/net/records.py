"""Usage records: one line per session at its end, and of long ones meanwhile, each with totals and what they cost."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from relay.core.bill import amounts
from relay.net.books import Entry


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes usage records to the log, event `usage`; an `id` comes once, and a later one of a session replaces it."""

    currency: str
    prices_as_of: str
    clock: Callable[[], float]
    """Gives Unix seconds."""

    def record(self, entry: Entry, now: float, reason: str | None) -> None:
        """Write what a session has used so far; `reason` says why it ended, if it has."""
        session = entry.session
        meter, price = session.meter, session.tab.price
        entry.recorded_at = now
        entry.records += 1
        structlog.get_logger().info(
            "usage",
            id=f"{entry.id}.{entry.records}",
            session=entry.id,
            tenant=entry.tenant,
            model=session.model,
            priced_as=price.name,
            started_at=datetime.fromtimestamp(entry.started_at, UTC).isoformat(timespec="milliseconds"),
            final=reason is not None,
            reason=reason,
            cost=format(price.cost(meter.tally.tokens), "f"),
            currency=self.currency,
            prices_as_of=self.prices_as_of,
            amounts=amounts(meter, session.tab.spent, session.tab.times(now), session.line.handovers),
            flags={flag.value: count for flag, count in meter.tally.flags.items()},
        )
