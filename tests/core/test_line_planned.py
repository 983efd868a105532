"""Planned handovers: in each order, at safe points, forced by time, and whatever Gemini does meanwhile."""

from typing import Any

from relay.core.commands import CancelTimer, CloseLeg, OpenUpstream, Send, SetTimer
from relay.core.events import DOWNSTREAM, Closed, Opened, Timer, TimerFired
from relay.core.handover import Cause, Continuity, Order, Outcome
from relay.core.limits import Limits
from tests.core.playbook import (
    AT_REST,
    Playbook,
    Wait,
    at_rest,
    awaiting,
    client,
    content,
    gemini,
    go_away,
    handed_over,
    issued,
    microphone,
    pretty,
    resume,
    setup_complete,
    spoken,
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


# The three orders ----------------------------------------------------------------------------------------------------


def test_the_new_leg_is_dialled_before_the_old_one_is_closed() -> None:
    """By default: upgrade, close, wait for the close, set up; what the client says from the close on waits."""
    assert (
        resting()
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Wait(0.5)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 0.5 + 15.0)
        << CloseLeg(1, 1000, "")
        << SetTimer(Timer.CLOSING, AT_REST + 0.5 + 1.0)
        >> client(microphone(1))
        << None
        >> Closed(1, 1000, "")
        << CancelTimer(Timer.CLOSING)
        << Send(2, resume("h1"), text=True)
        >> client(microphone(2))
        << None
        >> Wait(0.125)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << Send(2, microphone(2), text=True)
        << planned(stall_s=0.125, frames_held=2)
        >> client(spoken("next"))
        << Send(2, spoken("next"), text=True)
    )


def test_the_old_leg_may_be_closed_first() -> None:
    """Close, wait for the close, dial, set up: the client waits for the dial too."""
    assert (
        resting(order=Order.CLOSE_FIRST)
        >> gemini(go_away())
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> client(microphone(1))
        << None
        >> Closed(1, 1000, "")
        << OpenUpstream(2)
        >> Wait(0.25)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> Wait(0.25)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << planned(stall_s=0.5, frames_held=1)
    )


def test_the_old_leg_may_be_closed_while_the_new_one_is_set_up() -> None:
    """Overlap does not wait for the close, where Gemini allows that."""
    assert (
        resting(order=Order.OVERLAP)
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        << Send(2, resume("h1"), text=True)
        >> Closed(1, 1000, "")
        << None
        >> client(microphone(1))
        << None
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << planned(frames_held=1)
    )


def test_in_an_overlap_the_old_leg_has_the_first_word() -> None:
    """What the new leg is to be told waits until the old one is closed, since that one may still speak."""
    assert (
        resting(order=Order.OVERLAP)
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << None
        >> gemini(pretty({"serverContent": {"inputTranscription": {"text": "late"}}}))
        << Send(DOWNSTREAM, pretty({"serverContent": {"inputTranscription": {"text": "late"}}}), text=False)
        >> Closed(1, 1000, "")
        << CancelTimer(Timer.CONNECT)
        << planned()
    )


def test_a_gemini_that_does_not_close_is_not_waited_for_long() -> None:
    """After a second the new leg is set up all the same, and what the old one still says is not heard."""
    assert (
        resting()
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        << SetTimer(Timer.CLOSING, AT_REST + 1.0)
        >> Wait(1.0)
        >> TimerFired(Timer.CLOSING)
        << Send(2, resume("h1"), text=True)
        >> gemini(content("late"))
        << None
        >> Closed(1, 1006, "")
        << None
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << planned(stall_s=1.0)
    )


def test_what_the_old_leg_says_while_it_closes_is_heard() -> None:
    """Its last words reach the client, its last handle is the one to resume from."""
    words = pretty({"serverContent": {"inputTranscription": {"text": "late"}}})
    assert (
        resting()
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> gemini(words)
        << Send(DOWNSTREAM, words, text=False)
        >> gemini(issued("h2"))
        << None
        >> Closed(1, 1000, "")
        << Send(2, resume("h2"), text=True)
    )


# Why -----------------------------------------------------------------------------------------------------------------


def test_a_leg_is_rotated_before_gemini_ends_it() -> None:
    """At its age, at a safe point; the next leg's age begins anew."""
    assert (
        Playbook(at_rest(awaiting(limits=limits(rotate_after_s=510.0))), 510.0)
        >> TimerFired(Timer.ROTATE)
        << OpenUpstream(2)
        >> Opened(2)
        << CancelTimer(Timer.ROTATE)
        << SetTimer(Timer.CONNECT, 525.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1000, "")
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << SetTimer(Timer.ROTATE, 1020.0)
        << handed_over(Cause.ROTATION, planned=True)
    )


def test_a_rotation_has_no_deadline_until_gemini_sets_one() -> None:
    """In the middle of a turn it waits for as long as that takes; a goAway changes the cause."""
    assert (
        resting(rotate_after_s=510.0)
        >> client(spoken("x"))
        << Send(1, spoken("x"), text=True)
        >> TimerFired(Timer.ROTATE)
        << None
        >> gemini(go_away("50s"))
        << SetTimer(Timer.DEADLINE, AT_REST + 42.5)
        >> TimerFired(Timer.ROTATE)
        << None
        >> TimerFired(Timer.DEADLINE)
        << OpenUpstream(2)
    )
