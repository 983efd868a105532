"""Sessions: the setup, from the client's first message to Gemini's answer."""

import pytest

from relay.core.closing import Close, CloseReason
from relay.core.commands import CancelTimer, Command, End, OpenUpstream, Rejoin, Send, SetTimer, Violated
from relay.core.downstream import Ticket
from relay.core.events import DOWNSTREAM, Opened, RejoinFailed, Timer, TimerFired
from relay.core.limits import Limits
from relay.core.policy import Messages
from relay.core.secret import Secret
from relay.core.session import Session
from relay.core.state import State
from tests.core.playbook import (
    MODEL,
    SETUP,
    SETUP_REQUEST,
    FakeHandles,
    Playbook,
    Wait,
    awaiting,
    client,
    compact,
    connecting,
    content,
    gemini,
    policy,
    pretty,
    relaying,
    setup_complete,
    spoken,
)


def sealed_by_us(handle: str) -> str:
    """A handle that a session gave out which is no more."""
    return FakeHandles().seal(Ticket(Secret(handle), "s0", 0, 2), MODEL)


@pytest.mark.parametrize(
    ("limits", "timers"),
    [
        (Limits(setup_s=10.0), [SetTimer(Timer.SETUP, 15.0)]),
        (Limits(setup_s=2.0, session_s=600.0), [SetTimer(Timer.SETUP, 7.0), SetTimer(Timer.SESSION, 605.0)]),
    ],
)
def test_a_session_begins_with_its_timers(limits: Limits, timers: list[Command]) -> None:
    """The client owes a setup in time, and the whole session may be limited."""
    session = Session("s1", policy(), limits, FakeHandles(), lambda: 0.0)
    assert session.start(5.0) == timers
    assert (session.state, session.started_at) == (State.AWAITING_SETUP, 5.0)


def test_the_way_to_a_conversation() -> None:
    """Setup, dial, setup sent, answer passed on: from then on both directions flow."""
    session = awaiting()
    assert (
        Playbook(session)
        >> Wait(1.0)
        >> client(SETUP_REQUEST)
        << CancelTimer(Timer.SETUP)
        << SetTimer(Timer.CONNECT, 16.0)
        << OpenUpstream(1)
        >> Wait(1.0)
        >> Opened(1)
        << Send(1, SETUP, text=True)
        >> Wait(1.0)
        >> gemini(setup_complete())
        << Send(DOWNSTREAM, setup_complete(), text=False)
        << CancelTimer(Timer.CONNECT)
        >> client(spoken("hi"))
        << Send(1, spoken("hi"), text=True)
        >> gemini(content("hello"))
        << Send(DOWNSTREAM, content("hello"), text=False)
    )
    assert (session.setup_at, session.ready_at, session.model, session.line.dialling.dials) == (1.0, 3.0, MODEL, 1)


def test_a_setup_in_a_binary_frame_is_a_setup() -> None:
    """Some clients send JSON in binary frames; Gemini gets text."""
    assert (
        Playbook(awaiting())
        >> client(SETUP_REQUEST, text=False)
        << CancelTimer(Timer.SETUP)
        << SetTimer(Timer.CONNECT, 15.0)
        << OpenUpstream(1)
        >> Opened(1)
        << Send(1, SETUP, text=True)
    )


def test_what_is_enforced_reaches_gemini() -> None:
    """The setup that is sent is the policy's, in canonical spelling."""
    under = policy("generationConfig.temperature", enforce={"generationConfig": {"responseModalities": ["AUDIO"]}})
    session = awaiting(under)
    asked = compact({"setup": {"generation_config": {"temperature": "1", "responseModalities": ["audio"]}}})
    session.handle(client(asked), 0.0)
    sent, _ = session.handle(Opened(1), 0.0)
    merged = {
        "model": MODEL,
        "generationConfig": {"temperature": 1, "responseModalities": ["AUDIO"]},
        "sessionResumption": {},
    }
    assert sent == Send(1, compact({"setup": merged}), text=True)


@pytest.mark.parametrize("kind", ["clientContent", "realtimeInput", "toolResponse", "contextUpdate"])
def test_the_first_message_must_be_the_setup(kind: str) -> None:
    """Anything else ends the session before Gemini was dialled."""
    assert (
        Playbook(awaiting())
        >> client(compact({kind: {}}))
        << Violated("out_of_order", "setup", rejected=True)
        << End(Close(CloseReason.BAD_SEQUENCE, f"setup must be the first message, not {kind}"))
    )


