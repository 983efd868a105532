"""What a tenant may use: budgets by day and month with their warnings, and how fast one session may send.

Everything is decided from `now`, in seconds on the clock of timers. Budgets belong to the store's clock, so an account
keeps by how much the two differ; a wall clock that jumps moves no window. Nothing here asks a store.
"""

from dataclasses import dataclass

from relay.core.ledger import Allowance, Measure, Spent, Used
from relay.core.windows import Window, window_end

LEVELS_PERCENT = (80, 95, 100)
"""Of a budget: two warnings, and the end."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of one tenant; None is no limit."""

    concurrent_sessions: int | None = None
    starts_per_minute: int | None = None
    session_s: float | None = None
    """How long one session may last."""
    idle_s: float | None = None
    """How long nobody may speak or write, with the microphone open or not."""
    grace_s: float = 20.0
    """How long a turn in progress may go on after a budget is spent."""
    wrap_up: str = ""
    """What Gemini is asked to say at the end of a budget or of a session's length; nothing if empty."""
    allowances: tuple[Allowance, ...] = ()
    messages_per_second: float | None = None
    bytes_per_second: float | None = None
    audio_speed: float | None = None
    """Seconds of speech that a client may send in a second."""
    burst_s: float = 10.0
    """How long a client may have been cut off and then send at once what it has meanwhile."""


class Bucket:
    """Lets `per_second` units a second pass, and up to `burst` of them at once.

    What is taken may be more than is there; then nothing passes until the debt is paid. So a single large message is
    never stuck, and over a long time the rate is exact.
    """

    __slots__ = ("_at", "_burst", "_left", "_per_second")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take `amount` units if there is anything left."""
        left = min(self._left + (now - self._at) * self._per_second, self._burst)
        self._at = now
        if left <= 0:
            self._left = left
            return False
        self._left = left - amount
        return True


class Throttle:
    """How fast one client may send."""

    __slots__ = ("_audio", "_bytes", "_messages")

    def __init__(self, quotas: Quotas, now: float) -> None:
        def bucket(per_second: float | None) -> Bucket | None:
            return None if per_second is None else Bucket(per_second, per_second * quotas.burst_s, now)

        self._messages = bucket(quotas.messages_per_second)
        self._bytes = bucket(quotas.bytes_per_second)
        self._audio = bucket(quotas.audio_speed)

    def exceeded(self, payload_bytes: int, now: float) -> str | None:
        """Count one message; the name of the limit that it is beyond, if any."""
        if self._messages is not None and not self._messages.take(1, now):
            return "messages_per_second"
        if self._bytes is not None and not self._bytes.take(payload_bytes, now):
            return "bytes_per_second"
        return None

    def too_fast(self, audio_s: float, now: float) -> bool:
        """Count seconds of speech; whether they come faster than anybody can speak."""
        return self._audio is not None and audio_s > 0 and not self._audio.take(audio_s, now)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget has reached one of `LEVELS_PERCENT`."""

    allowance: Allowance
    level_percent: int
    used: int

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self.level_percent >= LEVELS_PERCENT[-1]


class Account:
    """One tenant's budgets as this process knows them: what the store has said, and what was used since."""

    def __init__(self, allowances: tuple[Allowance, ...], now: float, unix_s: float) -> None:
        """`unix_s` is this machine's idea of the time, until the store says its own."""
        self._allowances = allowances
        self._used = Used(at=unix_s)
        self._ahead_s = unix_s - now
        self._reached: dict[Allowance, tuple[float, int]] = {}
        self.pending = Spent()
        """Used in this process, and not yet part of what the store has said."""
        self.total = Spent()
        """Used in this process since it began."""

    def charge(self, spent: Spent) -> None:
        """Something was used."""
        self.pending += spent
        self.total += spent

    def learn(self, used: Used, settled: Spent, now: float) -> None:
        """The store has said what was used by all; `settled` of what was pending is part of that."""
        self._used = used
        self._ahead_s = used.at - now
        self.pending -= settled

    def used(self, window: Window, measure: Measure, now: float) -> int:
        """What was used in the window of `now`."""
        over = window_end(window, self._used.at) <= now + self._ahead_s
        known = 0 if over else self._used.within(window).of(measure)
        return known + self.pending.of(measure)

    def left(self, now: float) -> list[tuple[Allowance, int]]:
        """Every budget and what is left of it; less than nothing when it was overdrawn."""
        return [(each, each.limit - self.used(each.window, each.measure, now)) for each in self._allowances]

    def spent(self, now: float) -> Allowance | None:
        """The first budget of which nothing is left."""
        return next((allowance for allowance, left in self.left(now) if left <= 0), None)

    def crossings(self, now: float) -> list[Crossing]:
        """The levels reached since the last call, each budget's in order; each is told once in a window."""
        found: list[Crossing] = []
        for allowance, left in self.left(now):
            used = allowance.limit - left
            levels = [level for level in LEVELS_PERCENT if used * 100 >= allowance.limit * level]
            end = window_end(allowance.window, now + self._ahead_s)
            reached_in, reached = self._reached.get(allowance, (end, 0))
            if reached_in != end:
                reached = 0
            found += (Crossing(allowance, level, used) for level in levels if level > reached)
            self._reached[allowance] = (end, max([reached, *levels]))
        return found

    def renewed_after_s(self, allowance: Allowance, now: float) -> float:
        """How long it takes until a budget begins anew."""
        return window_end(allowance.window, now + self._ahead_s) - (now + self._ahead_s)
