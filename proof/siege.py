"""What `python -m proof hostile` has seen: each attack alone, all at once, and the promises that either broke."""

from dataclasses import dataclass, field
from typing import Any

from proof.attacks import ATTACKS, Attack
from proof.figures import percentile, table
from proof.paced import SHARES

_SLACK_S = 1.0
"""Beyond `limits.close_timeout`, for a socket to be gone once its client has done what is not allowed."""
GROWTH_KIB = 2048
"""Of resident memory, while one attack goes on."""
SESSION_KIB = 6 * 1024
"""The same for what is no attack on the socket but a session at its limits, whose journal and queues are full."""
SLOW_KIB = 1024
"""Of resident memory, for each client that does not read."""
LAG_MS = 20.0
"""How late the event loop may be at the 99.9th percentile, while all attack at once.

Where the relay has no processor to itself, by its own work: how long it waits for one is then the machine's doing.
"""
_GIVEN_UP = ("client_too_slow", "client_lost")


@dataclass(frozen=True, slots=True)
class Options:
    """How large a run is."""

    seconds: float = 60.0
    """With all attacks at once, and as long before without any."""
    sessions: int = 20
    """That behave."""
    each: int = 1
    """Hostile clients of a kind at once."""
    readers: int = 50
    """Clients that do not read, all together, for the measure of memory."""
    stuck_s: float = 10.0
    """`limits.stuck_timeout`."""
    close_s: float = 2.0
    """`limits.close_timeout`."""
    apart: bool = True
    """Whether the relay gets a processor to itself, where this is root and there are two; the rest then waits."""


@dataclass(frozen=True, slots=True)
class Alone:
    """One attack by itself."""

    attack: Attack
    reason: str
    """What the relay called it."""
    code: int
    took_s: float
    """From the last thing the client did, or from its connection where it never stops, to the end of the socket."""
    growth_kib: int
    late_ms: float
    """How late the event loop was, at worst."""


@dataclass(slots=True)
class Mix:
    """A while with sessions that behave."""

    lag_ms: dict[str, float] = field(default_factory=dict)
    down_s: list[float] = field(default_factory=list)
    """From the far end's stamp on a chunk of audio to the client."""
    answer_s: list[float] = field(default_factory=list)
    """From a question to the first of the answer."""
    busy: float = 0.0
    """Share of a core that the relay used."""


@dataclass(slots=True)
class Result:
    """What was seen."""

    options: Options
    alone: list[Alone] = field(default_factory=list)
    slow_kib: float = 0.0
    slow_reasons: dict[str, int] = field(default_factory=dict)
    slow_took_s: float = 0.0
    quiet: Mix = field(default_factory=Mix)
    mixed: Mix = field(default_factory=Mix)
    attacks: dict[str, int] = field(default_factory=dict)
    """How often each was made in the mix."""
    apart: bool = False
    """The relay had a processor to itself while this was measured."""
    ended: int = 0
    """Sessions that behaved and were ended all the same."""
    crashes: int = 0
    failures: list[str] = field(default_factory=list)

    def broken(self) -> list[str]:
        """The promises this run broke, in words."""
        wrong = list(self.failures)
        for one in self.alone:
            name = one.attack.name
            if one.reason not in one.attack.reasons or one.code not in one.attack.codes:
                wrong.append(f"{name}: ended as {one.reason} with {one.code}")
            if one.took_s > self.options.close_s + _SLACK_S:
                wrong.append(f"{name}: the socket was there for {one.took_s:.1f} s")
            if one.growth_kib > (SESSION_KIB if one.attack.row == "E1" else GROWTH_KIB):
                wrong.append(f"{name}: memory grew by {one.growth_kib} KiB")
        if self.slow_kib > SLOW_KIB:
            wrong.append(f"a client that does not read costs {self.slow_kib:.0f} KiB")
        # After as long, TCP may have given one up first: its window was closed all the while.
        if sum(self.slow_reasons.get(reason, 0) for reason in _GIVEN_UP) != self.options.readers:
            wrong.append(f"{self.options.readers} clients that do not read were ended as {self.slow_reasons}")
        lacking = [attack.name for attack in ATTACKS if not attack.slow and not self.attacks.get(attack.name)]
        if lacking:
            wrong.append(f"never made in the mix: {', '.join(lacking)}")
        figure, whose = ("p999", "") if self.apart else ("own_p999", " by its own work")
        late_ms = self.mixed.lag_ms.get(figure, LAG_MS + 1)
        if late_ms > LAG_MS:
            wrong.append(f"the event loop was {late_ms} ms late at p99.9{whose}, promised {LAG_MS:g}")
        if self.ended:
            wrong.append(f"{self.ended} sessions that behaved were ended")
        if self.crashes:
            wrong.append(f"{self.crashes} sessions met a bug of the relay")
        return wrong

    def tables(self) -> str:
        """For people."""
        rows = [
            (
                one.attack.row,
                one.attack.name,
                one.reason,
                one.code,
                f"{one.took_s * 1000:.0f}",
                one.growth_kib,
                one.late_ms,
            )
            for one in self.alone
        ]
        alone = table(("row", "attack", "reason", "code", "gone after ms", "memory KiB", "loop late ms"), rows)
        slow = (
            f"{self.options.readers} clients that do not read: {self.slow_kib:.0f} KiB each, "
            f"the last given up after {self.slow_took_s:.1f} s ({self.slow_reasons})"
        )
        lag = ("lag p50 ms", "p99", "p99.9", "max", "own work p50 ms", "p99", "p99.9", "max")
        head = ("", *lag, "down p50 ms", "p99", "answer p50 ms", "p99", "busy %")
        mixes = table(head, [self._row("quiet", self.quiet), self._row("all attacks", self.mixed)])
        return f"{alone}\n\n{slow}\n\n{mixes}\n\n{sum(self.attacks.values())} attacks in {self.options.seconds:g} s"

    def _row(self, name: str, mix: Mix) -> tuple[str, ...]:
        lags = [f"{mix.lag_ms.get(prefix + name, 0.0):.1f}" for prefix in ("", "own_") for name in SHARES]
        times = [
            f"{(percentile(values, share) or 0.0) * 1000:.1f}"
            for values in (mix.down_s, mix.answer_s)
            for share in (0.5, 0.99)
        ]
        return (name, *lags, *times, f"{mix.busy * 100:.0f}")

    def json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "alone": [
                {
                    "attack": one.attack.name,
                    "row": one.attack.row,
                    "reason": one.reason,
                    "code": one.code,
                    "took_s": one.took_s,
                    "growth_kib": one.growth_kib,
                    "late_ms": one.late_ms,
                }
                for one in self.alone
            ],
            "slow_kib": self.slow_kib,
            "slow_took_s": self.slow_took_s,
            "quiet": self._row("quiet", self.quiet)[1:],
            "mixed": self._row("mixed", self.mixed)[1:],
            "attacks": self.attacks,
            "broken": self.broken(),
        }
