"""Sessions whose client drops: parking, coming back once, what is sent again, and what is lost."""

from typing import Any

import pytest

from relay.core.closing import FOUND, Close, CloseReason
from relay.core.commands import (
    CancelTimer,
    ClientResumed,
    CloseLeg,
    Command,
    End,
    OpenUpstream,
    Parked,
    Rejoin,
    Send,
    SetTimer,
)
from relay.core.downstream import INTERRUPTED, KEPT_OVERHEAD_BYTES, TURN_COMPLETE, Ticket
from relay.core.events import (
    DOWNSTREAM,
    Closed,
    DrainRequested,
    Opened,
    Reattached,
    Stuck,
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
    content,
    gemini,
    go_away,
    microphone,
    policy,
    pretty,
    resume,
    setup_complete,
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


def ours(generation: int, place: int, theirs: str = "h1") -> bytes:
    """The message that brings the client a handle."""
    handle = FakeHandles().seal(Ticket(Secret(theirs), "s1", generation, place), MODEL)
    return pretty({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}})


def told(via: str, replayed: int, missed: int | None) -> bytes:
    """How a client is told that it is back."""
    resumed = {"via": via, "replayed": replayed, "missed": missed, "gap": missed != 0}
    return pretty({"serverContent": {}, "relay": {"resumed": resumed}})


def rejoin(session: Session, ticket: Ticket, received_since: int = 0) -> list[Command]:
    """A client comes back with this ticket; the session takes it."""
    asked = Rejoin(ticket, received_since, SETUP)
    assert session.claims(asked) is True
    return session.handle(session.reattachment(asked), AT_REST)


# Dropping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1001, 1006])
def test_a_client_that_drops_leaves_its_session_parked(code: int) -> None:
    """Without a goodbye, or with that of a page that is left: it may come back within the window."""
    session = conversing()
    assert (
        Playbook(session, AT_REST)
        >> Closed(DOWNSTREAM, code, "")
        << Parked()
        << SetTimer(Timer.PARKING, AT_REST + 30.0)
        >> gemini(content("anybody there?"))
        << None
        >> Stuck(DOWNSTREAM)
        >> Closed(DOWNSTREAM, 1006, "")
        << None
    )
    assert session.parked


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, CloseReason.CLIENT_LEFT),
        (1005, CloseReason.CLIENT_LEFT),
        (4000, CloseReason.CLIENT_LEFT),
        (FOUND + 1002, CloseReason.PROTOCOL_ERROR),
        (FOUND + 1009, CloseReason.FRAME_TOO_BIG),
    ],
)
def test_a_client_that_says_goodbye_ends_its_session(code: int, reason: CloseReason) -> None:
    """A deliberate end is one, and so is a broken client."""
    assert Playbook(conversing()) >> Closed(DOWNSTREAM, code, "") << End(Close(reason))


def test_a_client_that_asked_for_nothing_is_not_waited_for() -> None:
    """It has no way back."""
    assert Playbook(at_rest()) >> Closed(DOWNSTREAM, 1006, "") << End(Close(CloseReason.CLIENT_LOST))


def test_without_a_window_a_client_is_not_waited_for() -> None:
    """The session ends with its socket; the client's handles still lead back to what Gemini remembers."""
    session = at_rest(awaiting(limits=Limits(parking_s=0.0, continuity=CALM.continuity)), ASKED)
    assert Playbook(session) >> Closed(DOWNSTREAM, 1006, "") << End(Close(CloseReason.CLIENT_LOST))


def test_a_session_that_never_began_is_not_parked() -> None:
    """There is nothing to come back to before Gemini's first answer."""
    session = awaiting()
    session.handle(client(ASKED), 0.0)
    assert Playbook(session) >> Closed(DOWNSTREAM, 1006, "") << End(Close(CloseReason.CLIENT_LOST))


def test_a_client_that_does_not_read_is_dropped_and_may_come_back() -> None:
    """Its socket is closed, since nothing gets through; the session is not."""
    close = Close(CloseReason.CLIENT_TOO_SLOW)
    assert (
        Playbook(conversing(), AT_REST)
        >> Stuck(DOWNSTREAM)
        << CloseLeg(DOWNSTREAM, 4408, close.text)
        << Parked()
        << SetTimer(Timer.PARKING, AT_REST + 30.0)
        >> Closed(DOWNSTREAM, 1006, "")
        << None
    )


