"""Handovers that fail: dead handles, refused replays, reasons that no dial can mend, and how long it is tried."""

import pytest

from relay.core.closing import Close, CloseReason
from relay.core.commands import CancelTimer, CloseLeg, End, OpenUpstream, Send, SetTimer, UpstreamSaid
from relay.core.dialling import Pace
from relay.core.events import Closed, DialFailed, Event, Opened, Timer, TimerFired
from relay.core.handover import Cause, Outcome
from relay.core.limits import Limits
from relay.core.session import Session
from tests.core.playbook import (
    AT_REST,
    CALM,
    Playbook,
    Wait,
    at_rest,
    awaiting,
    client,
    content,
    gemini,
    handed_over,
    issued,
    microphone,
    resume,
    setup_complete,
    spoken,
    turn_complete,
)

DEAD = (1008, "BidiGenerateContent session not found")


def play(session: Session, *events: Event, now: float = AT_REST) -> Session:
    """The session after these events."""
    for event in events:
        session.handle(event, now)
    return session


def resuming(session: Session | None = None, leg: int = 1) -> Session:
    """The session after its leg was cut and the next one has got its setup."""
    session = session or at_rest()
    return play(session, Closed(leg, 1006, ""), TimerFired(Timer.REDIAL), Opened(leg + 1))


def with_two_handles() -> Session:
    """A session at rest with `h2`, and `h1` to go back to, which lacks one message."""
    session = play(at_rest(), client(microphone(1)))
    return play(session, gemini(issued("h2")), now=AT_REST + 1.0)


# Dead handles --------------------------------------------------------------------------------------------------------


def test_a_dead_handle_costs_one_roll_back_and_one_fresh_session() -> None:
    """What the older handle lacks is counted as dropped; the third refusal ends the session."""
    assert (
        Playbook(resuming(with_two_handles()), AT_REST)
        >> Closed(2, *DEAD)
        << UpstreamSaid(*DEAD)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(3)
        >> Opened(3)
        << Send(3, resume("h1"), text=True)
        >> Closed(3, *DEAD)
        << UpstreamSaid(*DEAD)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(4)
        >> Opened(4)
        << Send(4, resume(), text=True)
        >> Closed(4, *DEAD)
        << UpstreamSaid(*DEAD)
        << handed_over(Cause.LOST, Outcome.FAILED, dropped=2, dials=3)
        << End(Close(CloseReason.UPSTREAM_HANDLE_REFUSED))
    )


def test_an_older_handle_restores_what_it_can() -> None:
    """Rolled back, and the lost message is counted."""
    session = play(resuming(with_two_handles()), Closed(2, *DEAD), TimerFired(Timer.REDIAL), Opened(3))
    assert (
        Playbook(session, AT_REST)
        >> gemini(setup_complete(), leg=3)
        << CancelTimer(Timer.CONNECT)
        << handed_over(Cause.LOST, Outcome.ROLLED_BACK, dropped=1, dials=2)
    )
    assert session.meter.frames_dropped_up == 1


def test_a_fresh_session_has_forgotten_everything() -> None:
    """All that the client ever said is counted, save what is said again; dead handles are never used again."""
    session = play(resuming(), Closed(2, *DEAD), TimerFired(Timer.REDIAL), Opened(3), client(microphone(1)))
    assert (
        Playbook(session, AT_REST)
        >> gemini(setup_complete(), leg=3)
        << CancelTimer(Timer.CONNECT)
        << Send(3, microphone(1), text=True)
        << handed_over(Cause.LOST, Outcome.FRESH, dropped=1, dials=2, frames_held=1)
        >> Closed(3, 1000, "")
        << UpstreamSaid(1000, "")
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(4)
        >> Opened(4)
        << Send(4, resume(), text=True)
    )


def test_a_handle_whose_leg_dies_again_and_again_is_dead() -> None:
    """Accepted, and broken right after it, twice: the state behind it is the reason."""
    broken = (1011, "Internal error encountered.")
    session = play(resuming(with_two_handles()), gemini(setup_complete(), leg=2), Closed(2, *broken))
    play(session, TimerFired(Timer.REDIAL), Opened(3), gemini(setup_complete(), leg=3), Closed(3, *broken))
    play(session, TimerFired(Timer.REDIAL))
    assert Playbook(session, AT_REST) >> Opened(4) << Send(4, resume("h1"), text=True)


