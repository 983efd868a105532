"""Planned handovers wait for a point at which a resume restores everything."""

from typing import Any

from relay.core.commands import CancelTimer, CloseLeg, OpenUpstream, Send, SetTimer
from relay.core.events import DOWNSTREAM, Closed, Opened, Timer, TimerFired
from relay.core.handover import Cause, Continuity, Outcome
from relay.core.limits import Limits
from tests.core.playbook import (
    AT_REST,
    Playbook,
    Wait,
    at_rest,
    audio_out,
    awaiting,
    client,
    compact,
    content,
    gemini,
    go_away,
    handed_over,
    issued,
    microphone,
    relaying,
    resume,
    setup_complete,
    spoken,
    tool_answer,
    tool_call,
    turn_complete,
)


def limits(**continuity: Any) -> Limits:
    """Limits without rotation, unless it is asked for."""
    return Limits(continuity=Continuity(**{"rotate_after_s": None, **continuity}))


def resting(**continuity: Any) -> Playbook:
    """A playbook that begins at a safe point."""
    return Playbook(at_rest(awaiting(limits=limits(**continuity))), AT_REST)


def planned(outcome: Outcome = Outcome.RESTORED, **fields: Any) -> Any:
    """The record of a handover because of a goAway."""
    return handed_over(Cause.GO_AWAY, outcome, planned=True, **fields)


# Safe points ---------------------------------------------------------------------------------------------------------


def test_the_turn_is_waited_for() -> None:
    """Nothing happens between a question and the end of its answer; then the handle that covers both comes."""
    assert (
        resting()
        >> client(spoken("x"))
        << Send(1, spoken("x"), text=True)
        >> Wait(1.0)
        >> gemini(go_away())
        << SetTimer(Timer.DEADLINE, AT_REST + 1.0 + 42.5)
        >> gemini(content("answer 2"))
        << Send(DOWNSTREAM, content("answer 2"), text=False)
        >> gemini(issued("too early"))
        << None
        >> Wait(1.0)
        >> gemini(turn_complete())
        << Send(DOWNSTREAM, turn_complete(), text=False)
        >> gemini(issued("h2"))
        << OpenUpstream(2)
        >> Opened(2)
        << CancelTimer(Timer.DEADLINE)
        << SetTimer(Timer.CONNECT, AT_REST + 2.0 + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1000, "")
        << Send(2, resume("h2"), text=True)
    )


def test_the_playout_is_waited_for() -> None:
    """What was spoken faster than it plays is presumably still being played."""
    speech = audio_out(8.0)
    assert (
        resting()
        >> gemini(speech)
        << Send(DOWNSTREAM, speech, text=False)
        >> gemini(turn_complete())
        << Send(DOWNSTREAM, turn_complete(), text=False)
        >> gemini(issued("h2"))
        << None
        >> gemini(go_away())
        << SetTimer(Timer.SAFE_POINT, AT_REST + 8.0)
        >> Wait(8.0)
        >> TimerFired(Timer.SAFE_POINT)
        << OpenUpstream(2)
    )


def test_an_open_call_is_waited_for() -> None:
    """A goAway in the middle of a tool call: the answer goes to the leg that asked, and its handle is awaited."""
    assert (
        resting()
        >> gemini(tool_call("fc_1"))
        << Send(DOWNSTREAM, tool_call("fc_1"), text=False)
        >> gemini(go_away())
        << None
        >> gemini(issued("knows no fc_1"))
        << None
        >> Wait(1.0)
        >> client(tool_answer("fc_1"))
        << Send(1, tool_answer("fc_1"), text=True)
        >> gemini(content("so"))
        << Send(DOWNSTREAM, content("so"), text=False)
        >> Wait(1.0)
        >> gemini(turn_complete())
        << Send(DOWNSTREAM, turn_complete(), text=False)
        >> gemini(issued("h2"))
        << OpenUpstream(2)
    )


def test_the_client_s_marked_turn_is_waited_for() -> None:
    """With manual activity detection nobody is cut in mid-sentence."""
    start, end = compact({"realtimeInput": {"activityStart": {}}}), compact({"realtimeInput": {"activityEnd": {}}})
    assert (
        Playbook(at_rest(awaiting(limits=limits())), AT_REST)
        >> client(start)
        << Send(1, start, text=True)
        >> gemini(go_away())
        >> gemini(issued("in mid-sentence"))
        << None
        >> client(end)
        << Send(1, end, text=True)
        >> gemini(content("so"))
        << Send(DOWNSTREAM, content("so"), text=False)
        >> Wait(1.0)
        >> gemini(turn_complete())
        << Send(DOWNSTREAM, turn_complete(), text=False)
        >> gemini(issued("h2"))
        << OpenUpstream(2)
    )


def test_a_handle_that_leaves_something_in_doubt_is_not_enough() -> None:
    """What was under way when it was issued may be in its state or not; the next handle settles it."""
    assert (
        resting()
        >> gemini(go_away("50s"))
        << OpenUpstream(2)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> Wait(0.125)
        >> gemini(issued("h2"))
        << None
        >> Opened(2)
        << None
        >> Wait(0.25)
        >> gemini(issued("h3"))
        << SetTimer(Timer.CONNECT, AT_REST + 0.375 + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1000, "")
        << Send(2, resume("h3"), text=True)
    )


def test_a_question_that_was_answered_since_the_handle_makes_it_stale() -> None:
    """Gemini would forget both, so the next handle is awaited."""
    assert (
        resting()
        >> client(spoken("x"))
        << Send(1, spoken("x"), text=True)
        >> gemini(content("answer 2"))
        << Send(DOWNSTREAM, content("answer 2"), text=False)
        >> gemini(turn_complete())
        << Send(DOWNSTREAM, turn_complete(), text=False)
        >> gemini(go_away())
        << None
    )


def test_a_session_without_any_handle_waits_for_one() -> None:
    """It could only be begun anew."""
    assert Playbook(relaying()) >> gemini(go_away()) << None >> Wait(2.0) >> gemini(issued("h1")) << OpenUpstream(2)


def test_what_the_handle_does_not_cover_is_said_again() -> None:
    """A message since the handle is no obstacle where it certainly is not in the handle's state."""
    assert (
        resting()
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> client(microphone(2))
        << None
        >> Closed(1, 1000, "")
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << Send(2, microphone(2), text=True)
        << planned(frames_held=1, replayed=1)
    )


def test_with_an_index_nothing_is_ever_in_doubt() -> None:
    """Vertex tells how far a handle reaches: exactly what it lacks is said again."""
    transparent = resume("h2").replace(b'"handle":"h2"', b'"handle":"h2","transparent":true')
    assert (
        resting(transparent=True)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> client(microphone(2))
        << Send(1, microphone(2), text=True)
        >> gemini(issued("h2", consumed=2))
        << None
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1000, "")
        << Send(2, transparent, text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(2), text=True)
        << planned(replayed=1)
    )
