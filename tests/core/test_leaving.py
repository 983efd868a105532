"""The ends that a session comes to in its own time, and how it takes leave."""

from relay.core.budget import Quotas
from relay.core.closing import Close, CloseReason
from relay.core.commands import End, SetTimer
from relay.core.events import Timer
from relay.core.leaving import Leaving
from relay.core.limits import Limits
from relay.core.meter import Meter
from relay.core.turns import Turns

SPENT = Close(CloseReason.BUDGET_SPENT, "tokens of this day")
OTHER = Close(CloseReason.BUDGET_SPENT, "money of this month")


class Opened:
    """What a session leaves by, and what that works with."""

    def __init__(self, **quotas: float) -> None:
        self.meter = Meter()
        self.turns = Turns()
        self.leaving = Leaving(Limits(quotas=Quotas(**quotas)), self.meter, self.turns)  # type: ignore[arg-type]


def test_a_spent_budget_ends_the_session_when_nobody_has_the_turn() -> None:
    """At once between turns; after the answer in the middle of one; told once, it is not told again."""
    opened = Opened(grace_s=5)
    leaving = opened.leaving
    assert leaving.concluded() == []
    opened.turns.speaking = True
    assert leaving.leave(SPENT, 110.0) == [SetTimer(Timer.GRACE, 115.0)]
    assert leaving.concluded() == []
    assert leaving.leave(OTHER, 111.0) == []
    opened.turns.speaking = False
    assert leaving.concluded() == [End(SPENT)]


def test_a_turn_that_does_not_end_is_cut_when_the_grace_is_over() -> None:
    """Whatever it is doing."""
    opened = Opened(grace_s=5)
    opened.turns.speaking = True
    opened.leaving.leave(SPENT, 110.0)
    assert opened.leaving.timer(Timer.GRACE, 115.0) == [End(SPENT)]


def test_a_forgotten_microphone_ends_the_session() -> None:
    """So long after anybody last spoke or wrote, and not before; sound alone keeps nothing alive."""
    opened = Opened(idle_s=60)
    assert opened.leaving.ready(110.0) == [SetTimer(Timer.IDLE, 170.0)]
    opened.meter.lively_at = 150.0
    assert opened.leaving.timer(Timer.IDLE, 170.0) == [SetTimer(Timer.IDLE, 210.0)]
    assert opened.leaving.timer(Timer.IDLE, 210.0) == [End(Close(CloseReason.IDLE))]


def test_a_session_in_which_nobody_ever_spoke_is_idle_from_its_beginning() -> None:
    """Counted from when Gemini was ready; without the quota nothing is timed."""
    opened = Opened(idle_s=60)
    opened.leaving.ready(110.0)
    assert opened.leaving.timer(Timer.IDLE, 170.0) == [End(Close(CloseReason.IDLE))]
    assert Opened().leaving.ready(110.0) == []


def test_a_session_may_have_a_length() -> None:
    """From its beginning; none is set unless an operator sets it."""
    limits = Limits(session_s=30)
    leaving = Leaving(limits, Meter(), Turns())
    assert leaving.begin(100.0) == [SetTimer(Timer.SESSION, 130.0)]
    assert leaving.timer(Timer.SESSION, 130.0) == [End(Close(CloseReason.SESSION_TOO_LONG))]
    assert Opened().leaving.begin(100.0) == []
