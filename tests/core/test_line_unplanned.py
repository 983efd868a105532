"""Legs that are lost: what is resumed, what is said again, what is given up, and what the client is told."""

import pytest

from relay.core.commands import CancelTimer, OpenUpstream, Send, SetTimer, UpstreamSaid
from relay.core.downstream import INTERRUPTED, TURN_COMPLETE
from relay.core.events import DOWNSTREAM, Closed, Opened, Timer, TimerFired
from relay.core.handover import Cause, Continuity, Outcome
from relay.core.limits import Limits
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
    generated,
    handed_over,
    issued,
    microphone,
    pretty,
    relaying,
    resume,
    setup_complete,
    spoken,
    tool_answer,
    tool_call,
    turn_complete,
)

START = compact({"realtimeInput": {"activityStart": {}}})
FINISH = compact({"realtimeInput": {"activityEnd": {}}})
PICTURE = compact({"realtimeInput": {"video": {"data": "AAAA", "mimeType": "image/jpeg"}}})


def lost(session: Session, now: float = AT_REST, leg: int = 1) -> Session:
    """The session after its leg was cut and the next one has opened, which has got its setup."""
    session.handle(Closed(leg, 1006, ""), now)
    session.handle(TimerFired(Timer.REDIAL), now)
    session.handle(Opened(leg + 1), now)
    return session


def said(session: Session, *payloads: bytes, now: float = AT_REST) -> Session:
    """The session after its client said this."""
    for payload in payloads:
        session.handle(client(payload), now)
    return session


def heard(session: Session, *payloads: bytes, now: float = AT_REST, leg: int = 1) -> Session:
    """The session after Gemini said this."""
    for payload in payloads:
        session.handle(gemini(payload, leg=leg), now)
    return session


# Resuming ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "cause"),
    [
        (1000, "", Cause.CLOSED),
        (1001, "", Cause.CLOSED),
        (1005, "", Cause.CLOSED),
        (1006, "", Cause.LOST),
        (1011, "Internal error encountered.", Cause.FAILED),
        (1011, "Deadline expired before operation could complete.", Cause.EXPIRED),
        (1008, "Connection aborted because the client failed to close the connection", Cause.EXPIRED),
        (1008, "The operation was aborted.", Cause.EXPIRED),
        (1011, "The service is currently unavailable.", Cause.OVERLOADED),
        (4000, "something new", Cause.FAILED),
    ],
)
def test_a_lost_leg_is_resumed_from_the_newest_handle(code: int, reason: str, cause: Cause) -> None:
    """What the client says meanwhile is held; it notices nothing but the wait."""
    assert (
        Playbook(at_rest(), AT_REST)
        >> Closed(1, code, reason)
        << UpstreamSaid(code, reason)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> client(microphone(1))
        << None
        >> Wait(0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(2)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> client(microphone(2))
        << None
        >> Wait(0.125)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << Send(2, microphone(2), text=True)
        << handed_over(cause, stall_s=0.25, frames_held=2)
    )


def test_what_the_handle_does_not_cover_is_said_again_in_order() -> None:
    """First what was said before the cut, then what was held."""
    assert (
        Playbook(lost(said(at_rest(), microphone(1), spoken("x"))), AT_REST)
        >> client(microphone(2))
        << None
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << Send(2, spoken("x"), text=True)
        << Send(2, microphone(2), text=True)
        << handed_over(Cause.LOST, replayed=2, frames_held=1)
    )


def test_what_was_under_way_when_the_handle_was_issued_is_in_doubt() -> None:
    """Without an index nobody can tell whether its state has it: it is said again, and counted as uncertain."""
    session = said(at_rest(), microphone(1), now=4.5)
    session = said(session, microphone(2), now=4.9)
    session = said(heard(session, issued("h2")), microphone(3))
    assert (
        Playbook(lost(session), AT_REST)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(2), text=True)
        << Send(2, microphone(3), text=True)
        << handed_over(Cause.LOST, replayed=2, uncertain=1)
    )


def test_with_an_index_exactly_the_rest_is_said_again() -> None:
    """The setup of a leg is its message 0, also after a replay."""
    session = awaiting(limits=Limits(continuity=Continuity(rotate_after_s=None, transparent=True)))
    session = said(at_rest(session), microphone(1), microphone(2), microphone(3))
    session = heard(lost(heard(session, issued("h2", consumed=2))), setup_complete(), leg=2)
    session = said(session, microphone(4))
    session = heard(session, issued("h3", consumed=2), leg=2)
    assert (
        Playbook(lost(session, leg=2), AT_REST)
        >> gemini(setup_complete(), leg=3)
        << CancelTimer(Timer.CONNECT)
        << Send(3, microphone(4), text=True)
        << handed_over(Cause.LOST, replayed=1)
    )


def test_before_any_handle_everything_is_said_again() -> None:
    """A fresh session is told the whole journal, and knows as much as the one that was lost."""
    assert (
        Playbook(lost(said(relaying(), microphone(1), spoken("x"))), AT_REST)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << Send(2, spoken("x"), text=True)
        << handed_over(Cause.LOST, Outcome.REPLAYED, replayed=2)
    )


