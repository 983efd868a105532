"""The watch over a Gemini that owes an answer."""

from relay.core.client_frames import ClientFrame
from relay.core.commands import SetTimer
from relay.core.events import Timer
from relay.core.memory import Shared
from relay.core.watch import Watch
from tests.core.playbook import shared


def asked(now: float) -> Shared:
    """A session whose client has just asked something."""
    around = shared()
    around.turns.from_client(ClientFrame("realtimeInput", {"text": "x"}), now)
    return around


def test_nothing_is_watched_while_nothing_is_owed() -> None:
    """No timer is set for it."""
    assert Watch(20.0, shared()).begin({}, 1.0) == []


def test_there_is_one_timer_however_much_is_said() -> None:
    """It looks when it is due, and is set again for as long as Gemini still has."""
    around = asked(1.0)
    watch = Watch(20.0, around)
    assert watch.begin({}, 1.0) == [SetTimer(Timer.STALL, 21.0)]
    assert watch.begin({}, 2.0) == []
    around.turns.heard_at = 11.0
    assert watch.look(21.0) == [SetTimer(Timer.STALL, 31.0)]
    assert watch.begin({}, 22.0) == []
    assert watch.look(31.0) is None


def test_an_answer_ends_the_watch() -> None:
    """The timer fires once for nothing, and the next question sets it again."""
    around = asked(1.0)
    watch = Watch(20.0, around)
    watch.begin({}, 1.0)
    around.turns.owed = False
    assert watch.look(21.0) == []
    around.turns.owed = True
    assert watch.begin({}, 30.0) == [SetTimer(Timer.STALL, 50.0)]


def test_a_new_leg_is_watched_anew() -> None:
    """The timer was cancelled with the old one."""
    watch = Watch(20.0, asked(1.0))
    watch.begin({}, 1.0)
    watch.end()
    assert watch.begin({}, 5.0) == [SetTimer(Timer.STALL, 25.0)]


def test_a_model_that_may_stay_silent_is_not_watched() -> None:
    """With proactivity in its setup nothing follows from silence."""
    assert Watch(20.0, asked(1.0)).begin({"proactivity": {}}, 1.0) == []