def test_the_window_closes() -> None:
    """Then Gemini's side is ended too."""
    assert Playbook(parked()) >> TimerFired(Timer.PARKING) << End(Close(CloseReason.CLIENT_LOST))


def test_a_drain_ends_what_is_parked() -> None:
    """Nobody is there to be told to go elsewhere."""
    assert Playbook(parked()) >> DrainRequested(20.0) << End(Close(CloseReason.DRAINING))


def test_gemini_s_side_is_handed_over_while_parked() -> None:
    """A parked session outlives its legs like any other."""
    assert (
        Playbook(parked(), AT_REST)
        >> gemini(go_away())
        << OpenUpstream(2)
        >> Opened(2)
        << SetTimer(Timer.CONNECT, AT_REST + 15.0)
        << CloseLeg(1, 1000, "")
        >> Closed(1, 1000, "")
        << Send(2, resume("h1"), text=True)
    )


# Coming back ---------------------------------------------------------------------------------------------------------


def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    """First the answer to its setup, then how it came back, a handle of its new attachment, and the messages in order;
    then both directions flow again."""
    session = parked(conversing(announce="loss"))
    for words in ("a", "b"):
        session.handle(gemini(content(words)), AT_REST)
    assert (
        Playbook(session, AT_REST)
        >> Reattached(5)
        << CancelTimer(Timer.PARKING)
        << ClientResumed("parked", 2, 0)
        << Send(DOWNSTREAM, setup_complete(), text=False)
        << Send(DOWNSTREAM, told("parked", 2, 0), text=False)
        << Send(DOWNSTREAM, ours(1, 10), text=False)
        << Send(DOWNSTREAM, content("a"), text=False)
        << Send(DOWNSTREAM, content("b"), text=False)
        >> gemini(content("c"))
        << Send(DOWNSTREAM, content("c"), text=False)
        >> client(microphone(1))
        << Send(1, microphone(1), text=True)
    )
    assert not session.parked


@pytest.mark.parametrize(("received_since", "again"), [(0, ["a", "b", "c"]), (1, ["b", "c"]), (3, []), (99, [])])
def test_a_client_may_tell_how_far_it_got(received_since: int, again: list[str]) -> None:
    """Counted from its handle; without a count everything since that comes once more."""
    session = conversing()
    for words in ("a", "b"):
        session.handle(gemini(content(words)), AT_REST)
    parked(session)
    session.handle(gemini(content("c")), AT_REST)
    commands = rejoin(session, Ticket(Secret("h1"), "s1", 0, 5), received_since)
    assert commands[4:] == [Send(DOWNSTREAM, content(words), text=False) for words in again]


def test_what_did_not_fit_is_counted_as_missed() -> None:
    """The oldest goes first; the client is told how many, and the meter counts them."""
    limits = Limits(parking_bytes=2 * (len(content("a")) + KEPT_OVERHEAD_BYTES), continuity=CALM.continuity)
    session = at_rest(awaiting(policy(announce="loss"), limits), ASKED)
    parked(session)
    for words in ("a", "b", "c"):
        session.handle(gemini(content(words)), AT_REST)
    commands = rejoin(session, Ticket(Secret("h1"), "s1", 0, 5))
    assert commands[1] == ClientResumed("parked", 2, 1)
    assert commands[3] == Send(DOWNSTREAM, told("parked", 2, 1), text=False)
    assert [command.payload for command in commands[5:] if isinstance(command, Send)] == [content("b"), content("c")]
    assert session.meter.frames_dropped_down == 1


def test_the_ends_that_the_relay_makes_up_are_kept_too() -> None:
    """A turn that was cut while the client was away is ended for it when it is back."""
    session = parked()
    session.handle(gemini(content("well")), AT_REST)
    session.handle(Closed(1, 1006, ""), AT_REST)
    commands = rejoin(session, Ticket(Secret("h1"), "s1", 0, 5))
    sent = [command.payload for command in commands[4:] if isinstance(command, Send)]
    assert sent == [content("well"), INTERRUPTED, TURN_COMPLETE]


def test_a_half_dead_socket_is_taken_over() -> None:
    """The client is back before anybody noticed that it was gone."""
    session = conversing()
    session.handle(gemini(content("a")), AT_REST)
    commands = rejoin(session, Ticket(Secret("h1"), "s1", 0, 5))
    assert commands[1] == ClientResumed("parked", 1, 0)
    assert commands[-1] == Send(DOWNSTREAM, content("a"), text=False)
