"""How a session ends in its own time: its length is over, nobody speaks or writes, its tenant's budget is spent.

A spent budget lets the turn in progress end, for a grace. Nothing here knows who else a budget belongs to.
"""

from relay.core.closing import Close, CloseReason
from relay.core.commands import Command, End, SetTimer
from relay.core.events import Timer
from relay.core.limits import Limits
from relay.core.meter import Meter
from relay.core.turns import Turns


class Leaving:
    """The ends that limits put to one session."""

    def __init__(self, limits: Limits, meter: Meter, turns: Turns) -> None:
        self.close: Close | None = None
        """With which words the session ends when its turn has ended."""
        self._session_s = limits.session_s
        self._idle_s = limits.quotas.idle_s
        self._grace_s = limits.quotas.grace_s
        self._meter = meter
        self._turns = turns
        self._ready_at = 0.0

    def begin(self, now: float) -> list[Command]:
        """The session begins."""
        return [] if self._session_s is None else [SetTimer(Timer.SESSION, now + self._session_s)]

    def ready(self, now: float) -> list[Command]:
        """Gemini is ready: from now on somebody should speak or write."""
        self._ready_at = now
        return [] if self._idle_s is None else [SetTimer(Timer.IDLE, now + self._idle_s)]

    def leave(self, close: Close, now: float) -> list[Command]:
        """The session is to end like this: the turn in progress may end, and then the session does."""
        if self.close is not None:
            return []
        self.close = close
        return [SetTimer(Timer.GRACE, now + self._grace_s)]

    def concluded(self) -> list[Command]:
        """After every event: the end, if one is due and no turn is in progress any more."""
        return [End(self.close)] if self.close is not None and self._turns.idle else []

    def timer(self, timer: Timer, now: float) -> list[Command]:
        """The grace or the session's length is over, or it is time to look whether somebody is there."""
        match timer:
            case Timer.SESSION:
                return [End(Close(CloseReason.SESSION_TOO_LONG))]
            case Timer.IDLE:
                return self._look(now)
            case _:
                return [End(self.close)] if self.close is not None else []

    def _look(self, now: float) -> list[Command]:
        lively_at = self._meter.lively_at if self._meter.lively_at is not None else self._ready_at
        if self._idle_s is None:
            return []
        ends_at = lively_at + self._idle_s
        return [SetTimer(Timer.IDLE, ends_at)] if now < ends_at else [End(Close(CloseReason.IDLE))]
