"""What a handover looks like from outside: states, announcements, counts, and what the client never sees."""

import json

from relay.core.commands import HandedOver, Send
from relay.core.events import DOWNSTREAM, Closed, Event, Opened, Timer, TimerFired
from relay.core.session import Session
from relay.core.state import State
from relay.core.usage import Kind, of_kind
from tests.core.playbook import (
    AT_REST,
    FakeHandles,
    at_rest,
    awaiting,
    client,
    content,
    gemini,
    go_away,
    issued,
    microphone,
    policy,
    pretty,
    setup_complete,
    spoken,
    turn_complete,
)


def play(session: Session, *events: Event, now: float = AT_REST) -> list[bytes]:
    """What the client hears while all this happens."""
    commands = [command for event in events for command in session.handle(event, now)]
    return [command.payload for command in commands if isinstance(command, Send) and command.leg == DOWNSTREAM]


PLANNED: list[Event] = [gemini(go_away()), Opened(2), Closed(1, 1000, ""), gemini(setup_complete(), leg=2)]
UNPLANNED: list[Event] = [Closed(1, 1006, ""), TimerFired(Timer.REDIAL), Opened(2), gemini(setup_complete(), leg=2)]


def test_a_handover_is_a_state_of_its_own() -> None:
    """From the close of the old leg to the answer of the new one."""
    session = at_rest()
    states = []
    for event in PLANNED:
        play(session, event)
        states.append(session.state)
    assert states == [State.RELAYING, State.HANDOVER, State.HANDOVER, State.RELAYING]
    assert session.line.handovers == 1


def test_a_client_notices_nothing_of_a_handover_that_lost_nothing() -> None:
    """No goAway, no second setupComplete, no handle of Gemini's, no announcement."""
    for events in (PLANNED, UNPLANNED):
        assert play(at_rest(awaiting(policy(announce="loss"))), *events) == []


def test_a_client_is_told_of_what_was_lost() -> None:
    """With all that the operator's line has, but for what is the operator's own."""
    session = at_rest(awaiting(policy(announce="loss")))
    play(session, client(spoken("x")), gemini(content("well")))
    heard = [json.loads(payload) for payload in play(session, *UNPLANNED)]
    assert heard[:2] == [{"serverContent": {"interrupted": True}}, {"serverContent": {"turnComplete": True}}]
    handover = heard[2]["relay"]["handover"]
    assert (handover["cause"], handover["turnCut"], handover["replayed"], handover["restored"]) == (
        "lost",
        True,
        1,
        True,
    )


def test_a_client_may_be_told_of_every_handover() -> None:
    """The demo page shows the stall."""
    (message,) = play(at_rest(awaiting(policy(announce="always"))), *PLANNED)
    assert json.loads(message)["relay"]["handover"]["planned"] is True


def test_an_announcement_is_in_text_where_everything_is() -> None:
    """Like any other message."""
    session = at_rest(awaiting(policy(announce="always", server_text=True)))
    commands = [command for event in PLANNED for command in session.handle(event, AT_REST)]
    assert all(command.text for command in commands if isinstance(command, Send) and command.leg == DOWNSTREAM)


def test_what_was_used_is_counted_once() -> None:
    """Messages that are said again were counted when they were said first; Gemini's count when they come."""
    session = at_rest()
    play(session, client(microphone(1)), client(spoken("x")))
    before = session.meter.frames_up, session.meter.bytes_up
    usage = pretty({"usageMetadata": {"promptTokenCount": 7}})
    play(session, gemini(usage), *UNPLANNED)
    assert (session.meter.frames_up, session.meter.bytes_up) == before
    assert of_kind(session.meter.tally.tokens, Kind.PROMPT) == 7
    play(session, gemini(usage, leg=1))
    assert of_kind(session.meter.tally.tokens, Kind.PROMPT) == 7, "the old leg is not heard any more"


def test_transcript_that_gemini_repeats_after_a_resume_is_not_passed_on() -> None:
    """It is the last answer once more; the first new words are passed on, and then everything."""
    session = at_rest()
    play(session, *UNPLANNED)
    heard = play(
        session,
        gemini(content("answer"), leg=2),
        gemini(content("and now"), leg=2),
        gemini(content("answer"), leg=2),
    )
    assert heard == [content("and now"), content("answer")]


def test_what_is_owed_is_passed_on_whatever_it_says() -> None:
    """The answer to a question that was asked again may begin like the one before."""
    session = at_rest()
    play(session, client(spoken("x")), *UNPLANNED)
    assert play(session, gemini(content("answer"), leg=2)) == [content("answer")]


def test_a_session_goes_on_for_hours() -> None:
    """One handover after the other, each restoring everything, with nothing piling up."""
    session, now = at_rest(), AT_REST
    for leg in range(1, 51):
        now += 540.0
        ask: list[Event] = [client(spoken("x")), gemini(content("y"), leg=leg), gemini(turn_complete(), leg=leg)]
        play(session, *ask, now=now)
        commands = [
            command
            for event in (
                gemini(issued(f"h{leg + 1}"), leg=leg),
                gemini(go_away(), leg=leg),
                Opened(leg + 1),
                Closed(leg, 1000, ""),
                gemini(setup_complete(), leg=leg + 1),
            )
            for command in session.handle(event, now + 1.0)
        ]
        (over,) = [command.handover for command in commands if isinstance(command, HandedOver)]
        assert over.lossless
        assert (over.replayed, over.dials) == (0, 1)
    assert len(session.line.memory.journal) == 0
    assert session.line.handovers == 50


def test_a_client_with_handles_gets_a_new_one_for_each_of_gemini_s() -> None:
    """Also across a handover; they are all of this session's first attachment."""
    session = at_rest(setup=b'{"setup":{"sessionResumption":{}}}')
    play(session, *UNPLANNED)
    (update,) = play(session, gemini(issued("h2"), leg=2), now=AT_REST + 1.0)
    handle = json.loads(update)["sessionResumptionUpdate"]["newHandle"]
    ticket = FakeHandles().unseal(handle, session.model)
    assert ticket is not None
    assert (ticket.handle.reveal(), ticket.generation) == ("h2", 0)
