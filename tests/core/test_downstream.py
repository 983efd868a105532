"""The client's side: places, what is kept for how long, and what it is told."""

import json
from dataclasses import replace

import pytest

from relay.core.commands import Command, Send
from relay.core.downstream import INTERRUPTED, KEPT_OVERHEAD_BYTES, PRESUMED_S, TURN_COMPLETE, Downstream, Ticket
from relay.core.events import DOWNSTREAM
from relay.core.handover import Cause, Handover, Outcome
from relay.core.meter import Meter
from relay.core.policy import Behaviour
from relay.core.secret import Secret
from tests.core.playbook import MODEL, FakeHandles, pretty

GOOD = Handover(Cause.GO_AWAY, True, Outcome.RESTORED, 0.0314, 2, 1, 0, 0, False, 1)


def downstream(*, resumable: bool = True, max_bytes: int = 1000, **how: bool | str) -> Downstream:
    """The side of a client that asked for handles."""
    behaviour = Behaviour(server_text=bool(how.get("always_text")), announce=str(how.get("announce", "never")))
    made = Downstream("s1", FakeHandles(), max_bytes, behaviour, Meter())
    made.resumable = resumable
    made.setup_complete = b"ready"
    return made


def payloads(commands: list[Command]) -> list[bytes]:
    """What the client is sent."""
    assert all(isinstance(command, Send) and command.leg == DOWNSTREAM for command in commands)
    return [command.payload for command in commands if isinstance(command, Send)]


def test_what_is_sent_keeps_its_opcode_unless_the_policy_has_it_in_text() -> None:
    """For browsers."""
    assert downstream().send(b"x", text=False) == [Send(DOWNSTREAM, b"x", text=False)]
    assert downstream(always_text=True).send(b"x", text=False) == [Send(DOWNSTREAM, b"x", text=True)]


def test_nothing_is_sent_to_a_client_that_is_away() -> None:
    """It is kept instead; handles are not, since it gets a new one when it is back."""
    side = downstream()
    side.attached = False
    assert side.send(b"x") == []
    assert side.send_handle(Secret("h"), MODEL) == []
    assert side.kept_bytes == 1


def test_a_client_that_did_not_ask_gets_no_handle() -> None:
    """And nothing is kept for it."""
    side = downstream(resumable=False)
    assert side.send_handle(Secret("h"), MODEL) == []
    side.send(b"x")
    assert side.kept_bytes == 0


def test_a_handle_tells_its_place() -> None:
    """Every message takes one, and so does the one that brings the handle."""
    side = downstream()
    side.send(b"a")
    side.send(b"b")
    (update,) = payloads(side.send_handle(Secret("theirs"), MODEL))
    handle = json.loads(update)["sessionResumptionUpdate"]["newHandle"]
    assert FakeHandles().unseal(handle, MODEL) == Ticket(Secret("theirs"), "s1", 0, 3)


def test_what_surely_arrived_is_not_kept() -> None:
    """It is older than the last but one handle, and than the time in which TCP would have given up."""
    side = downstream()
    side.send(b"a")
    side.send_handle(Secret("h1"), MODEL)
    side.now = PRESUMED_S + 1.0
    side.send(b"b")
    side.send_handle(Secret("h2"), MODEL)
    assert side.kept_bytes == 1
    side.now = 2 * PRESUMED_S + 2.0
    side.send_handle(Secret("h3"), MODEL)
    assert side.kept_bytes == 0


def test_nothing_is_given_up_for_an_attachment_that_was_never_heard() -> None:
    """It may be dead already."""
    side = downstream()
    side.send(b"a")
    side.attach(0, Secret("h"), MODEL)
    for round_ in range(1, 4):
        side.now = round_ * 2 * PRESUMED_S
        side.send_handle(Secret("h"), MODEL)
    assert side.kept_bytes == 1
    side.heard()
    side.send_handle(Secret("h"), MODEL)
    assert side.kept_bytes == 0


def test_the_oldest_makes_room_for_the_newest() -> None:
    """Within the bound, exactly."""
    side = downstream(max_bytes=3 + 3 * KEPT_OVERHEAD_BYTES)
    side.attached = False
    for payload in (b"a", b"b", b"c", b"d"):
        side.send(payload)
    assert side.kept_bytes == 3
    commands, replayed, missed = side.attach(0, Secret("h"), MODEL)
    assert payloads(commands)[2:] == [b"b", b"c", b"d"]
    assert (replayed, missed, side.missed) == (3, 1, 1)


