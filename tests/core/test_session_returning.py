"""Clients that come back: which handle leads where, how often, and what a drain has to do with it."""

from typing import Any

import pytest

from relay.core.closing import Close, CloseReason
from relay.core.commands import (
    CancelTimer,
    ClientResumed,
    Command,
    End,
    OpenUpstream,
    Rejoin,
    Send,
    SetTimer,
    Violated,
)
from relay.core.downstream import KEPT_OVERHEAD_BYTES, Ticket
from relay.core.events import (
    DOWNSTREAM,
    Closed,
    DrainRequested,
    Opened,
    RejoinFailed,
    Timer,
    TimerFired,
)
from relay.core.limits import Limits
from relay.core.secret import Secret
from relay.core.session import Session
from tests.core.playbook import (
    AT_REST,
    CALM,
    MODEL,
    FakeHandles,
    Playbook,
    at_rest,
    awaiting,
    client,
    compact,
    content,
    gemini,
    issued,
    microphone,
    policy,
    pretty,
    relaying,
    resume,
    setup_complete,
    spoken,
    turn_complete,
)

ASKED = b'{"setup":{"sessionResumption":{}}}'

SETUP = {"model": MODEL}


def conversing(**behaviour: Any) -> Session:
    """A session at rest whose client asked for handles.

    The client got, by place: 1 setupComplete, 2 a handle, 3 the answer, 4 its end, 5 the handle that leads to `h1`.
    """
    return at_rest(awaiting(policy(**behaviour)), ASKED)


def parked(session: Session | None = None) -> Session:
    """A session whose client's socket was cut."""
    session = session or conversing()
    session.handle(Closed(DOWNSTREAM, 1006, ""), AT_REST)
    return session


def told(via: str, replayed: int, missed: int | None) -> bytes:
    """How a client is told that it is back."""
    resumed = {"via": via, "replayed": replayed, "missed": missed, "gap": missed != 0}
    return pretty({"serverContent": {}, "relay": {"resumed": resumed}})


def rejoin(session: Session, ticket: Ticket, received_since: int = 0) -> list[Command]:
    """A client comes back with this ticket; the session takes it."""
    asked = Rejoin(ticket, received_since, SETUP)
    assert session.claims(asked) is True
    return session.handle(session.reattachment(asked), AT_REST)


# Who may come back ---------------------------------------------------------------------------------------------------


def test_a_handle_leads_back_once() -> None:
    """As soon as the client was heard on its new socket, the old handle is worthless and the new one is not."""
    session = parked()
    rejoin(session, Ticket(Secret("h1"), "s1", 0, 5))
    session.handle(client(microphone(1)), AT_REST)
    assert session.claims(Rejoin(Ticket(Secret("h1"), "s1", 0, 5), 0, SETUP)) is False
    assert session.claims(Rejoin(Ticket(Secret("h1"), "s1", 1, 8), 0, SETUP)) is True
    assert session.claims(Rejoin(Ticket(Secret("h1"), "s1", 2, 8), 0, SETUP)) is False


def test_a_client_that_never_got_back_may_try_again() -> None:
    """Its new socket died before it heard anything: nothing of what that one was sent counts as received."""
    session = parked(conversing(announce="loss"))
    session.handle(gemini(content("a")), AT_REST)
    for generation in (1, 2, 3):
        commands = rejoin(session, Ticket(Secret("h1"), "s1", 0, 5))
        assert commands[1] == ClientResumed("parked", 1, 0)
        assert commands[-1] == Send(DOWNSTREAM, content("a"), text=False)
        assert session.downstream.generation == generation
        session.handle(Closed(DOWNSTREAM, 1006, ""), AT_REST)


def test_a_gap_that_nobody_heard_of_is_told_again() -> None:
    """The attachment that was told of it died first; it is counted once all the same."""
    limits = Limits(parking_bytes=len(content("a")) + KEPT_OVERHEAD_BYTES, continuity=CALM.continuity)
    session = parked(at_rest(awaiting(limits=limits), ASKED))
    for words in ("a", "b"):
        session.handle(gemini(content(words)), AT_REST)
    for _ in range(2):
        commands = rejoin(session, Ticket(Secret("h1"), "s1", 0, 5))
        assert commands[1] == ClientResumed("parked", 1, 1)
        session.handle(Closed(DOWNSTREAM, 1006, ""), AT_REST)
    assert session.meter.frames_dropped_down == 1


def test_a_session_is_not_given_to_a_client_that_asks_for_another() -> None:
    """Another setup can't be had by taking over a session that runs on this one."""
    other = {"model": MODEL, "generationConfig": {"temperature": 1}}
    assert parked().claims(Rejoin(Ticket(Secret("h1"), "s1", 0, 5), 0, other)) is None


def test_a_session_that_is_over_can_t_be_claimed() -> None:
    """Nor one that has not begun."""
    session = parked()
    session.handle(TimerFired(Timer.PARKING), AT_REST)
    assert session.claims(Rejoin(Ticket(Secret("h1"), "s1", 0, 5), 0, SETUP)) is None
    assert awaiting().claims(Rejoin(Ticket(Secret("h1"), "s1", 0, 5), 0, SETUP)) is None


# The new socket's own session ----------------------------------------------------------------------------------------


def asking(place: int = 5, suffix: str = "", theirs: str = "h1") -> bytes:
    """A setup with a handle of session `s0`'s."""
    handle = FakeHandles().seal(Ticket(Secret(theirs), "s0", 0, place), MODEL) + suffix
    return compact({"setup": {"sessionResumption": {"handle": handle}}})


