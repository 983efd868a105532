"""What the relay says of itself: its log lines, read back as records and kept by tenant."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog


@dataclass(frozen=True, slots=True)
class Handover:
    """One line `handover`."""

    at: float
    """When the line was written, seconds since the epoch."""
    session: str
    cause: str
    planned: bool
    outcome: str
    stall_ms: float
    frames_held: int
    replayed: int
    dropped: int
    uncertain: int
    turn_cut: bool
    restored: bool
    dials: int


@dataclass(frozen=True, slots=True)
class Ended:
    """One line `session`."""

    at: float
    session: str
    reason: str
    code: int
    upstream_reason: str


@dataclass(slots=True)
class Journal:
    """Every line of one tenant, and those that matter as records."""

    lines: list[Mapping[str, Any]] = field(default_factory=list)
    handovers: list[Handover] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)

    def take(self, line: Mapping[str, Any], at: float) -> None:
        """Read one log line. Raises KeyError when a record lacks a field it must have."""
        self.lines.append(line)
        match line.get("event"):
            case "handover":
                self.handovers.append(_handover(line, at))
            case "session":
                self.ended.append(
                    Ended(at, line["session"], line["reason"], line["code"], line.get("upstream_reason") or "")
                )

    def all(self, event: str) -> list[Mapping[str, Any]]:
        """Every line with this event."""
        return [line for line in self.lines if line.get("event") == event]

    @property
    def crashes(self) -> int:
        """Sessions that met a bug of the relay."""
        return len(self.all("session crashed"))


class Journals:
    """The lines of a relay, apart by tenant."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, Journal] = {}

    def of(self, tenant: str) -> Journal:
        """The journal of one tenant."""
        return self._by_tenant.setdefault(tenant, Journal())

    def take(self, line: Mapping[str, Any], at: float | None = None) -> None:
        """File one line; without a time of its own it was written now."""
        stamp = line.get("timestamp")
        when = at if at is not None else (datetime.fromisoformat(stamp).timestamp() if stamp else time.time())
        self.of(str(line.get("tenant", ""))).take(dict(line), when)


@contextlib.contextmanager
def captured() -> Iterator[Journals]:
    """Collect what relays of this process log, instead of printing it, until the block ends."""
    journals = Journals()

    def take(_logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        journals.take({"level": method, **event})
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[take], cache_logger_on_first_use=False)
    try:
        yield journals
    finally:
        structlog.configure(**before)


def _handover(line: Mapping[str, Any], at: float) -> Handover:
    names = ("cause", "planned", "outcome", "frames_held", "replayed", "dropped", "uncertain", "turn_cut", "restored")
    return Handover(
        at=at,
        session=line["session"],
        stall_ms=float(line["stall_ms"]),
        dials=line["dials"],
        **{name: line[name] for name in names},
    )