def test_a_client_that_says_how_far_it_got_is_believed_as_far_as_possible() -> None:
    """Never beyond what it was sent, and not across attachments."""
    side = downstream()
    for _ in range(4):
        side.send(b"x")
    assert side.place_of(Ticket(Secret(""), "s1", 0, 1), 2) == 3
    assert side.place_of(Ticket(Secret(""), "s1", 0, 1), 99) == 4
    side.attach(4, Secret(""), MODEL)
    assert side.place_of(Ticket(Secret(""), "s1", 0, 1), 2) == 5  # before that of this attachment, 6


def test_a_client_that_is_back_gets_it_all_in_order_and_again_if_that_was_in_vain() -> None:
    """Its places are new ones, so what it got there can be told from what it did not."""
    side = downstream()
    side.send(b"a")
    side.send(b"b")
    commands, _, _ = side.attach(1, Secret("h"), MODEL)
    assert payloads(commands)[0] == b"ready"
    assert payloads(commands)[2:] == [b"b"]
    assert side.send(b"c") == [Send(DOWNSTREAM, b"c", text=False)]
    commands, _, _ = side.attach(side.place_of(Ticket(Secret(""), "s1", 0, 1), 0), Secret("h"), MODEL)
    assert payloads(commands)[2:] == [b"b", b"c"]
    side.heard()
    assert not side.may_claim(Ticket(Secret(""), "s1", 1, 4))
    assert side.may_claim(Ticket(Secret(""), "s1", 2, 4))


@pytest.mark.parametrize(
    ("interrupted", "cancelled", "said"),
    [
        (True, [], [INTERRUPTED, TURN_COMPLETE]),
        (False, [], [TURN_COMPLETE]),
        (True, ["a"], [pretty({"toolCallCancellation": {"ids": ["a"]}}), INTERRUPTED, TURN_COMPLETE]),
    ],
)
def test_the_missing_end_of_a_turn_is_made_up(interrupted: bool, cancelled: list[str], said: list[bytes]) -> None:
    """In the order in which Gemini would have said it."""
    assert payloads(downstream().end_turn(interrupted=interrupted, cancelled=cancelled)) == said


def test_a_client_is_told_of_a_handover_as_its_policy_wants_it() -> None:
    """Never, where something was lost, or always."""
    bad = replace(GOOD, dropped=1)
    for announce, handover, told in [
        ("never", bad, False),
        ("loss", GOOD, False),
        ("loss", bad, True),
        ("always", GOOD, True),
    ]:
        assert bool(downstream(announce=announce).announce(handover)) is told


def test_an_announcement_rides_on_a_message_that_every_sdk_knows() -> None:
    """A name of our own must not stand alone."""
    (message,) = payloads(downstream(announce="always").announce(GOOD))
    assert json.loads(message) == {
        "serverContent": {},
        "relay": {
            "handover": {
                "cause": "go_away",
                "planned": True,
                "outcome": "restored",
                "stallMs": 31.4,
                "framesHeld": 2,
                "replayed": 1,
                "dropped": 0,
                "uncertain": 0,
                "turnCut": False,
                "restored": True,
            }
        },
    }


@pytest.mark.parametrize(("missed", "gap"), [(0, False), (3, True), (None, True)])
def test_a_client_is_told_how_it_came_back(missed: int | None, gap: bool) -> None:
    """A gap is one too where nobody can say how large it is."""
    (message,) = payloads(downstream(announce="loss").announce_resumed("handle", 1, missed))
    resumed = {"via": "handle", "replayed": 1, "missed": missed, "gap": gap}
    assert json.loads(message) == {"serverContent": {}, "relay": {"resumed": resumed}}
    assert downstream(announce="never").announce_resumed("handle", 1, missed) == []


def test_a_goodbye_of_the_relay_s_looks_like_gemini_s() -> None:
    """SDKs that handle one go elsewhere by themselves."""
    assert payloads(downstream().go_away(9.5)) == [pretty({"goAway": {"timeLeft": "9.500s"}})]
    assert payloads(downstream().go_away(-1.0)) == [pretty({"goAway": {"timeLeft": "0.000s"}})]