@pytest.mark.parametrize("state", ["connecting", "relaying"])
@pytest.mark.parametrize("strip", [False, True])
def test_the_setup_comes_exactly_once(state: str, strip: bool) -> None:
    """A second setup ends the session under every policy, and never reaches Gemini."""
    session = awaiting(policy(strip=strip))
    assert (
        Playbook(connecting(session) if state == "connecting" else relaying(session))
        >> client(SETUP_REQUEST)
        << Violated("out_of_order", "setup", rejected=True)
        << End(Close(CloseReason.BAD_SEQUENCE, "setup may be sent only once, as the first message"))
    )


def test_a_setup_beside_another_message_is_refused() -> None:
    """A setup can't ride on another message."""
    session = relaying()
    commands = session.handle(client(compact({"realtimeInput": {"text": "x"}, "setup": {}})), 1.0)
    assert [type(command) for command in commands] == [Violated, End]


@pytest.mark.parametrize(
    ("payload", "rule", "path", "reason"),
    [
        (b"\x00", "not_json", "", CloseReason.BAD_FRAME),
        (b"{}", "not_one_message", "", CloseReason.BAD_FRAME),
        (b'{"setup":{"model":"a","model":"b"}}', "duplicate_key", "model", CloseReason.BAD_FRAME),
        (b'{"setup":{"topK":1}}', "unknown_field", "setup.topK", CloseReason.BAD_FRAME),
        (b'{"setup":{"tools":{}}}', "wrong_type", "setup.tools", CloseReason.BAD_FRAME),
        (b'{"setup":{"labels":{}}}', "setup_field", "setup.labels", CloseReason.REFUSED_BY_POLICY),
        (b'{"setup":{"model":"x"}}', "model", "setup.model", CloseReason.REFUSED_BY_POLICY),
        (
            b'{"setup":{"sessionResumption":{"handle":"x"}}}',
            "handle",
            "setup.sessionResumption.handle",
            CloseReason.REFUSED_BY_POLICY,
        ),
    ],
    ids=lambda value: str(value),
)
def test_a_bad_setup_ends_the_session(payload: bytes, rule: str, path: str, reason: CloseReason) -> None:
    """The close names the field and the rule, one violation is reported, and Gemini is never dialled."""
    violated, end = awaiting().handle(client(payload), 0.0)
    assert violated == Violated(rule, path, rejected=True)
    assert isinstance(end, End)
    assert end.close.reason is reason
    assert end.close.detail.startswith(path)


def test_where_violations_are_dropped_the_session_goes_on() -> None:
    """Every dropped field is reported; Gemini gets the rest."""
    asked = compact({"setup": {"labels": {"a": "b"}, "model": "x", "sessionResumption": {"handle": "stolen"}}})
    assert (
        Playbook(awaiting(policy(strip=True)))
        >> client(asked)
        << Violated("model", "setup.model", rejected=False)
        << Violated("setup_field", "setup.labels", rejected=False)
        << Violated("handle", "setup.sessionResumption.handle", rejected=False)
        << CancelTimer(Timer.SETUP)
        << SetTimer(Timer.CONNECT, 15.0)
        << OpenUpstream(1)
        >> Opened(1)
        << Send(1, compact({"setup": {"model": MODEL, "sessionResumption": {}}}), text=True)
    )


def test_a_broken_message_ends_the_session_even_where_violations_are_dropped() -> None:
    """What can't be understood can't be repaired."""
    violated, end = awaiting(policy(strip=True)).handle(client(b"{"), 0.0)
    assert violated == Violated("not_json", "", rejected=True)
    assert isinstance(end, End)


def test_a_handle_of_ours_reaches_gemini_as_its_own() -> None:
    """Where its session is no more, the client resumes with the relay's handle, Gemini with Gemini's."""
    setup = {"model": MODEL, "sessionResumption": {"handle": "h1"}}
    assert (
        Playbook(awaiting())
        >> client(compact({"setup": {"sessionResumption": {"handle": sealed_by_us("h1")}}}))
        << CancelTimer(Timer.SETUP)
        << Rejoin(Ticket(Secret("h1"), "s0", 0, 2), 0, {"model": MODEL})
        >> RejoinFailed()
        << SetTimer(Timer.CONNECT, 15.0)
        << OpenUpstream(1)
        >> Opened(1)
        << Send(1, compact({"setup": setup}), text=True)
    )