def test_a_journal_that_is_not_whole_can_t_replace_a_handle() -> None:
    """What fell out is counted; Gemini has forgotten it."""
    continuity = Continuity(rotate_after_s=None, journal_audio_s=0.25)
    session = said(relaying(awaiting(limits=Limits(continuity=continuity))), *map(microphone, range(1, 5)))
    assert (
        Playbook(lost(session), AT_REST)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(3), text=True)
        << Send(2, microphone(4), text=True)
        << handed_over(Cause.LOST, Outcome.FRESH, replayed=2, dropped=2)
    )


def test_handles_that_are_unusable_change_nothing() -> None:
    """An empty update, one that is not resumable, one while a function is called: the good one stays."""
    session = heard(
        at_rest(),
        pretty({"sessionResumptionUpdate": {}}),
        pretty({"sessionResumptionUpdate": {"resumable": True}}),
        pretty({"sessionResumptionUpdate": {"newHandle": "", "resumable": True}}),
        pretty({"sessionResumptionUpdate": {"newHandle": "not resumable"}}),
        tool_call("fc_1"),
        issued("knows no fc_1"),
    )
    session.handle(Closed(1, 1006, ""), AT_REST)
    session.handle(TimerFired(Timer.REDIAL), AT_REST)
    assert Playbook(session, AT_REST) >> Opened(2) << Send(2, resume("h1"), text=True)


# Turns that were cut -------------------------------------------------------------------------------------------------


def test_a_turn_that_was_cut_is_ended_and_its_question_asked_again() -> None:
    """Gemini never goes on with it: the client is told that it was interrupted and is over."""
    session = heard(said(at_rest(), spoken("x")), content("well"))
    assert (
        Playbook(session, AT_REST)
        >> Closed(1, 1006, "")
        << UpstreamSaid(1006, "")
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << Send(DOWNSTREAM, INTERRUPTED, text=False)
        << Send(DOWNSTREAM, TURN_COMPLETE, text=False)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(2)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, spoken("x"), text=True)
        << handed_over(Cause.LOST, replayed=1, turn_cut=True)
    )


def test_a_question_whose_answer_was_complete_is_not_answered_twice() -> None:
    """Cut between generationComplete and turnComplete: the client has the answer and gets the end of the turn."""
    session = heard(said(at_rest(), spoken("x")), content("all of it"), generated())
    assert (
        Playbook(session, AT_REST)
        >> Closed(1, 1006, "")
        << UpstreamSaid(1006, "")
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << Send(DOWNSTREAM, TURN_COMPLETE, text=False)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(2)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << handed_over(Cause.LOST, dropped=1)
    )


def test_a_question_that_was_answered_is_not_said_again() -> None:
    """Cut between turnComplete and the handle that would cover the turn: it is forgotten, and counted."""
    session = heard(said(at_rest(), spoken("x")), content("all of it"), turn_complete(), now=6.0)
    assert (
        Playbook(lost(said(session, microphone(1), now=7.0), now=7.0), 7.0)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << handed_over(Cause.LOST, replayed=1, dropped=1)
    )


def test_calls_that_nobody_can_answer_any_more_are_taken_back() -> None:
    """The new leg does not know their ids; the question that led to them is asked again, late answers go nowhere."""
    session = heard(said(at_rest(), spoken("x")), tool_call("fc_2", "fc_1"))
    assert (
        Playbook(session, AT_REST)
        >> Closed(1, 1006, "")
        << UpstreamSaid(1006, "")
        << Send(DOWNSTREAM, pretty({"toolCallCancellation": {"ids": ["fc_1", "fc_2"]}}), text=False)
        << Send(DOWNSTREAM, INTERRUPTED, text=False)
        << Send(DOWNSTREAM, TURN_COMPLETE, text=False)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> client(tool_answer("fc_1"))
        << None
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(2)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, spoken("x"), text=True)
        << handed_over(Cause.LOST, replayed=1, turn_cut=True)
    )


def test_a_call_without_an_id_can_t_be_taken_back_by_name() -> None:
    """Its turn is ended all the same, and once it is over handles are taken again."""
    nameless = pretty({"toolCall": {"functionCalls": [{"name": "f"}]}})
    session = heard(at_rest(), nameless)
    assert (
        Playbook(session, AT_REST)
        >> Closed(1, 1006, "")
        << UpstreamSaid(1006, "")
        << Send(DOWNSTREAM, INTERRUPTED, text=False)
        << Send(DOWNSTREAM, TURN_COMPLETE, text=False)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
    )
    session = heard(at_rest(), nameless)
    said(session, compact({"toolResponse": {"functionResponses": [{"response": {}}]}}))
    heard(session, content("so"), turn_complete(), issued("h2"), now=8.0)
    session.handle(Closed(1, 1006, ""), 8.0)
    session.handle(TimerFired(Timer.REDIAL), 8.0)
    assert Playbook(session, 8.0) >> Opened(2) << Send(2, resume("h2"), text=True)
