"""goAway, lifetimes and handles, on the dialogue's own clock."""

from typing import Any

import pytest

from relay.sim.outputs import Close
from tests.sim.playing import CASCADE, V31, Player, google, handles, live, said, shape


def aged(seconds: float, **knobs: Any) -> tuple[Player, list[dict[str, Any]]]:
    """A quiet connection after that time, and what it was sent."""
    player = live(google(**knobs))
    return player, player.wait(seconds)


def test_go_away_comes_at_540_seconds_with_50_left() -> None:
    """As measured: announced at 540 s, and closed with 1008 some 51 s later when ignored."""
    player, frames = aged(539.9)
    assert frames == []

    assert player.wait(0.2) == [{"goAway": {"timeLeft": "50s"}}]
    assert player.wait(50.0) == []
    assert player.close is None
    player.wait(1.0)
    assert player.close is not None
    assert player.close.code == 1008
    assert player.close.reason.startswith("Connection aborted because the client failed to close the connection after")


@pytest.mark.parametrize(
    ("knobs", "frame"),
    [
        ({"go_away_without_time_left": True}, {"goAway": {}}),
        ({"go_away_time_left_s": 0.0}, {"goAway": {"timeLeft": "0s"}}),
        ({"go_away_time_left_s": 9.5}, {"goAway": {"timeLeft": "9.500s"}}),
    ],
)
def test_time_left_has_odd_forms(knobs: dict[str, Any], frame: dict[str, Any]) -> None:
    """Left out, zero, or fractional."""
    assert aged(5.1, go_away_after_s=5.0, **knobs)[1] == [frame]


def test_go_away_can_come_twice() -> None:
    """The second a second later; the deadline stays that of the first."""
    player, frames = aged(7.0, go_away_after_s=5.0, go_away_count=2, go_away_patience_s=3.0)

    assert len(frames) == 2
    player.wait(1.1)
    assert player.close is not None


def test_silence_can_follow_a_go_away() -> None:
    """The server says nothing more, not even answers, but still closes in the end."""
    player, frames = aged(6.0, go_away_after_s=5.0, go_away_then_silent=True, go_away_patience_s=10.0)

    assert len(frames) == 1
    assert player.send(said("are you there?")) + player.wait(8.0) == []
    player.wait(2.0)
    assert player.close is not None


def test_a_lifetime_ends_without_warning() -> None:
    """The 58-minute profile: no goAway, then 1011."""
    player, frames = aged(3_479.0, go_away_after_s=0.0, lifetime_s=3_480.0)

    assert frames == []
    player.wait(2.0)
    assert player.close == Close(1011, "Deadline expired before operation could complete.")


def test_handles_come_after_every_turn_and_only_if_wanted() -> None:
    """An empty update when the turn begins, a new handle after turnComplete; nothing unless asked, except on 3.1."""
    wanted, unwanted = live(google(), sessionResumption={}), live(google())

    frames = wanted.send(said("one"))
    grammar = shape(frames)
    assert grammar[0] == "sessionResumptionUpdate:empty"
    assert grammar[-2:] == ["turnComplete+usage", "sessionResumptionUpdate"]
    assert handles(frames) != handles(wanted.send(said("two")))
    assert handles(unwanted.send(said("one"))) == []
    assert handles(live(google(), V31).send(said("one")))


def test_empty_updates_can_be_switched_off() -> None:
    """Without `announce_busy` only handles are sent."""
    player = live(google(announce_busy=False), sessionResumption={})

    assert shape(player.send(said("one")))[0] == "opening"


def test_handles_can_come_by_the_clock() -> None:
    """Every two seconds, empty while an answer is going on."""
    player = live(google(handles="timer", burst=1.0, go_away_after_s=0.0), sessionResumption={})

    idle = player.wait(10.0)
    assert len(handles(idle)) == 5
    player.send(said("one"))
    assert handles(player.wait(2.5)) == []
    assert len(set(handles(player.wait(20.0)))) >= 6


def test_handles_can_come_with_every_frame() -> None:
    """The most unsteady cadence: a new handle after each frame of an answer."""
    player = live(google(handles="frame"), sessionResumption={})
    frames = player.send(said("one"))

    pieces = [frame for frame in frames if "serverContent" in frame]
    assert len(set(handles(frames))) == len(pieces) - 1


def test_handles_can_be_withheld() -> None:
    """`--handles never`: the client asked and gets none."""
    assert handles(live(google(handles="never"), sessionResumption={}).send(said("one"))) == []


def test_transparent_updates_count_the_clients_messages() -> None:
    """On Vertex: the setup is 0, the next frame of any kind 1; after a resume the count begins anew."""
    service = google()
    player = live(service, CASCADE, sessionResumption={"transparent": True})
    player.send({"realtimeInput": {"audioStreamEnd": True}})
    player.send({"contextUpdate": {"tools": {"tools": []}}})
    update = player.send(said("three"))[-1]["sessionResumptionUpdate"]
    player.dialogue.closed(player.now)

    again = live(service, CASCADE, connection=2, sessionResumption={"transparent": True, "handle": update["newHandle"]})
    second = again.send(said("one"))[-1]["sessionResumptionUpdate"]

    assert update["lastConsumedClientMessageIndex"] == "3"
    assert second["lastConsumedClientMessageIndex"] == "1"


def test_an_index_of_zero_is_omitted() -> None:
    """proto3 leaves a zero out."""
    player = live(google(handles="timer"), CASCADE, sessionResumption={"transparent": True})

    (frame,) = player.wait(2.1)

    assert set(frame["sessionResumptionUpdate"]) == {"newHandle", "resumable"}