@pytest.mark.parametrize("close", [(1006, ""), (1011, "The service is currently unavailable."), (1000, "")])
def test_a_bad_network_says_nothing_against_a_handle(close: tuple[int, str]) -> None:
    """Cut or overloaded, before the answer or soon after it, however often."""
    session = resuming(with_two_handles())
    for leg in (2, 3):
        play(session, Closed(leg, *close), TimerFired(Timer.REDIAL), Opened(leg + 1))
    play(session, gemini(setup_complete(), leg=4), Closed(4, *close), TimerFired(Timer.REDIAL))
    assert Playbook(session, AT_REST) >> Opened(5) << Send(5, resume("h2"), text=True)


def test_a_handle_that_proved_itself_is_not_blamed() -> None:
    """After a turn on the new leg its end is an end like any other."""
    broken = (1011, "Internal error encountered.")
    session = play(resuming(with_two_handles()), gemini(setup_complete(), leg=2))
    play(session, gemini(content("so"), leg=2), gemini(turn_complete(), leg=2), Closed(2, *broken))
    play(session, TimerFired(Timer.REDIAL), Opened(3), gemini(setup_complete(), leg=3), Closed(3, *broken))
    play(session, TimerFired(Timer.REDIAL))
    assert Playbook(session, AT_REST) >> Opened(4) << Send(4, resume("h2"), text=True)


# Refused replays -----------------------------------------------------------------------------------------------------


def test_a_refusal_right_after_a_replay_costs_the_audio() -> None:
    """1007 was seen where replayed audio was the reason: the next leg is told only the rest."""
    invalid = (1007, "Request contains an invalid argument.")
    session = resuming(play(at_rest(), client(microphone(1)), client(spoken("x"))))
    assert (
        Playbook(session, AT_REST)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << Send(2, spoken("x"), text=True)
        << handed_over(Cause.LOST, replayed=2)
        >> Wait(1.0)
        >> Closed(2, *invalid)
        << UpstreamSaid(*invalid)
        << SetTimer(Timer.CONNECT, AT_REST + 1.0 + 15.0)
        << SetTimer(Timer.REDIAL, AT_REST + 1.0 + 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(3)
        >> Opened(3)
        << Send(3, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=3)
        << CancelTimer(Timer.CONNECT)
        << Send(3, spoken("x"), text=True)
        << handed_over(Cause.FAILED, replayed=1, dropped=1)
    )


def test_refusals_right_after_replays_come_to_an_end() -> None:
    """Without the audio, from an older handle, fresh: then the reason is not the handle, and the session is over."""
    invalid = (1007, "Request contains an invalid argument.")
    session = resuming(with_two_handles())
    for leg in (2, 3, 4):
        play(session, gemini(setup_complete(), leg=leg), Closed(leg, *invalid))
        play(session, TimerFired(Timer.REDIAL), Opened(leg + 1))
    play(session, gemini(setup_complete(), leg=5))
    commands = session.handle(Closed(5, *invalid), AT_REST)
    assert commands[-1] == End(Close(CloseReason.UPSTREAM_SETUP_REFUSED))


def test_an_invalid_message_in_the_conversation_ends_it() -> None:
    """Long after any replay, 1007 is about what the client said."""
    invalid = (1007, "Request contains an invalid argument.")
    session = play(resuming(), gemini(setup_complete(), leg=2))
    assert (
        Playbook(session, AT_REST + 10.0)
        >> Closed(2, *invalid)
        << UpstreamSaid(*invalid)
        << End(Close(CloseReason.UPSTREAM_SETUP_REFUSED))
    )


# What no dial can mend -----------------------------------------------------------------------------------------------

HOPELESS = [
    (1011, "Your prepayment credits are depleted.", CloseReason.UPSTREAM_BILLING),
    (1011, "You exceeded your current quota, please check your plan", CloseReason.UPSTREAM_QUOTA),
    (1007, "API key not valid. Please pass a valid API key.", CloseReason.UPSTREAM_KEY_REFUSED),
    (1007, "User location is not supported for the API use.", CloseReason.UPSTREAM_REGION),
    (1008, "models/x is not found", CloseReason.UPSTREAM_MODEL_REFUSED),
]


@pytest.mark.parametrize(("code", "said", "reason"), HOPELESS)
def test_what_can_t_be_mended_is_not_retried(code: int, said: str, reason: CloseReason) -> None:
    """In the conversation, while resuming, and however often that failed before for better reasons."""
    assert Playbook(at_rest()) >> Closed(1, code, said) << UpstreamSaid(code, said) << End(Close(reason))
    assert (
        Playbook(resuming(), AT_REST)
        >> Closed(2, code, said)
        << UpstreamSaid(code, said)
        << handed_over(Cause.LOST, Outcome.FAILED)
        << End(Close(reason))
    )
    session = resuming()
    for leg in (2, 3):
        play(session, Closed(leg, 1011, "Internal error"), TimerFired(Timer.REDIAL), Opened(leg + 1))
    assert session.handle(Closed(4, code, said), AT_REST)[-1] == End(Close(reason))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, CloseReason.UPSTREAM_KEY_REFUSED),
        (404, CloseReason.UPSTREAM_MODEL_REFUSED),
        (429, CloseReason.UPSTREAM_QUOTA),
    ],
)
def test_a_refused_dial_ends_a_session_that_has_no_leg(status: int, reason: CloseReason) -> None:
    """What was told to nobody is counted."""
    session = play(at_rest(), client(microphone(1)), Closed(1, 1006, ""), client(microphone(2)))
    play(session, TimerFired(Timer.REDIAL))
    assert (
        Playbook(session, AT_REST)
        >> DialFailed(2, status)
        << handed_over(Cause.LOST, Outcome.FAILED, dropped=2, frames_held=1)
        << End(Close(reason))
    )
    assert session.meter.frames_dropped_up == 2


