"""Handovers that can't wait for a safe point any longer, and goAways at the worst moments."""

from typing import Any

import pytest

from relay.core.commands import CancelTimer, CloseLeg, OpenUpstream, Send, SetTimer, UpstreamSaid
from relay.core.downstream import INTERRUPTED, TURN_COMPLETE
from relay.core.events import DOWNSTREAM, Closed, DialFailed, Event, Opened, Timer, TimerFired
from relay.core.handover import Cause, Continuity, Order, Outcome
from relay.core.limits import Limits
from relay.core.session import Session
from relay.core.state import State
from tests.core.playbook import (
    AT_REST,
    Playbook,
    Wait,
    at_rest,
    awaiting,
    client,
    content,
    gemini,
    generated,
    go_away,
    handed_over,
    issued,
    microphone,
    pretty,
    resume,
    setup_complete,
    spoken,
    tool_answer,
    tool_call,
    turn_complete,
)


def planned(outcome: Outcome = Outcome.RESTORED, **fields: Any) -> Any:
    """The record of a handover because of a goAway."""
    return handed_over(Cause.GO_AWAY, outcome, planned=True, **fields)


def resting() -> Playbook:
    """A playbook that begins at a safe point."""
    return Playbook(at_rest(), AT_REST)


def answering(*said: bytes) -> Session:
    """A session in the middle of the answer to a second question, which `h1` does not know."""
    session = at_rest()
    session.handle(client(spoken("x")), AT_REST)
    for words in said or (content("well"),):
        session.handle(gemini(words), AT_REST)
    return session


# The deadline --------------------------------------------------------------------------------------------------------


def test_time_s_up_in_the_middle_of_a_model_s_turn() -> None:
    """The turn is cut and its end told to the client; the question is asked again, to be answered in full."""
    assert (
        Playbook(answering(), AT_REST)
        >> gemini(go_away("50s"))
        << SetTimer(Timer.DEADLINE, AT_REST + 42.5)
        >> Wait(42.5)
        >> TimerFired(Timer.DEADLINE)
        << OpenUpstream(2)
        >> Opened(2)
        << CancelTimer(Timer.DEADLINE)
        << SetTimer(Timer.CONNECT, AT_REST + 42.5 + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1000, "")
        << Send(DOWNSTREAM, INTERRUPTED, text=False)
        << Send(DOWNSTREAM, TURN_COMPLETE, text=False)
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, spoken("x"), text=True)
        << planned(replayed=1, turn_cut=True)
        >> gemini(content("once more"), leg=2)
        << Send(DOWNSTREAM, content("once more"), text=False)
    )


def test_a_turn_that_ends_while_its_leg_is_closed_is_not_cut() -> None:
    """What the old leg still says counts: a turn that it completes needs no end of ours, nor the question again."""
    assert (
        Playbook(answering(), AT_REST)
        >> gemini(go_away("0s"))
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> gemini(turn_complete())
        << Send(DOWNSTREAM, turn_complete(), text=False)
        >> Closed(1, 1000, "")
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << planned(dropped=1)
    )


def test_an_answer_that_was_complete_is_not_given_twice() -> None:
    """After generationComplete the client has everything: it gets the end of the turn, and the question is not said
    again; that Gemini has forgotten both is counted."""
    assert (
        Playbook(answering(content("all of it"), generated()), AT_REST)
        >> gemini(go_away("0s"))
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1000, "")
        << Send(DOWNSTREAM, TURN_COMPLETE, text=False)
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << planned(dropped=1)
    )


def test_time_s_up_while_a_function_runs() -> None:
    """The call is taken back, since no other leg knows it; its answer goes nowhere, the question is asked again."""
    cancel = pretty({"toolCallCancellation": {"ids": ["fc_1"]}})
    assert (
        Playbook(answering(tool_call("fc_1")), AT_REST)
        >> gemini(go_away("10s"))
        << SetTimer(Timer.DEADLINE, AT_REST + 3.75)
        >> TimerFired(Timer.DEADLINE)
        << OpenUpstream(2)
        >> Opened(2)
        << CancelTimer(Timer.DEADLINE)
        << Send(DOWNSTREAM, cancel, text=False)
        << Send(DOWNSTREAM, INTERRUPTED, text=False)
        << Send(DOWNSTREAM, TURN_COMPLETE, text=False)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> client(tool_answer("fc_1"))
        << None
        >> Closed(1, 1000, "")
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, spoken("x"), text=True)
        << planned(replayed=1, turn_cut=True)
    )


