"""What a new leg is told again, and how it is set up for it."""

from typing import Any

from relay.core.commands import CancelTimer, Send
from relay.core.events import Closed, Opened, Timer, TimerFired
from relay.core.handover import Cause, Continuity, Outcome
from relay.core.limits import Limits
from relay.core.policy import Messages
from relay.core.session import Session
from tests.core.playbook import (
    AT_REST,
    MODEL,
    Playbook,
    at_rest,
    awaiting,
    client,
    compact,
    gemini,
    handed_over,
    issued,
    microphone,
    policy,
    relaying,
    resume,
    setup_complete,
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


# What is said again, and how -----------------------------------------------------------------------------------------


def test_a_user_s_turn_is_opened_again_before_what_is_said_again_of_it() -> None:
    """In mid-turn a handle is taken only when the turn is too long to be told again; audio outside one is refused."""
    continuity = Continuity(rotate_after_s=None, journal_audio_s=0.25)
    session = at_rest(awaiting(limits=Limits(continuity=continuity)))
    said(session, START, *map(microphone, range(1, 5)), now=5.0)
    heard(session, issued("h2"), now=6.0)
    said(session, microphone(5), now=7.0)
    assert (
        Playbook(lost(session, now=7.0), 7.0)
        >> client(FINISH)
        << None
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, START, text=True)
        << Send(2, microphone(5), text=True)
        << Send(2, FINISH, text=True)
        << handed_over(Cause.LOST, replayed=1, frames_held=1)
    )


def test_a_user_s_turn_that_goes_on_is_opened_again_even_if_nothing_is_said_again() -> None:
    """Else what follows would be refused."""
    continuity = Continuity(rotate_after_s=None, journal_audio_s=0.25)
    session = at_rest(awaiting(limits=Limits(continuity=continuity)))
    said(session, START, *map(microphone, range(1, 5)), now=5.0)
    heard(session, issued("h2"), now=6.0)
    assert (
        Playbook(lost(session, now=7.0), 7.0)
        >> client(FINISH)
        << None
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, START, text=True)
        << Send(2, FINISH, text=True)
        << handed_over(Cause.LOST, frames_held=1)
    )


def test_no_stale_picture_is_ever_said_again() -> None:
    """Gemini closes with 1007 on it; what was sent counts as dropped, of what waits only the newest is sent."""
    session = at_rest(awaiting(policy(messages=Messages(video=True))))
    assert (
        Playbook(lost(said(session, PICTURE, microphone(1))), AT_REST)
        >> client(PICTURE)
        >> client(microphone(2))
        >> client(PICTURE)
        << None
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, microphone(1), text=True)
        << Send(2, microphone(2), text=True)
        << Send(2, PICTURE, text=True)
        << handed_over(Cause.LOST, replayed=1, frames_held=3, dropped=2)
    )


def test_a_history_is_not_announced_to_a_state_that_has_it() -> None:
    """With historyConfig in the setup of a resumed leg, the client's next turn would count as more history."""
    history: dict[str, Any] = {"historyConfig": {"initialHistoryInClientContent": True}}
    under = policy(messages=Messages(history=True))
    seed = compact({"clientContent": {"turns": [{"role": "model", "parts": [{"text": "x"}]}], "turnComplete": True}})
    session = relaying(awaiting(under), compact({"setup": history}))
    said(session, seed)
    before = lost(session)
    heard(before, setup_complete(), leg=2)
    session = heard(session, issued("h1"), now=9.0, leg=2)
    session.handle(Closed(2, 1006, ""), 9.0)
    session.handle(TimerFired(Timer.REDIAL), 9.0)
    assert Playbook(session, 9.0) >> Opened(3) << Send(3, resume("h1"), text=True)


def test_a_history_is_announced_to_a_leg_that_is_told_it_again() -> None:
    """Before any handle the fresh session is seeded like the first one."""
    history: dict[str, Any] = {"historyConfig": {"initialHistoryInClientContent": True}}
    under = policy(messages=Messages(history=True))
    seed = compact({"clientContent": {"turns": [{"role": "model", "parts": [{"text": "x"}]}], "turnComplete": True}})
    session = said(relaying(awaiting(under), compact({"setup": history})), seed)
    session.handle(Closed(1, 1006, ""), 1.0)
    session.handle(TimerFired(Timer.REDIAL), 1.0)
    assert (
        Playbook(session, 1.0)
        >> Opened(2)
        << Send(2, resume(**history), text=True)
        >> gemini(setup_complete(), leg=2)
        << CancelTimer(Timer.CONNECT)
        << Send(2, seed, text=True)
        << handed_over(Cause.LOST, Outcome.REPLAYED, replayed=1, stall_s=0.0)
    )


def test_what_the_client_updated_holds_on_later_legs() -> None:
    """A new leg is set up with what the session has now, not with what it began with."""
    tools = [{"functionDeclarations": [{"name": "f"}]}]
    instruction = {"parts": [{"text": "be brief"}]}
    under = policy("tools", "systemInstruction", messages=Messages(context_update=True))
    session = at_rest(awaiting(under))
    said(session, compact({"contextUpdate": {"tools": {"tools": tools}, "systemInstruction": instruction}}))
    session.handle(Closed(1, 1006, ""), AT_REST)
    session.handle(TimerFired(Timer.REDIAL), AT_REST)
    (send, _) = session.handle(Opened(2), AT_REST)
    wanted = {"model": MODEL, "systemInstruction": instruction, "tools": tools, "sessionResumption": {"handle": "h1"}}
    assert send == Send(2, compact({"setup": wanted}), text=True)


def test_the_policy_s_setup_is_applied_to_every_leg() -> None:
    """What is enforced holds on the second leg as on the first."""
    enforced = {"generationConfig": {"responseModalities": ["AUDIO"]}}
    session = at_rest(awaiting(policy(enforce=enforced)))
    session.handle(Closed(1, 1006, ""), AT_REST)
    session.handle(TimerFired(Timer.REDIAL), AT_REST)
    assert Playbook(session, AT_REST) >> Opened(2) << Send(2, resume("h1", **enforced), text=True)
