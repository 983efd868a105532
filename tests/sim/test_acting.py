"""Faults and scripted steps carried out on a connection."""

from typing import Any

from relay.sim.actions import Action, parse_action
from relay.sim.outputs import Close, Frame, Stall
from tests.sim.playing import Player, calls, google, handles, live, said, setup, shape, spoken


def act(player: Player, kind: str, **arguments: Any) -> list[dict[str, Any]]:
    """Do this to a player's connection; what was sent at once."""
    action = parse_action({kind: arguments}, "do")
    assert isinstance(action, Action), action
    player.dialogue.act(action, player.now)
    return player.drain()


def test_closes_cuts_and_stalls_are_passed_on() -> None:
    """What happens on the wire is asked of the connection."""
    closed, cut, stalled = live(google()), live(google()), live(google())

    act(closed, "close", code=1008, reason="The operation was aborted.")
    act(cut, "cut")
    act(stalled, "stall", **{"for": "5s", "deaf": True})

    assert closed.close == Close(1008, "The operation was aborted.")
    assert cut.cut is not None
    assert cut.cut.reset
    assert stalled.stalls == [Stall(5.0, True)]


def test_silence_swallows_everything_but_the_close() -> None:
    """The connection stays open and says nothing more."""
    player = live(google())
    act(player, "silence")

    assert player.send(said("hello")) == []
    act(player, "close")
    assert player.close is not None


def test_go_away_and_handles_can_be_sent_at_any_time() -> None:
    """With or without timeLeft; with or without a handle."""
    player = live(google())

    assert act(player, "go_away", time_left="5s") == [{"goAway": {"timeLeft": "5s"}}]
    assert act(player, "go_away", time_left="none") == [{"goAway": {}}]
    assert len(handles(act(player, "handle"))) == 1
    assert act(player, "handle", resumable=False) == [{"sessionResumptionUpdate": {}}]


def test_handles_can_be_killed() -> None:
    """The next resume with any handle of the session is refused."""
    service = google()
    player = live(service)
    (handle,) = handles(act(player, "handle"))
    act(player, "kill_handles")
    player.dialogue.closed(player.now)

    again = Player(service, connection=2)
    again.send(setup(sessionResumption={"handle": handle}))

    assert again.close == Close(1007, "Invalid session handle")


def test_words_and_calls_can_be_put_into_the_models_mouth() -> None:
    """It says what it is told, calls what it is told, and cancels."""
    player = live(google(), outputAudioTranscription={})

    assert spoken(act(player, "say", text="as I was told")) == "as I was told"
    (one,) = calls(act(player, "tool_call", name="f", args={"a": 1}))
    assert act(player, "cancel_calls") == [{"toolCallCancellation": {"ids": [one]}}]
    assert act(player, "cancel_calls") == []


def test_an_answer_can_be_interrupted() -> None:
    """As if the user had spoken."""
    player = live(google(burst=1.0))
    player.send(said("hello"))
    player.wait(1.0)

    assert shape(act(player, "interrupt")) == ["interrupted", "turnComplete+usage"]


def test_any_message_and_any_text_can_be_sent() -> None:
    """Server messages nobody has yet, and frames that are not even JSON."""
    player = live(google())

    assert act(player, "send", message={"newThing": {"x": 1}}) == [{"newThing": {"x": 1}}]
    act(player, "send_text", text="{garbage")
    last = player.outputs[-1]
    assert isinstance(last, Frame)
    assert last.payload == b"{garbage"


def test_before_the_setup_only_the_wire_can_be_acted_on() -> None:
    """There is no conversation yet; a close works all the same."""
    player = Player(google())

    assert act(player, "say", text="too early") == []
    act(player, "close")
    assert player.close is not None
    assert act(player, "close") == []