def test_a_setup_that_does_not_come_ends_the_session() -> None:
    """A silent client is given up."""
    assert Playbook(awaiting()) >> TimerFired(Timer.SETUP) << End(Close(CloseReason.SETUP_LATE))


# Between the setup and Gemini's answer -------------------------------------------------------------------------------


def test_messages_that_come_early_are_held_and_sent_in_order_after_the_answer() -> None:
    """Nothing a client sends before setupComplete is lost, and setupComplete is the first thing it hears."""
    session = awaiting()
    assert (
        Playbook(session)
        >> client(SETUP_REQUEST)
        << CancelTimer(Timer.SETUP)
        << SetTimer(Timer.CONNECT, 15.0)
        << OpenUpstream(1)
        >> client(spoken("a"))
        << None
        >> Opened(1)
        << Send(1, SETUP, text=True)
        >> client(spoken("b"))
        << None
        >> Wait(3.0)
        >> gemini(setup_complete())
        << Send(DOWNSTREAM, setup_complete(), text=False)
        << CancelTimer(Timer.CONNECT)
        << Send(1, spoken("a"), text=True)
        << Send(1, spoken("b"), text=True)
        >> client(spoken("c"))
        << Send(1, spoken("c"), text=True)
    )
    assert (session.meter.frames_up, session.meter.bytes_up) == (3, 3 * len(spoken("a")))
    assert (session.holding.held_frames, session.holding.held_bytes) == (2, 0)
    assert session.meter.first_input_at == 3.0


def test_early_messages_are_judged_when_they_come() -> None:
    """Waiting for Gemini is no way around the policy."""
    assert (
        Playbook(connecting())
        >> client(b'{"realtimeInput":{"video":{}}}')
        << Violated("message_field", "realtimeInput.video", rejected=True)
        << End(Close(CloseReason.REFUSED_BY_POLICY, "realtimeInput.video may not be sent by the client"))
    )


def test_more_than_can_be_held_ends_the_session() -> None:
    """The bound is exact, and nothing is dropped silently."""
    limits = Limits(held_bytes=2 * len(spoken("a")))
    assert (
        Playbook(connecting(awaiting(limits=limits)))
        >> client(spoken("a"))
        >> client(spoken("b"))
        << None
        >> client(spoken("c"))
        << End(Close(CloseReason.HELD_FRAMES_OVERFLOW))
    )


def test_whatever_gemini_says_before_its_answer_is_not_for_the_client() -> None:
    """Clients take the first message for the answer to their setup, whatever it holds."""
    assert (
        Playbook(connecting())
        >> gemini(content("early"))
        >> gemini(pretty({"error": {"code": 500}}))
        >> gemini(pretty({"sessionResumptionUpdate": {"newHandle": "h", "resumable": True}}))
        >> gemini(pretty({"setupComplete": None}))
        << None
        >> gemini(setup_complete())
        << Send(DOWNSTREAM, setup_complete(), text=False)
        << CancelTimer(Timer.CONNECT)
    )


def test_a_second_answer_never_reaches_the_client() -> None:
    """Gemini may do anything; a second setupComplete moves nothing, and what rides on it goes on without it."""
    beside = pretty({"setupComplete": {}, "serverContent": {"turnComplete": True}})
    assert (
        Playbook(relaying())
        >> gemini(setup_complete())
        << None
        >> gemini(beside)
        << Send(DOWNSTREAM, pretty({"serverContent": {"turnComplete": True}}), text=False)
    )


def test_a_history_may_be_seeded_where_the_policy_has_it() -> None:
    """The model's turns are taken until the history is complete; after that they are a violation."""
    session = awaiting(policy(messages=Messages(history=True)))
    relaying(session, compact({"setup": {"historyConfig": {"initialHistoryInClientContent": True}}}))
    turns = [{"role": "model", "parts": [{"text": "x"}]}]
    seed = compact({"clientContent": {"turns": turns, "turnComplete": True}})
    again = compact({"clientContent": {"turns": turns}})
    assert (
        Playbook(session)
        >> client(seed)
        << Send(1, seed, text=True)
        >> client(again)
        << Violated("role", "clientContent.turns.role", rejected=True)
        << End(Close(CloseReason.REFUSED_BY_POLICY, 'clientContent.turns.role may not be "model"'))
    )