@pytest.mark.parametrize(
    ("suffix", "count"),
    [("", 0), (".0", 0), (".17", 17), (".-1", 0), (".x", 0), (".1.2", 0), (".", 0), (".99999999999", 0), (".١", 0)],
)
def test_a_handle_may_be_followed_by_a_count(suffix: str, count: int) -> None:
    """Anything that is no count is none: then everything since the handle comes once more."""
    commands = awaiting().handle(client(asking(5, suffix)), 0.0)
    assert commands == [CancelTimer(Timer.SETUP), Rejoin(Ticket(Secret("h1"), "s0", 0, 5), count, SETUP)]


def test_a_handle_that_was_used_already_is_refused() -> None:
    """Whoever has a copy of it gets nothing."""
    session = awaiting()
    session.handle(client(asking()), 0.0)
    path = "setup.sessionResumption.handle"
    assert (
        Playbook(session)
        >> RejoinFailed(taken=True)
        << Violated("handle", path, rejected=True)
        << End(Close(CloseReason.REFUSED_BY_POLICY, f"{path} was used already: each leads back once"))
    )


def test_where_the_session_is_gone_gemini_s_handle_leads_back() -> None:
    """The client is told that nobody can say what it missed; its new handles are of this session."""
    session = awaiting(policy(announce="loss"))
    session.handle(client(asking()), 0.0)
    fresh_handle = FakeHandles().seal(Ticket(Secret("h1"), "s1", 0, 3), MODEL)
    assert (
        Playbook(session)
        >> RejoinFailed()
        << SetTimer(Timer.CONNECT, 15.0)
        << OpenUpstream(1)
        >> Opened(1)
        << Send(1, resume("h1"), text=True)
        >> gemini(setup_complete())
        << Send(DOWNSTREAM, setup_complete(), text=False)
        << ClientResumed("handle", 0, None)
        << Send(DOWNSTREAM, told("handle", 0, None), text=False)
        << Send(
            DOWNSTREAM,
            pretty({"sessionResumptionUpdate": {"newHandle": fresh_handle, "resumable": True}}),
            text=False,
        )
        << CancelTimer(Timer.CONNECT)
    )


def test_a_handle_that_gemini_no_longer_knows_ends_the_session() -> None:
    """The client is told to start afresh; nothing is begun behind its back."""
    session = awaiting()
    session.handle(client(asking()), 0.0)
    session.handle(RejoinFailed(), 0.0)
    session.handle(Opened(1), 0.0)
    commands = session.handle(Closed(1, 1008, "BidiGenerateContent session not found"), 0.0)
    assert commands[-1] == End(Close(CloseReason.UPSTREAM_HANDLE_REFUSED))


# Drain ---------------------------------------------------------------------------------------------------------------


def test_a_drain_asks_the_client_to_go_elsewhere() -> None:
    """It gets a goAway with the time it has; who stays is closed, who leaves is not waited for."""
    message = pretty({"goAway": {"timeLeft": "20.000s"}})
    session = conversing()
    assert (
        Playbook(session, AT_REST)
        >> DrainRequested(20.0)
        << Send(DOWNSTREAM, message, text=False)
        << SetTimer(Timer.DRAIN, AT_REST + 20.0)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
        >> TimerFired(Timer.DRAIN)
        << End(Close(CloseReason.DRAINING))
    )
    session = conversing()
    session.handle(DrainRequested(20.0), AT_REST)
    assert Playbook(session) >> Closed(DOWNSTREAM, 1006, "") << End(Close(CloseReason.CLIENT_LOST))


def test_a_drain_without_time_ends_the_session() -> None:
    """Also one that was asked nicely before."""
    session = conversing()
    session.handle(DrainRequested(20.0), AT_REST)
    assert Playbook(session) >> DrainRequested() << End(Close(CloseReason.DRAINING))


# What is said twice --------------------------------------------------------------------------------------------------


def test_a_handle_that_rides_on_the_answer_to_the_setup_stays_here() -> None:
    """Neither the first socket nor the next one gets to see it."""
    session = awaiting()
    session.handle(client(ASKED), 0.0)
    session.handle(Opened(1), 0.0)
    update = {"newHandle": "canary", "resumable": True}
    commands = session.handle(gemini(pretty({"setupComplete": {}, "sessionResumptionUpdate": update})), 0.0)
    assert commands[0] == Send(DOWNSTREAM, setup_complete(), text=False)
    assert session.downstream.setup_complete == setup_complete()


def test_nothing_is_kept_for_a_client_that_may_not_come_back() -> None:
    """No memory is spent on it."""
    session = relaying()
    session.handle(gemini(content("a")), 0.0)
    assert session.downstream.kept_bytes == 0


def test_what_is_kept_is_bounded() -> None:
    """However long the client is away, or the session lasts."""
    limits = Limits(parking_bytes=1000, continuity=CALM.continuity)
    session = at_rest(awaiting(limits=limits), ASKED)
    for number in range(100):
        session.handle(gemini(content(f"word {number}")), AT_REST)
        assert session.downstream.kept_bytes <= 1000
    session.handle(client(spoken("x")), AT_REST)
    session.handle(gemini(turn_complete()), AT_REST)
    session.handle(gemini(issued("h2")), AT_REST + 1.0)
    session.handle(gemini(issued("h3")), AT_REST + 60.0)
    session.handle(gemini(issued("h4")), AT_REST + 61.0)
    assert session.downstream.kept_bytes == 0, "what came long before the last but one handle has arrived"
