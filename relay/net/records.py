"""Usage records: one line per session at its end, and of long ones meanwhile, each with totals and what they cost.

They go to the log, event `usage`, and to whatever else the operator named; so do budgets that reach a level.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from relay.core.bill import amounts
from relay.net.books import Entry

_log = structlog.get_logger()

Export = Callable[[str, str, Mapping[str, Any]], None]
"""Takes a record: what it is about, its id, and itself; a later one about the same replaces it."""


def nowhere(_key: str, _record_id: str, _record: Mapping[str, Any]) -> None:
    """No place beside the log."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes records; an `id` comes once, and a later record of a session replaces the earlier ones."""

    currency: str
    prices_as_of: str
    clock: Callable[[], float]
    """Gives Unix seconds."""
    export: Export = nowhere
    to_log: bool = True
    """Whether usage is written to the log; budgets always are."""

    def record(self, entry: Entry, now: float, reason: str | None) -> None:
        """Write what a session has used so far; `reason` says why it ended, if it has."""
        session = entry.session
        meter, price = session.meter, session.tab.price
        entry.recorded_at = now
        entry.records += 1
        record_id = f"{entry.id}.{entry.records}"
        record = {
            "id": record_id,
            "session": entry.id,
            "tenant": entry.tenant,
            "end_user": entry.labels.end_user,
            "labels": dict(entry.labels.labels),
            "model": session.model,
            "priced_as": price.name,
            "started_at": _stamp(entry.started_at),
            "final": reason is not None,
            "reason": reason,
            "cost": format(price.cost(meter.tally.tokens), "f"),
            "currency": self.currency,
            "prices_as_of": self.prices_as_of,
            "amounts": amounts(meter, session.tab.spent, session.tab.times(now), session.line.handovers),
            "flags": {flag.value: count for flag, count in meter.tally.flags.items()},
        }
        if self.to_log:
            _log.info("usage", **record)
        self.export(entry.id, record_id, {"event": "usage", "at": _stamp(self.clock()), **record})

    def budget(self, tenant: str, **details: Any) -> None:
        """Write that a budget has reached a level."""
        _log.warning("budget", tenant=tenant, **details)
        record_id = f"budget.{secrets.token_hex(8)}"
        record = {"event": "budget", "at": _stamp(self.clock()), "id": record_id, "tenant": tenant, **details}
        self.export(record_id, record_id, record)


def _stamp(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
