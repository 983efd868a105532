"""Sessions: dialling, redialling, legs that went away and everything that ends a session."""

from collections.abc import Callable

import pytest

from relay.core.closing import FOUND, Close, CloseReason, of_upstream_close
from relay.core.commands import CancelTimer, CloseLeg, Command, End, OpenUpstream, Send, SetTimer, UpstreamSaid
from relay.core.dialling import Pace
from relay.core.events import (
    DOWNSTREAM,
    BudgetSpent,
    Closed,
    DialFailed,
    Dismissed,
    DrainRequested,
    Event,
    Opened,
    Stuck,
    Timer,
    TimerFired,
)
from relay.core.limits import Limits
from relay.core.session import Session
from relay.core.state import NEXT, State
from tests.core.playbook import (
    SETUP,
    SETUP_REQUEST,
    Playbook,
    Wait,
    awaiting,
    client,
    connecting,
    content,
    gemini,
    relaying,
    setup_complete,
    spoken,
)


def dialling(limits: Limits | None = None, jitter: float = 0.5) -> Session:
    """A session that waits for leg 1 to open."""
    session = awaiting(limits=limits, jitter=jitter)
    session.handle(client(SETUP_REQUEST), 0.0)
    return session


# Dialling ------------------------------------------------------------------------------------------------------------


def test_a_failed_dial_is_repeated_after_a_pause() -> None:
    """The pause is drawn between nothing and a bound that doubles, and the next leg has the next number."""
    session = dialling(Limits(pace=Pace(redial_base_s=0.25, redial_max_s=0.8)))
    assert (
        Playbook(session)
        >> DialFailed(1, 0)
        << SetTimer(Timer.REDIAL, 0.125)
        >> Wait(0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(2)
        >> DialFailed(2, 503)
        << SetTimer(Timer.REDIAL, 0.125 + 0.25)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(3)
        >> DialFailed(3, 500)
        << SetTimer(Timer.REDIAL, 0.125 + 0.4)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(4)
        >> DialFailed(4, 0)
        << SetTimer(Timer.REDIAL, 0.125 + 0.4)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(5)
        >> Opened(5)
        << Send(5, SETUP, text=True)
        >> gemini(setup_complete(), leg=5)
        << Send(DOWNSTREAM, setup_complete(), text=False)
        << CancelTimer(Timer.CONNECT)
    )
    assert session.line.dialling.dials == 5


def test_a_pause_is_never_longer_than_its_bound() -> None:
    """The draw covers the whole range from nothing to the bound."""
    for jitter in (0.0, 0.999):
        (timer,) = dialling(Limits(pace=Pace(redial_base_s=0.25)), jitter).handle(DialFailed(1, 0), 10.0)
        assert timer == SetTimer(Timer.REDIAL, 10.0 + 0.25 * jitter)


def test_messages_are_held_over_a_redial() -> None:
    """What a client said while Gemini could not be reached is said once it can."""
    assert (
        Playbook(dialling())
        >> client(spoken("a"))
        >> DialFailed(1, 0)
        << SetTimer(Timer.REDIAL, 0.125)
        >> client(spoken("b"))
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(2)
        >> Opened(2)
        << Send(2, SETUP, text=True)
        >> gemini(setup_complete(), leg=2)
        << Send(DOWNSTREAM, setup_complete(), text=False)
        << CancelTimer(Timer.CONNECT)
        << Send(2, spoken("a"), text=True)
        << Send(2, spoken("b"), text=True)
    )


def test_a_gemini_that_stays_away_ends_the_session() -> None:
    """At the deadline the client is told to try later, with the last thing that went wrong."""
    assert (
        Playbook(dialling())
        >> DialFailed(1, 0)
        << SetTimer(Timer.REDIAL, 0.125)
        >> TimerFired(Timer.CONNECT)
        << End(Close(CloseReason.UPSTREAM_UNREACHABLE))
    )
    assert CloseReason.UPSTREAM_UNREACHABLE.code == 1013


@pytest.mark.parametrize("session", [dialling, connecting], ids=["no answer to the dial", "no answer to the setup"])
def test_a_gemini_that_is_silent_ends_the_session(session: Callable[[], Session]) -> None:
    """Nothing went wrong, nothing came: the client is told so."""
    assert Playbook(session()) >> TimerFired(Timer.CONNECT) << End(Close(CloseReason.UPSTREAM_SILENT))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, CloseReason.UPSTREAM_KEY_REFUSED),
        (403, CloseReason.UPSTREAM_KEY_REFUSED),
        (404, CloseReason.UPSTREAM_MODEL_REFUSED),
        (429, CloseReason.UPSTREAM_QUOTA),
    ],
)
def test_a_refusal_is_not_repeated(status: int, reason: CloseReason) -> None:
    """Where dialling again can't help, the session ends at once."""
    assert Playbook(dialling()) >> DialFailed(1, status) << End(Close(reason))


