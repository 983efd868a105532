"""The ends that a session comes to in its own time, and how it takes leave."""

from dataclasses import replace
from typing import Any

import pytest

from relay.core.budget import Quotas
from relay.core.closing import Close, CloseReason
from relay.core.commands import End, OpenUpstream, Parked, Send, SetTimer
from relay.core.events import DOWNSTREAM, BudgetSpent, Closed, Opened, Timer, TimerFired
from relay.core.limits import Limits
from relay.core.session import Session
from tests.core.playbook import (
    CALM,
    SETUP_REQUEST,
    Playbook,
    Wait,
    at_rest,
    audio_out,
    awaiting,
    client,
    compact,
    content,
    gemini,
    generated,
    interrupted,
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

SPENT = BudgetSpent("tokens of this day")
OVER = End(Close(CloseReason.BUDGET_SPENT, "tokens of this day"))
TOO_LONG = End(Close(CloseReason.SESSION_TOO_LONG))
WORDS = "Say that the time is up."
SAID = Send(1, spoken(WORDS), text=True)


def limited(session_s: float | None = None, **quotas: Any) -> Limits:
    """Limits with these quotas."""
    return replace(CALM, session_s=session_s, quotas=Quotas(**{"idle_s": None, "grace_s": 5.0, **quotas}))


def talking(setup: bytes = SETUP_REQUEST, session_s: float | None = None, **quotas: Any) -> Session:
    """A session in conversation, with these quotas."""
    return relaying(awaiting(policy("*"), limited(session_s, **quotas)), setup)


def down(payload: bytes) -> Send:
    """A message for the client."""
    return Send(DOWNSTREAM, payload, text=False)


# Without words -------------------------------------------------------------------------------------------------------


def test_a_spent_budget_ends_the_session_between_turns() -> None:
    """At once."""
    assert Playbook(talking()) >> SPENT << SetTimer(Timer.GRACE, 5.0) << OVER


def test_a_spent_budget_lets_the_turn_in_progress_end() -> None:
    """The answer comes whole; told once, it is not told again."""
    assert (
        Playbook(talking())
        >> client(spoken("question"))
        << Send(1, spoken("question"), text=True)
        >> SPENT
        << SetTimer(Timer.GRACE, 5.0)
        >> BudgetSpent("money of this month")
        << None
        >> gemini(content("answer"))
        << down(content("answer"))
        >> gemini(turn_complete())
        << down(turn_complete())
        << OVER
    )


def test_a_function_that_gemini_waits_for_is_part_of_the_turn() -> None:
    """It is answered, and what Gemini makes of the answer is heard."""
    assert (
        Playbook(talking())
        >> gemini(tool_call("c1"))
        << down(tool_call("c1"))
        >> SPENT
        << SetTimer(Timer.GRACE, 5.0)
        >> client(tool_answer("c1"))
        << Send(1, tool_answer("c1"), text=True)
        >> gemini(content("done"))
        << down(content("done"))
        >> gemini(turn_complete())
        << down(turn_complete())
        << OVER
    )


def test_a_turn_that_does_not_end_is_cut_when_the_grace_is_over() -> None:
    """Whatever it is doing."""
    session = talking()
    session.handle(client(spoken("question")), 0.0)
    session.handle(SPENT, 0.0)
    assert Playbook(session) >> TimerFired(Timer.GRACE) << OVER


def test_a_forgotten_microphone_ends_the_session() -> None:
    """So long after anybody last spoke or wrote, and not before; sound alone keeps nothing alive."""
    idle = End(Close(CloseReason.IDLE))
    assert (
        Playbook(talking(idle_s=60.0))
        >> Wait(40.0)
        >> gemini(content("answer"))
        << down(content("answer"))
        >> Wait(20.0)
        >> TimerFired(Timer.IDLE)
        << SetTimer(Timer.IDLE, 100.0)
        >> Wait(35.0)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> Wait(5.0)
        >> TimerFired(Timer.IDLE)
        << idle
    )


def test_a_session_in_which_nobody_ever_spoke_is_idle_from_its_beginning() -> None:
    """Counted from when Gemini was ready; without the quota nothing is timed."""
    session = awaiting(policy(), limited(idle_s=60.0))
    session.handle(client(SETUP_REQUEST), 1.0)
    session.handle(Opened(1), 2.0)
    assert SetTimer(Timer.IDLE, 70.0) in session.handle(gemini(setup_complete()), 10.0)
    assert session.handle(TimerFired(Timer.IDLE), 70.0) == [End(Close(CloseReason.IDLE))]
    assert Playbook(talking()) >> TimerFired(Timer.IDLE) << None


def test_a_session_may_have_a_length() -> None:
    """From its beginning, and to the middle of a word; none is set unless an operator sets it."""
    limits = limited(session_s=30.0)
    session = Session("s1", policy(), limits, awaiting().downstream._handles, lambda: 0.5)
    assert SetTimer(Timer.SESSION, 130.0) in session.start(100.0)
    session = talking(session_s=30.0)
    session.handle(client(spoken("question")), 0.0)
    assert Playbook(session) >> TimerFired(Timer.SESSION) << TOO_LONG


# With words ----------------------------------------------------------------------------------------------------------


def test_the_relay_s_own_words_are_the_last_turn() -> None:
    """They go to Gemini alone; what it answers goes to the client, and what the client says meanwhile nowhere."""
    session = talking(wrap_up=WORDS)
    assert (
        Playbook(session)
        >> SPENT
        << SetTimer(Timer.GRACE, 5.0)
        << SAID
        >> client(spoken("wait"))
        << None
        >> client(b"not even JSON")
        << None
        >> SPENT
        << None
        >> gemini(content("time is up"))
        << down(content("time is up"))
        >> gemini(generated())
        << down(generated())
        >> gemini(turn_complete())
        << down(turn_complete())
        << OVER
    )
    assert session.meter.frames_dropped_up == 2


def test_the_turn_in_progress_comes_before_the_words() -> None:
    """The client may still answer a function in it, and interrupt it."""
    assert (
        Playbook(talking(wrap_up=WORDS))
        >> client(spoken("question"))
        << Send(1, spoken("question"), text=True)
        >> gemini(content("answer"))
        << down(content("answer"))
        >> SPENT
        << SetTimer(Timer.GRACE, 5.0)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> gemini(turn_complete())
        << down(turn_complete())
        << Send(1, compact({"realtimeInput": {"text": WORDS, "audioStreamEnd": True}}), text=True)
        >> gemini(turn_complete())
        << down(turn_complete())
        << OVER
    )


@pytest.mark.parametrize("disabled", [True, False])
def test_who_speaks_just_now_is_not_waited_for(disabled: bool) -> None:
    """The end of the sentence will never come; where the client marks its turns, the mark would be refused."""
    detection = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": disabled}}}
    session = talking(compact({"setup": detection}), wrap_up=WORDS)
    session.handle(client(microphone(1)), 0.0)
    (sent,) = [command for command in session.handle(SPENT, 0.0) if isinstance(command, Send)]
    assert (b"audioStreamEnd" in sent.payload) == (not disabled)


def test_gemini_that_does_not_answer_the_words_is_not_waited_for() -> None:
    """The grace ends what it began."""
    assert (
        Playbook(talking(wrap_up=WORDS))
        >> SPENT
        << SetTimer(Timer.GRACE, 5.0)
        << SAID
        >> Wait(5.0)
        >> TimerFired(Timer.GRACE)
        << OVER
    )


def test_an_answer_that_is_interrupted_is_over() -> None:
    """The client spoke into it just before it was told that nobody listens any more."""
    session = talking(wrap_up=WORDS)
    session.handle(SPENT, 0.0)
    session.handle(gemini(audio_out(0.1)), 0.5)
    assert (
        Playbook(session)
        >> gemini(interrupted())
        << down(interrupted())
        >> gemini(turn_complete())
        << down(turn_complete())
        << OVER
    )


def test_gemini_that_calls_a_function_instead_gets_no_answer() -> None:
    """The client's answer goes nowhere, so the grace ends it."""
    session = talking(wrap_up=WORDS)
    session.handle(SPENT, 0.0)
    assert (
        Playbook(session)
        >> gemini(tool_call("c1"))
        << down(tool_call("c1"))
        >> client(tool_answer("c1"))
        << None
        >> TimerFired(Timer.GRACE)
        << OVER
    )


def test_an_answer_that_a_handover_cuts_is_asked_for_again() -> None:
    """The new leg is told the words as it is told anything it lacks; the client stays, and hears them answered."""
    session = at_rest(awaiting(policy("*"), limited(wrap_up=WORDS)))
    session.handle(SPENT, 5.0)
    session.handle(gemini(audio_out(0.1)), 5.5)
    commands = session.handle(Closed(1, 1006, ""), 6.0)
    assert not [command for command in commands if isinstance(command, End)]
    assert OpenUpstream(2) in session.handle(TimerFired(Timer.REDIAL), 6.5)
    session.handle(Opened(2), 6.6)
    assert session.handle(client(spoken("hello?")), 6.7) == []
    commands = session.handle(gemini(setup_complete(), leg=2), 6.8)
    assert Send(2, spoken(WORDS), text=True) in commands
    assert not [command for command in commands if isinstance(command, End)]
    assert (
        Playbook(session, 7.0)
        >> gemini(content("time is up"), leg=2)
        << down(content("time is up"))
        >> gemini(turn_complete(), leg=2)
        << down(turn_complete())
        << OVER
    )


def test_words_wait_for_the_next_leg_like_anything_else() -> None:
    """The budget is spent by another session in the middle of a handover."""
    session = at_rest(awaiting(policy("*"), limited(wrap_up=WORDS)))
    session.handle(Closed(1, 1006, ""), 5.0)
    session.handle(TimerFired(Timer.REDIAL), 5.5)
    assert Playbook(session, 5.6) >> SPENT << SetTimer(Timer.GRACE, 10.6)
    assert session.handle(Opened(2), 5.7)[0] == Send(2, resume("h1"), text=True)
    assert Send(2, spoken(WORDS), text=True) in session.handle(gemini(setup_complete(), leg=2), 5.8)
    assert session.handle(gemini(turn_complete(), leg=2), 6.0)[-1] == OVER


def test_an_answer_that_was_whole_when_its_leg_was_lost_is_not_asked_for_again() -> None:
    """Only the end of its turn was missing, which the relay makes up."""
    session = at_rest(awaiting(policy("*"), limited(wrap_up=WORDS)))
    session.handle(SPENT, 5.0)
    session.handle(gemini(audio_out(0.1)), 5.5)
    session.handle(gemini(generated()), 5.6)
    assert session.handle(Closed(1, 1006, ""), 5.7)[-1] == OVER


def test_nobody_is_told_who_is_not_there() -> None:
    """Before Gemini is ready there is no conversation, and a parked session has no listener."""
    assert Playbook(awaiting(policy(), limited(wrap_up=WORDS))) >> SPENT << SetTimer(Timer.GRACE, 5.0) << OVER
    session = at_rest(awaiting(policy("*"), limited(wrap_up=WORDS)), b'{"setup":{"sessionResumption":{}}}')
    assert Parked() in session.handle(Closed(DOWNSTREAM, 1006, ""), 5.0)
    assert Playbook(session, 6.0) >> SPENT << SetTimer(Timer.GRACE, 11.0) << OVER


def test_words_end_a_session_s_length_too() -> None:
    """With the code and reason it has without them; a budget that is spent meanwhile changes nothing."""
    assert (
        Playbook(talking(session_s=30.0, wrap_up=WORDS))
        >> TimerFired(Timer.SESSION)
        << SetTimer(Timer.GRACE, 5.0)
        << SAID
        >> SPENT
        << None
        >> gemini(turn_complete())
        << down(turn_complete())
        << TOO_LONG
    )


def test_what_the_words_cost_is_metered() -> None:
    """As any turn; the client wrote nothing, so no text of its is counted."""
    session = talking(wrap_up=WORDS)
    session.handle(SPENT, 0.0)
    report = {"serverContent": {"turnComplete": True}, "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}}
    session.handle(gemini(pretty(report)), 1.0)
    assert session.tab.spent.tokens == 9
    assert (session.meter.text_characters_up, session.meter.frames_up) == (0, 1)
