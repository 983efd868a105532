"""Legs that fall silent, or take no more: when that is noticed, and when it is nobody's fault."""

from relay.core.closing import Close, CloseReason
from relay.core.commands import CancelTimer, CloseLeg, End, OpenUpstream, Send, SetTimer
from relay.core.events import Closed, Event, Opened, Stuck, Timer, TimerFired
from relay.core.handover import Cause
from relay.core.session import Session
from tests.core.playbook import (
    AT_REST,
    Playbook,
    Wait,
    at_rest,
    awaiting,
    client,
    compact,
    content,
    gemini,
    handed_over,
    issued,
    microphone,
    policy,
    pretty,
    relaying,
    resume,
    setup_complete,
    spoken,
    tool_answer,
    tool_call,
    turn_complete,
)


def play(session: Session, *events: Event, now: float = AT_REST) -> Session:
    """The session after these events."""
    for event in events:
        session.handle(event, now)
    return session


def with_two_handles() -> Session:
    """A session at rest with `h2`, and `h1` to go back to, which lacks one message."""
    session = play(at_rest(), client(microphone(1)))
    return play(session, gemini(issued("h2")), now=AT_REST + 1.0)


# The stall watchdog --------------------------------------------------------------------------------------------------


def test_a_gemini_that_owes_an_answer_and_says_nothing_is_left() -> None:
    """After 20 s of silence, whatever was said before it; the timer that ran for an earlier question is set anew."""
    assert (
        Playbook(at_rest(), AT_REST)
        >> client(spoken("x"))
        << Send(1, spoken("x"), text=True)
        >> Wait(5.0)
        >> gemini(pretty({"serverContent": {"inputTranscription": {"text": "x"}}}))
        << Send(0, pretty({"serverContent": {"inputTranscription": {"text": "x"}}}), text=False)
        >> Wait(15.0)
        >> TimerFired(Timer.STALL)
        << SetTimer(Timer.STALL, AT_REST + 25.0)
        >> Wait(5.0)
        >> TimerFired(Timer.STALL)
        << CancelTimer(Timer.STALL)
        << SetTimer(Timer.CONNECT, AT_REST + 25.0 + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1006, "")
        << OpenUpstream(2)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, spoken("x"), text=True)
        << handed_over(Cause.STALLED, replayed=1)
        << SetTimer(Timer.STALL, AT_REST + 25.0 + 20.0)
    )


def test_a_gemini_that_owes_nothing_may_be_silent() -> None:
    """A microphone alone demands no answer, nor does anything after the turn is complete."""
    session = play(at_rest(), client(spoken("x")))
    assert (
        Playbook(session, AT_REST)
        >> gemini(content("so"))
        << Send(0, content("so"), text=False)
        >> gemini(turn_complete())
        << Send(0, turn_complete(), text=False)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> Wait(100.0)
        >> TimerFired(Timer.STALL)
        << None
    )


def test_a_gemini_that_waits_for_a_function_is_not_stalled() -> None:
    """It is the client's move, for as long as that takes; with the answer it is Gemini's again."""
    session = play(at_rest(), client(spoken("x")), gemini(tool_call("fc_1")))
    assert (
        Playbook(session, AT_REST)
        >> Wait(100.0)
        >> TimerFired(Timer.STALL)
        << None
        >> client(tool_answer("fc_1"))
        << Send(1, tool_answer("fc_1"), text=True)
        << SetTimer(Timer.STALL, AT_REST + 120.0)
    )


def test_a_result_that_asks_for_silence_demands_no_answer() -> None:
    """Nor does one that is to be continued."""
    for more in ({"scheduling": "SILENT"}, {"willContinue": True}):
        session = play(at_rest(), gemini(tool_call("fc_1")))
        result = compact({"toolResponse": {"functionResponses": [{"id": "fc_1", "response": {}, **more}]}})
        assert Playbook(session) >> client(result) << Send(1, result, text=True) >> TimerFired(Timer.STALL) << None


def test_a_model_that_may_choose_to_be_silent_is_not_stalled() -> None:
    """With proactivity there is no answer that is surely owed."""
    asked = compact({"setup": {"proactivity": {"proactiveAudio": True}}})
    session = relaying(awaiting(policy("proactivity.proactiveAudio")), asked)
    assert session.handle(client(spoken("x")), 1.0) == [Send(1, spoken("x"), text=True)]


def test_a_state_that_hears_and_never_speaks_is_given_up() -> None:
    """The next leg from the same handle is silent as well: its handle is blamed, then everything; then it is over."""
    now, leg = AT_REST + 1.0, 1
    session = play(with_two_handles(), client(spoken("x")), now=now)
    for handle in ("h2", "h1", ""):
        now += 20.0
        play(session, TimerFired(Timer.STALL), Closed(leg, 1006, ""), now=now)
        leg += 1
        assert Playbook(session, now) >> Opened(leg) << Send(leg, resume(handle), text=True)
        play(session, gemini(setup_complete(), leg=leg), now=now)
    commands = session.handle(TimerFired(Timer.STALL), now + 20.0)
    assert commands[-1] == End(Close(CloseReason.UPSTREAM_SILENT))


def test_a_leg_that_takes_no_data_is_left() -> None:
    """In the conversation that is a handover, while resuming a failed attempt."""
    assert (
        Playbook(at_rest(), AT_REST)
        >> Stuck(1)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1006, "")
        << OpenUpstream(2)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> Stuck(2)
        << CloseLeg(2, 1000, "")
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
    )