# Gemini closes -------------------------------------------------------------------------------------------------------

HOPELESS = [
    (1007, "API key not valid. Please pass a valid API key.", CloseReason.UPSTREAM_KEY_REFUSED),
    (1008, "models/x is not found for API version v1beta", CloseReason.UPSTREAM_MODEL_REFUSED),
    (1011, "Your prepayment credits are depleted.", CloseReason.UPSTREAM_BILLING),
    (1011, "You exceeded your current quota, please check your plan", CloseReason.UPSTREAM_QUOTA),
    (1007, "Request contains an invalid argument.", CloseReason.UPSTREAM_SETUP_REFUSED),
    (1007, "Invalid session handle", CloseReason.UPSTREAM_HANDLE_REFUSED),
    (1007, "User location is not supported for the API use.", CloseReason.UPSTREAM_REGION),
]


@pytest.mark.parametrize(("code", "said", "reason"), HOPELESS)
@pytest.mark.parametrize("session", [connecting, relaying])
def test_gemini_s_refusal_ends_the_session(
    session: Callable[[], Session], code: int, said: str, reason: CloseReason
) -> None:
    """The operator hears Google's words, the client ours, before and after the setup was answered."""
    assert Playbook(session()) >> Closed(1, code, said) << UpstreamSaid(code, said) << End(Close(reason))


PASSING = [(1006, ""), (1011, "Internal error encountered."), (1011, "The service is currently unavailable.")]


@pytest.mark.parametrize(("code", "said"), PASSING)
def test_a_passing_failure_before_the_answer_is_dialled_again(code: int, said: str) -> None:
    """Nothing of the conversation is lost yet, so a new leg can begin it; the last failure is what is told."""
    assert (
        Playbook(connecting())
        >> Closed(1, code, said)
        << UpstreamSaid(code, said)
        << SetTimer(Timer.REDIAL, 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(2)
        >> TimerFired(Timer.CONNECT)
        << End(Close(of_upstream_close(code, said)))
    )


@pytest.mark.parametrize(("code", "said"), [*PASSING, (1000, ""), (1011, "Deadline expired before operation could")])
def test_a_leg_lost_in_the_conversation_is_replaced(code: int, said: str) -> None:
    """The session goes on; a new leg is dialled after a pause, and has to be ready in time."""
    session = relaying()
    assert (
        Playbook(session)
        >> Closed(1, code, said)
        << UpstreamSaid(code, said)
        << SetTimer(Timer.CONNECT, 15.0)
        << SetTimer(Timer.REDIAL, 0.125)
        >> TimerFired(Timer.REDIAL)
        << OpenUpstream(2)
        >> Opened(2)
        << Send(2, SETUP, text=True)
    )
    assert session.state is State.HANDOVER


def test_gemini_s_goodbye_before_the_answer_ends_the_session() -> None:
    """A clean close in place of the answer to the client's own setup is the answer."""
    assert (
        Playbook(connecting())
        >> Closed(1, 1000, "")
        << UpstreamSaid(1000, "")
        << CancelTimer(Timer.ANSWER)
        << End(Close(CloseReason.UPSTREAM_FINISHED))
    )


# The client closes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, CloseReason.CLIENT_LEFT),
        (1001, CloseReason.CLIENT_LEFT),
        (1005, CloseReason.CLIENT_LEFT),
        (4000, CloseReason.CLIENT_LEFT),
        (1006, CloseReason.CLIENT_LOST),
        (FOUND + 1002, CloseReason.PROTOCOL_ERROR),
        (FOUND + 1007, CloseReason.BAD_FRAME),
        (FOUND + 1009, CloseReason.FRAME_TOO_BIG),
    ],
)
@pytest.mark.parametrize("session", [awaiting, connecting, relaying])
def test_a_client_that_is_gone_ends_the_session(session: Callable[[], Session], code: int, reason: CloseReason) -> None:
    """In every state, and what it said last is not repeated."""
    assert Playbook(session()) >> Closed(DOWNSTREAM, code, "secret words") << End(Close(reason))