# How long and how often ----------------------------------------------------------------------------------------------


def test_an_unplanned_handover_has_a_deadline() -> None:
    """Then the session ends with the last thing that went wrong."""
    session = play(at_rest(), Closed(1, 1006, ""), TimerFired(Timer.REDIAL))
    assert (
        Playbook(session, AT_REST)
        >> DialFailed(2, 503)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> Wait(15.0)
        >> TimerFired(Timer.CONNECT)
        << handed_over(Cause.LOST, Outcome.FAILED, stall_s=15.0)
        << End(Close(CloseReason.UPSTREAM_UNREACHABLE))
    )


def test_dials_are_spaced_ever_further() -> None:
    """The bound of the pause doubles with each failure, and begins anew with the next handover."""
    session = play(at_rest(), Closed(1, 1006, ""), TimerFired(Timer.REDIAL))
    assert (
        Playbook(session, AT_REST)
        >> DialFailed(2, 0)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(3)
        >> DialFailed(3, 0)
        << SetTimer(Timer.REDIAL, AT_REST + 0.25)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(4)
        >> Opened(4)
        << Send(4, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=4)
        << CancelTimer(Timer.CONNECT)
        << handed_over(Cause.LOST, dials=3)
        >> Closed(4, 1006, "")
        << UpstreamSaid(1006, "")
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
    )


def test_a_session_dials_at_most_so_often_in_a_minute() -> None:
    """The dial that would be one too many waits until the first one of them is a minute old."""
    session = at_rest(awaiting(limits=Limits(pace=Pace(dials_per_minute=3), continuity=CALM.continuity)))
    session = play(session, Closed(1, 1006, ""), TimerFired(Timer.REDIAL), DialFailed(2, 0), TimerFired(Timer.REDIAL))
    assert (
        Playbook(session, AT_REST)
        >> DialFailed(3, 0)
        << SetTimer(Timer.REDIAL, AT_REST + 0.25)
        >> TimerFired(Timer.REDIAL)
        << SetTimer(Timer.REDIAL, 60.0)
        >> Wait(60.0 - AT_REST)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(4)
    )


def test_a_leg_that_never_answers_its_setup_is_left() -> None:
    """It is closed, and its close waited for: Gemini refuses a resume while the old leg is open."""
    assert (
        Playbook(resuming(), AT_REST)
        >> Wait(10.0)
        >> TimerFired(Timer.ANSWER)
        << CancelTimer(Timer.ANSWER)
        << CloseLeg(2, 1000, "")
        << SetTimer(Timer.CLOSING, AT_REST + 11.0)
        << SetTimer(Timer.REDIAL, AT_REST + 10.125)
        >> gemini(setup_complete(), leg=2)
        >> gemini(content("too late"), leg=2)
        << None
        >> Wait(0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(3)
        >> Opened(3)
        << None
        >> Closed(2, 1006, "")
        << CancelTimer(Timer.CLOSING)
        << Send(3, resume("h1"), text=True)
        << SetTimer(Timer.ANSWER, AT_REST + 10.125 + 10.0)
    )


def test_a_client_that_says_too_much_meanwhile_ends_the_session() -> None:
    """What can't be held is not dropped silently: all of it is counted, and the client told."""
    limits = Limits(held_bytes=2 * len(microphone(1)), continuity=CALM.continuity)
    session = resuming(at_rest(awaiting(limits=limits)))
    assert (
        Playbook(session, AT_REST)
        >> client(microphone(1))
        >> client(microphone(2))
        << None
        >> client(microphone(3))
        << handed_over(Cause.LOST, Outcome.FAILED, dropped=2, frames_held=2)
        << End(Close(CloseReason.HELD_FRAMES_OVERFLOW))
    )
