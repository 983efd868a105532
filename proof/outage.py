"""What `admission` measures: the crowd's answers, and one phase for each way in which Redis fails."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from proof.figures import ms, percentile, spread_ms, table
from proof.tally import REPORTS

RELAYS = 3
RECOVERY_S = 2.0
MOST_S = {0.5: 0.030, 0.95: 0.100}
"""So much later than before the fault may live frames be, by percentile.

Whatever waits for Redis waits 250 ms, several times a second, so that one frame in three would be late. One frame in
a hundred is late whenever a busy machine stops a process for a moment, hence no promise about the 99th percentile.
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    crowd: int = 600
    limit: int = 100
    sessions: int = 15
    """Talking while Redis fails, spread over the relays."""
    phase_s: float = 6.0
    """How long Redis is away, each time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handshake was answered."""

    status: int
    retry_after: str
    took_s: float


@dataclass(slots=True)
class Phase:
    """What was seen while something was done to Redis."""

    name: str
    up_s: list[float] = field(default_factory=list)
    """How long each frame took from client to Gemini."""
    down_s: list[float] = field(default_factory=list)
    closed: Counter[int] = field(default_factory=Counter)
    """What the relays that fail closed answered new sessions."""
    open: Counter[int] = field(default_factory=Counter)
    """What the relay that stays open answered them."""
    slowest_s: float = 0.0
    """The slowest of these answers."""
    room: int = 0
    """How many sessions the open relay had left of its share."""
    reports: int = 0
    """Gemini's reports meanwhile."""
    recovered_s: float | None = None
    """From the fault's end until no relay is degraded and the closed ones admit again."""


@dataclass(slots=True)
class Result:
    """What it came to."""

    options: Options
    crowd: Counter[int] = field(default_factory=Counter)
    crowd_s: float = 0.0
    hinted: int = 0
    """Refused with a Retry-After."""
    phases: list[Phase] = field(default_factory=list)
    simulator: Counter[str] = field(default_factory=Counter)
    ledger: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    """Talking clients that were closed."""
    failures: list[str] = field(default_factory=list)

    def broken(self) -> list[str]:
        """The promises this run broke, in words."""
        options, refused = self.options, self.options.crowd - self.options.limit
        checks = {
            f"the crowd was answered {dict(self.crowd)}": self.crowd != Counter({101: options.limit, 429: refused}),
            f"{self.hinted} of {refused} refusals say when to come back": self.hinted != refused,
            f"{self.ended} talking clients were closed": self.ended > 0,
            f"{REPORTS}: nothing to compare": not self.simulator[REPORTS],
        }
        wrong = [words for words, fails in checks.items() if fails] + self.failures[:5]
        for name in sorted(self.simulator | self.ledger):
            if missing := self.simulator[name] - self.ledger[name]:
                wrong.append(f"{name}: {missing} not in the ledger")
        for phase in self.phases[1:]:
            wrong += [f"{phase.name}: {words}" for words in _broken(phase, self.phases[0])]
        return wrong

    def tables(self) -> str:
        """For people."""
        times = ("up p50", "p95", "p99", "down p50", "p95", "p99")
        head = ("Redis", *times, "new: closed", "open", "slowest", "recovery")
        rows = [
            (
                phase.name,
                *(ms(percentile(late, share)) for late in (phase.up_s, phase.down_s) for share in (0.5, 0.95, 0.99)),
                _shown(phase.closed),
                _shown(phase.open),
                f"{phase.slowest_s * 1000:.0f}",
                "–" if phase.recovered_s is None else f"{phase.recovered_s * 1000:.0f}",
            )
            for phase in self.phases
        ]
        spooled = ", ".join(f"{p.name}: {p.reports}" for p in self.phases[1:])
        missing = sum(abs(self.simulator[name] - self.ledger[name]) for name in self.simulator | self.ledger)
        return (
            f"{self.options.crowd} starts at {RELAYS} relays {self.options.limit} places, in {self.crowd_s:.2f} s: "
            f"{_shown(self.crowd)}, {self.hinted} with Retry-After\n\n"
            f"{self.options.sessions} sessions talk; times in ms\n\n{table(head, rows)}\n\n"
            f"reports while Redis was away: {spooled}; at the end {self.ledger[REPORTS]} of {self.simulator[REPORTS]} "
            f"booked, {missing} tokens amiss; talking clients closed: {self.ended}"
        )

    def json(self) -> dict[str, Any]:
        """For machines."""
        phases = [
            {name: getattr(phase, name) for name in Phase.__dataclass_fields__ if name not in ("up_s", "down_s")}
            | {"up_ms": spread_ms(phase.up_s), "down_ms": spread_ms(phase.down_s)}
            for phase in self.phases
        ]
        return {
            "options": {name: getattr(self.options, name) for name in Options.__dataclass_fields__},
            "crowd": self.crowd,
            "crowd_s": self.crowd_s,
            "hinted": self.hinted,
            "phases": phases,
            "simulator": self.simulator,
            "ledger": self.ledger,
            "broken": self.broken(),
        }


def _broken(phase: Phase, before: Phase) -> list[str]:
    room = Counter({101: phase.room, 429: phase.open.total() - phase.room})
    checks = {
        f"closed relays answered {_shown(phase.closed)}": set(phase.closed) != {503},
        f"the open relay answered {_shown(phase.open)}, its share has room for {phase.room}": phase.open != +room,
        "no usage while it lasted": not phase.reports,
        f"recovered after {phase.recovered_s} s": phase.recovered_s is None or phase.recovered_s > RECOVERY_S,
    }
    for way, now, then in (("up", phase.up_s, before.up_s), ("down", phase.down_s, before.down_s)):
        for share, most in MOST_S.items():
            late = (percentile(now, share) or 0.0) - (percentile(then, share) or 0.0)
            checks[f"frames {way} {late * 1000:.0f} ms later at {share:g}"] = late > most or not now
    return [words for words, fails in checks.items() if fails]


def _shown(answers: Counter[int]) -> str:
    return ", ".join(f"{count} × {status}" for status, count in sorted(answers.items())) or "–"