# Other ends ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (DrainRequested(), CloseReason.DRAINING),
        (Dismissed(), CloseReason.ENDED_BY_OPERATOR),
        (TimerFired(Timer.SESSION), CloseReason.SESSION_TOO_LONG),
        (Stuck(DOWNSTREAM), CloseReason.CLIENT_TOO_SLOW),
    ],
)
@pytest.mark.parametrize("session", [awaiting, dialling, connecting, relaying])
def test_what_ends_a_session_in_every_state(session: Callable[[], Session], event: Event, reason: CloseReason) -> None:
    """Shutdown, the session's own limit and a client that does not read."""
    assert Playbook(session()) >> event << End(Close(reason))


def test_a_gemini_that_does_not_read_is_left() -> None:
    """Before the answer another dial may meet a better one; in the conversation that is a handover."""
    assert (
        Playbook(connecting())
        >> Stuck(1)
        << CloseLeg(1, 1000, "")
        << SetTimer(Timer.REDIAL, 0.125)
        >> TimerFired(Timer.CONNECT)
        << End(Close(CloseReason.UPSTREAM_TOO_SLOW))
    )
    assert (
        Playbook(relaying())
        >> Stuck(1)
        << SetTimer(Timer.CONNECT, 15.0)
        << CloseLeg(1, 1000, "")
        << SetTimer(Timer.CLOSING, 1.0)
        >> Closed(1, 1006, "")
        << CancelTimer(Timer.CLOSING)
        << OpenUpstream(2)
    )


def test_after_the_end_there_is_nothing() -> None:
    """Whatever still comes in, a session that has ended says nothing more."""
    session = relaying()
    session.handle(DrainRequested(), 0.0)
    for event in EVENTS:
        assert session.handle(event, 1.0) == []
    assert session.state is State.CLOSED


# Legs that are no more -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        Opened(1),
        DialFailed(1, 401),
        Closed(1, 1007, "API key not valid."),
        Stuck(1),
        gemini(setup_complete()),
        gemini(content("late")),
        gemini(b"nonsense"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_leg_the_session_has_left_is_ignored(event: Event) -> None:
    """What an abandoned leg still says or does changes nothing, before and after the new leg is ready."""
    session = dialling()
    session.handle(DialFailed(1, 0), 0.0)
    session.handle(TimerFired(Timer.REDIAL), 0.0)
    assert Playbook(session) >> event << None
    session.handle(Opened(2), 0.0)
    session.handle(gemini(setup_complete(), leg=2), 0.0)
    assert Playbook(session) >> event << None
    assert session.state is State.RELAYING


# The state machine as a whole ----------------------------------------------------------------------------------------

EVENTS: list[Event] = [
    client(SETUP_REQUEST),
    client(spoken("x")),
    client(b"nonsense"),
    gemini(setup_complete()),
    gemini(content("x")),
    gemini(b"nonsense"),
    Opened(1),
    DialFailed(1, 0),
    DialFailed(1, 401),
    Closed(DOWNSTREAM, 1000, ""),
    Closed(1, 1011, "Internal error"),
    Closed(1, 1007, "API key not valid"),
    Stuck(DOWNSTREAM),
    Stuck(1),
    *[TimerFired(timer) for timer in Timer],
    BudgetSpent("tokens of this day"),
    DrainRequested(),
    DrainRequested(5.0),
    Dismissed(),
]


def resuming() -> Session:
    """A session whose leg was lost; the next one has got its setup."""
    session = relaying()
    session.handle(Closed(1, 1006, ""), 0.0)
    session.handle(TimerFired(Timer.REDIAL), 0.0)
    session.handle(Opened(2), 0.0)
    return session


STATES: dict[State, Callable[[], Session]] = {
    State.AWAITING_SETUP: awaiting,
    State.CONNECTING: connecting,
    State.RELAYING: relaying,
    State.HANDOVER: resuming,
}


def test_every_event_in_every_state_makes_a_permitted_move_and_every_move_is_made() -> None:
    """No event is unexpected anywhere, `End` marks exactly the moves to the last state, and NEXT lists no idle move."""
    moves: dict[State, set[State]] = {state: set() for state in State}
    for before, make in STATES.items():
        for event in [*EVENTS, gemini(setup_complete(), leg=2)]:
            session = make()
            assert session.state is before
            commands: list[Command] = session.handle(event, 1.0)
            if session.state is not before:
                moves[before].add(session.state)
            ends = [command for command in commands if isinstance(command, End)]
            assert len(ends) == (session.state is State.CLOSED)
            assert not ends or commands[-1] is ends[0]
    assert moves == {state: set(after) for state, after in NEXT.items()}
