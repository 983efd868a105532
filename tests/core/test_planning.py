"""Planned handovers: what is waited for, and how long."""

import pytest

from relay.core.client_frames import ClientFrame
from relay.core.commands import SetTimer
from relay.core.events import Timer
from relay.core.handover import Cause, Continuity
from relay.core.journal import Outgoing, Sort
from relay.core.memory import Memory
from relay.core.planning import QUIET_S, Planning
from relay.core.secret import Secret
from relay.core.server_frames import Resumption, server_frame
from tests.core.playbook import audio_out, generated, shared


class Scene:
    """Planning with everything around it, at a safe point; times in seconds."""

    def __init__(self, continuity: Continuity | None = None) -> None:
        continuity = continuity or Continuity()
        self.shared = shared()
        self.memory = Memory(continuity, self.shared)
        self.planning = Planning(continuity, self.shared, self.memory)
        self.memory.take_handle(Resumption(Secret("h1"), True), 1, 0.2, 0.0)

    def hear(self, message: bytes, now: float) -> None:
        """Gemini says something."""
        frame = server_frame(message)
        assert frame is not None
        self.shared.turns.from_gemini(frame, now)


def test_a_handover_without_a_deadline_sets_no_timer() -> None:
    """A rotation can wait."""
    planning = Scene().planning
    assert planning.want(Cause.ROTATION, None, 1.0) == []
    assert (planning.due, planning.forced) == (Cause.ROTATION, False)
    assert planning.may_cross(1.0) is None


def test_the_deadline_leaves_a_margin() -> None:
    """Or half of the time, where there is less of it; with none it can't wait at all."""
    planning = Scene(Continuity(margin_s=5.0)).planning
    assert planning.want(Cause.GO_AWAY, 50.0, 1.0) == [SetTimer(Timer.DEADLINE, 46.0 - 2.5)]
    assert planning.want(Cause.GO_AWAY, 6.0, 1.0) == [SetTimer(Timer.DEADLINE, 4.0 - 0.75)]
    assert not planning.forced
    assert planning.want(Cause.GO_AWAY, 0.0, 1.0) == [SetTimer(Timer.DEADLINE, 1.0)]
    assert planning.forced


def test_a_point_is_safe_when_a_resume_restores_everything() -> None:
    """Each thing alone makes it unsafe, until it is forced."""
    question = ClientFrame("realtimeInput", {"text": "x"})

    def without_a_handle(scene: Scene) -> None:
        scene.memory.resumption.discard()

    def owing(scene: Scene) -> None:
        scene.shared.turns.from_client(question, 1.0)

    def in_a_call(scene: Scene) -> None:
        scene.shared.conversation.called(["fc_1"])

    def with_a_doubt(scene: Scene) -> None:
        scene.memory.forward(Outgoing(b"x", Sort.CONTROL), 1, 0.9)
        scene.memory.take_handle(Resumption(Secret("h2"), True), 1, 0.2, 1.0)

    def stale(scene: Scene) -> None:
        scene.memory.forward(Outgoing(b"x", Sort.CONTROL), 1, 0.9)
        scene.memory.journal.settle(1.0)

    for upset in (without_a_handle, owing, in_a_call, with_a_doubt, stale):
        scene = Scene()
        upset(scene)
        assert scene.planning.may_cross(2.0) == [], upset.__name__
        scene.planning.forced = True
        assert scene.planning.may_cross(2.0) is None


def test_what_is_being_played_is_waited_for() -> None:
    """By a timer, since no message may come when it is over."""
    scene = Scene()
    scene.shared.turns.plays_until = 8.0
    assert scene.planning.may_cross(2.0) == [SetTimer(Timer.SAFE_POINT, 8.0)]
    assert scene.planning.may_cross(8.0) is None


def test_the_end_of_a_turn_can_be_foretold() -> None:
    """Gemini ends it when the speech has presumably been played; shortly before, what the client says waits."""
    scene = Scene()
    scene.planning.round_trip_s = 0.09
    scene.hear(audio_out(4.0), 1.0)
    assert scene.planning.want(Cause.ROTATION, None, 1.0) == []
    scene.hear(generated(), 1.0)
    assert scene.planning.expect_handle(1.0) == [SetTimer(Timer.QUIET, 5.0 - 0.2)]
    assert scene.planning.quiet(4.8) == [SetTimer(Timer.QUIET, 4.8 + 0.2 + QUIET_S)]
    assert scene.planning.expect_handle(4.9) == []


def test_handles_that_come_by_a_clock_can_be_foretold() -> None:
    """Two of them tell the interval; too long an interval tells nothing."""
    scene = Scene()
    scene.planning.round_trip_s = 0.09
    scene.planning.want(Cause.ROTATION, None, 1.0)
    assert scene.planning.handle_came(2.0) == []
    assert scene.planning.handle_came(4.0) == [SetTimer(Timer.QUIET, 6.0 - 0.2)]
    assert scene.planning.handle_came(40.0) == []


def test_a_slow_gemini_is_given_more_silence() -> None:
    """As much as its pongs take, up to a second: beyond that they tell only of themselves."""
    scene = Scene()
    for took_s, in_flight_s in ((0.05, 0.2), (0.4, 0.4), (9.0, 1.0)):
        scene.memory.ping(1, 10.0)
        scene.memory.ponged(10.0 + took_s)
        scene.planning.round_trip_s = 0.09
        assert scene.planning.in_flight_s(20.0) == pytest.approx(in_flight_s)


def test_time_is_up_but_a_handle_is_worth_a_moment_more() -> None:
    """Where nothing is in progress and only the handle of the last turn is missing, in the last part of the wait."""
    scene = Scene()
    scene.planning.want(Cause.GO_AWAY, 50.0, 1.0)
    scene.memory.forward(Outgoing(b"question", Sort.CONTROL), 1, 2.0)
    scene.memory.journal.settle(3.0)
    assert scene.planning.deadline(43.5) == [SetTimer(Timer.DEADLINE, 46.0)]
    assert scene.planning.may_cross(45.0) == []
    assert scene.planning.may_cross(46.0) is None
    scene.memory.take_handle(Resumption(Secret("h2"), True), 1, 0.2, 45.0)
    assert scene.planning.may_cross(45.0) is None


def test_time_is_up_while_an_answer_only_plays() -> None:
    """All of it was generated: its end and its handle come any moment, and a cut would lose the question."""
    scene = Scene()
    scene.planning.want(Cause.GO_AWAY, 50.0, 1.0)
    scene.hear(audio_out(3.0), 44.0)
    scene.hear(generated(), 44.5)
    assert scene.planning.deadline(43.5) == [SetTimer(Timer.DEADLINE, 46.0)]
    assert scene.planning.may_cross(45.0) == []
    assert scene.planning.may_cross(46.0) is None


def test_with_an_index_nobody_has_to_wait_for_a_handle() -> None:
    """The next one tells what it covers anyway."""
    scene = Scene(Continuity(transparent=True))
    scene.planning.want(Cause.ROTATION, None, 1.0)
    scene.planning.handle_came(2.0)
    assert scene.planning.handle_came(4.0) == []


def test_a_leg_that_is_left_takes_its_plans_with_it() -> None:
    """The next one is planned for anew."""
    planning = Scene().planning
    planning.want(Cause.GO_AWAY, 0.0, 1.0)
    planning.quiet(1.0)
    planning.clear()
    assert (planning.due, planning.forced, planning.quiet_since) == (None, False, None)
