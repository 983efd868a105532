"""Client messages that wait for a handle: when, for how long, and what becomes of them."""

from typing import Any

from relay.core.commands import CancelTimer, CloseLeg, OpenUpstream, Send, SetTimer
from relay.core.events import DOWNSTREAM, Closed, Opened, Timer, TimerFired
from relay.core.handover import Cause, Outcome
from relay.core.limits import Limits
from relay.core.planning import QUIET_S
from relay.core.session import Session
from tests.core.playbook import (
    AT_REST,
    CALM,
    Playbook,
    Wait,
    at_rest,
    audio_out,
    awaiting,
    client,
    content,
    gemini,
    generated,
    go_away,
    handed_over,
    issued,
    microphone,
    resume,
    setup_complete,
    spoken,
    turn_complete,
)


def planned(outcome: Outcome = Outcome.RESTORED, **fields: Any) -> Any:
    """The record of a handover because of a goAway."""
    return handed_over(Cause.GO_AWAY, outcome, planned=True, **fields)


def answering(*said: bytes) -> Session:
    """A session in the middle of the answer to a second question, which `h1` does not know."""
    session = at_rest()
    session.handle(client(spoken("x")), AT_REST)
    for words in said or (content("well"),):
        session.handle(gemini(words), AT_REST)
    return session


# Waiting for a handle ------------------------------------------------------------------------------------------------


def test_client_messages_wait_for_the_handle_at_the_end_of_a_turn() -> None:
    """Where it tells no index, only a handle that comes while nothing is under way covers everything for sure: so
    when the turn is about to end the microphone waits, for less than a second."""
    speech = audio_out(4.0)
    at = AT_REST + 4.0 - 0.22
    session = answering(speech, generated())
    assert (
        Playbook(session, AT_REST)
        >> gemini(go_away())
        << SetTimer(Timer.QUIET, at)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> Wait(at - AT_REST)
        >> TimerFired(Timer.QUIET)
        << SetTimer(Timer.QUIET, at + 0.22 + QUIET_S)
        >> client(microphone(2))
        << None
        >> Wait(0.25)  # about the round trip
        >> gemini(turn_complete())
        << Send(DOWNSTREAM, turn_complete(), text=False)
        >> gemini(issued("h2"))
        << OpenUpstream(2)
        >> Opened(2)
        << CancelTimer(Timer.QUIET)
        << SetTimer(Timer.CONNECT, at + 0.25 + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1000, "")
        << Send(2, resume("h2"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(2), text=True)
        << planned(stall_s=0.25, frames_held=1)
    )


def test_a_handle_that_does_not_come_is_not_waited_for_long() -> None:
    """What waited is sent on the old leg, in order."""
    session = answering(audio_out(4.0), generated())
    session.handle(gemini(go_away()), AT_REST)
    assert (
        Playbook(session, AT_REST + 4.0)
        >> TimerFired(Timer.QUIET)
        << SetTimer(Timer.QUIET, AT_REST + 4.0 + 0.22 + QUIET_S)
        >> client(microphone(1))
        >> client(microphone(2))
        << None
        >> TimerFired(Timer.QUIET)
        << CancelTimer(Timer.QUIET)
        << Send(1, microphone(1), text=True)
        << Send(1, microphone(2), text=True)
        >> client(microphone(3))
        << Send(1, microphone(3), text=True)
    )


def test_more_than_can_wait_for_a_handle_does_not_wait() -> None:
    """The leg is still there: it is used, rather than the session ended."""
    session = at_rest(awaiting(limits=Limits(held_bytes=len(microphone(1)), continuity=CALM.continuity)))
    session.handle(gemini(audio_out(4.0)), AT_REST)
    session.handle(gemini(generated()), AT_REST)
    session.handle(gemini(go_away()), AT_REST)
    session.handle(TimerFired(Timer.QUIET), AT_REST)
    assert (
        Playbook(session, AT_REST)
        >> client(microphone(1))
        << None
        >> client(microphone(2))
        << CancelTimer(Timer.QUIET)
        << Send(1, microphone(1), text=True)
        << Send(1, microphone(2), text=True)
    )


def test_handles_that_come_by_a_clock_are_foretold() -> None:
    """Some models issue one every two seconds: the microphone waits from shortly before the next one."""
    session = at_rest()
    session.handle(gemini(issued("h2")), 6.0)
    session.handle(client(microphone(1)), 7.9)
    session.handle(gemini(issued("h3")), 8.0)
    assert Playbook(session, 8.0) >> gemini(go_away()) << SetTimer(Timer.QUIET, 10.0 - 0.22)