@pytest.mark.parametrize("last_words", [[turn_complete()], [turn_complete(), issued("h3")]], ids=["midway", "after"])
def test_in_an_overlap_a_handle_that_comes_too_late_is_not_taken(last_words: list[bytes]) -> None:
    """The new leg was resumed from the one before: the journal must tell what that one lacks."""
    session = at_rest(awaiting(limits=Limits(continuity=Continuity(rotate_after_s=None, order=Order.OVERLAP))))
    script: list[tuple[float, Event]] = [
        (6.0, client(microphone(1))),
        (7.0, gemini(content("well"))),
        (8.0, gemini(issued("from the middle"))),
        (8.0, gemini(go_away("0s"))),
        (8.0, Opened(2)),
        *[(8.5, gemini(words)) for words in last_words],
        (9.0, Closed(1, 1000, "")),
    ]
    for now, event in script:
        session.handle(event, now)
    assert (
        Playbook(session, 9.0)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << planned(stall_s=1.0, dropped=1)
        >> Closed(2, 1006, "")
        << UpstreamSaid(1006, "")
        << SetTimer(Timer.CONNECT, 24.0)
        << SetTimer(Timer.REDIAL, 9.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(3)
        >> Opened(3)
        << Send(3, resume("h1"), text=True)
    )


# Odd goAways ---------------------------------------------------------------------------------------------------------


def test_a_go_away_of_0_s_is_obeyed_at_once() -> None:
    """There is no time to wait for anything, not even the rest of a turn."""
    assert Playbook(answering(), AT_REST) >> gemini(go_away("0s")) << OpenUpstream(2)


def test_a_go_away_without_a_time_left_is_one_of_0_s() -> None:
    """Protobuf leaves zeros out."""
    assert Playbook(answering(), AT_REST) >> gemini(go_away(None)) << OpenUpstream(2)


def test_a_short_time_is_halved() -> None:
    """Where there is less of it than the margin, half of it is waited."""
    assert Playbook(answering(), AT_REST) >> gemini(go_away("4s")) << SetTimer(Timer.DEADLINE, AT_REST + 1.5)


def test_a_second_go_away_moves_the_deadline() -> None:
    """Gemini's newest word counts, and there is still one handover."""
    assert (
        Playbook(answering(), AT_REST)
        >> gemini(go_away("50s"))
        << SetTimer(Timer.DEADLINE, AT_REST + 42.5)
        >> Wait(1.0)
        >> gemini(go_away("20s"))
        << SetTimer(Timer.DEADLINE, AT_REST + 1.0 + 12.5)
        >> TimerFired(Timer.DEADLINE)
        << OpenUpstream(2)
        >> gemini(go_away("5s"))
        << SetTimer(Timer.DEADLINE, AT_REST + 1.0 + 1.875)
        >> TimerFired(Timer.DEADLINE)
        << None
    )


def test_a_gemini_that_falls_silent_after_its_go_away_is_left_by_the_clock() -> None:
    """No message comes that could wake anybody: the deadline is a timer."""
    assert (
        Playbook(answering(), AT_REST)
        >> gemini(go_away("10s"))
        << SetTimer(Timer.DEADLINE, AT_REST + 3.75)
        >> Wait(3.75)
        >> TimerFired(Timer.DEADLINE)
        << OpenUpstream(2)
    )


def test_a_go_away_while_resuming_is_obeyed_after_it() -> None:
    """The leg that is about to be used announces its end before it has answered the setup."""
    session = at_rest()
    session.handle(Closed(1, 1006, ""), AT_REST)
    session.handle(TimerFired(Timer.REDIAL), AT_REST)
    assert (
        Playbook(session, AT_REST)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> gemini(go_away("0s"), leg=2)
        << None
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << handed_over(Cause.LOST)
        << OpenUpstream(3)
        >> Opened(3)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(2, 1000, "")
        >> Closed(2, 1000, "")
        << Send(3, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=3)
        << CancelTimer(Timer.CONNECT)
        << planned()
    )


def test_a_go_away_of_a_leg_that_never_got_ready_is_forgotten() -> None:
    """The leg after it has its own time."""
    session = at_rest()
    session.handle(Closed(1, 1006, ""), AT_REST)
    session.handle(TimerFired(Timer.REDIAL), AT_REST)
    session.handle(Opened(2), AT_REST)
    session.handle(gemini(go_away("0s"), leg=2), AT_REST)
    session.handle(Closed(2, 1011, "Internal error"), AT_REST)
    session.handle(TimerFired(Timer.REDIAL), AT_REST)
    assert (
        Playbook(session, AT_REST)
        >> Opened(3)
        << Send(3, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=3)
        << CancelTimer(Timer.CONNECT)
        << handed_over(Cause.LOST, dials=2)
    )


def test_a_go_away_of_the_old_leg_means_nothing() -> None:
    """It is being left already."""
    assert (
        resting()
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> gemini(go_away("0s"))
        << None
    )


# The new leg ---------------------------------------------------------------------------------------------------------


def test_a_dial_that_fails_is_repeated_while_the_old_leg_serves() -> None:
    """After a pause, and whatever is said meanwhile goes on as before and does not shorten the pause."""
    assert (
        resting()
        >> gemini(go_away())
        << OpenUpstream(2)
        >> DialFailed(2, 503)
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> gemini(pretty({"serverContent": {"inputTranscription": {"text": "x"}}}))
        << Send(DOWNSTREAM, pretty({"serverContent": {"inputTranscription": {"text": "x"}}}), text=False)
        >> Wait(0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(3)
    )


def test_an_old_leg_that_ends_meanwhile_leaves_the_new_one_to_go_on_with() -> None:
    """The planned handover becomes an unplanned one, with the leg that is being dialled."""
    session = answering(content("well"), turn_complete())
    assert (
        Playbook(session, AT_REST)
        >> gemini(go_away("0s"))
        << OpenUpstream(2)
        >> Closed(1, 1006, "")
        << UpstreamSaid(1006, "")
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        >> Opened(2)
        << Send(2, resume("h1"), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << handed_over(Cause.LOST, dropped=1)
    )


def test_a_refused_dial_is_not_repeated() -> None:
    """Where dialling again can't help, the leg in use is served out to its end."""
    session = at_rest()
    assert (
        Playbook(session, AT_REST)
        >> gemini(go_away("50s"))
        << SetTimer(Timer.DEADLINE, AT_REST + 42.5)
        << OpenUpstream(2)
        >> DialFailed(2, 429)
        << None
        >> client(spoken("x"))
        << Send(1, spoken("x"), text=True)
        >> TimerFired(Timer.DEADLINE)
        << None
        >> gemini(content("answer 2"))
        << Send(DOWNSTREAM, content("answer 2"), text=False)
    )
    assert session.state is State.RELAYING


def test_a_new_leg_that_ends_before_it_is_needed_is_dialled_anew() -> None:
    """It was opened at a safe point, and the client spoke before it could be used."""
    assert (
        resting()
        >> gemini(go_away())
        << SetTimer(Timer.DEADLINE, AT_REST + 42.5)
        << OpenUpstream(2)
        >> client(spoken("x"))
        << Send(1, spoken("x"), text=True)
        >> Opened(2)
        << None
        >> Closed(2, 1006, "")
        << UpstreamSaid(1006, "")
        << SetTimer(Timer.REDIAL, AT_REST + 0.125)
        >> Wait(0.125)
        >> TimerFired(Timer.REDIAL)
        << None
        >> TimerFired(Timer.DEADLINE)
        << OpenUpstream(3)
    )
