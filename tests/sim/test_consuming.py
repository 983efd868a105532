"""What each kind of client message does."""

from typing import Any

import pytest

from relay.sim import stamp
from relay.sim.consuming import ledger_entry
from relay.sim.outputs import Close
from tests.sim.playing import (
    CASCADE,
    V38,
    Player,
    calls,
    google,
    live,
    said,
    setup,
    shape,
    silence,
    sound,
    spoken,
    tone,
)


def test_incomplete_content_waits_for_the_rest() -> None:
    """Without turnComplete nothing is answered; then everything at once."""
    player = live(google(), outputAudioTranscription={})

    assert player.send(said("first half", turnComplete=False)) == []
    assert "first half second half" in spoken(player.send(said("second half")))


def test_an_empty_complete_content_asks_for_an_answer() -> None:
    """`{"turnComplete": true}` alone makes the model speak."""
    player = live(google(), outputAudioTranscription={})

    assert "listening" in spoken(player.send({"clientContent": {"turnComplete": True}}))


def test_history_can_be_seeded() -> None:
    """With initialHistoryInClientContent the first contents are history, unanswered; then talk begins."""
    player = live(google(), outputAudioTranscription={}, historyConfig={"initialHistoryInClientContent": True})
    history = {
        "turns": [{"role": "user", "parts": [{"text": "I am Ana."}]}, {"role": "model", "parts": [{"text": "Hi"}]}]
    }

    assert player.send({"clientContent": history}) == []
    assert player.send({"clientContent": {"turnComplete": True}}) == []
    assert "I am Ana." in spoken(player.send(said("what did I say?")))


def test_roles_are_user_and_model() -> None:
    """Any other role is an invalid argument; `system` is for Vertex and changes the instruction."""
    wrong = {"clientContent": {"turns": [{"role": "system", "parts": [{"text": "x" * 4_000}]}], "turnComplete": True}}
    dev, vertex = live(google()), live(google(), CASCADE)

    dev.send(wrong)
    bill = vertex.send(wrong)[-1]["usageMetadata"]
    assert dev.close == Close(1007, "Request contains an invalid argument.")
    assert bill["promptTokenCount"] >= 1_000


def test_pictures_in_content_are_seen_and_billed() -> None:
    """An image part is 258 tokens."""
    player = live(google(), outputAudioTranscription={})
    parts = [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, {"text": "what is this"}]

    frames = player.send({"clientContent": {"turns": [{"parts": parts}], "turnComplete": True}})

    assert "1 picture" in spoken(frames)
    assert {"modality": "IMAGE", "tokenCount": 258} in frames[-1]["usageMetadata"]["promptTokensDetails"]


def test_a_context_update_changes_instruction_and_tools() -> None:
    """New functions can be called from then on; an empty list clears them; the new instruction is billed."""
    player = live(google())
    cheap = player.send(said("x"))[-1]["usageMetadata"]["promptTokenCount"]
    update = {
        "systemInstruction": {"parts": [{"text": "y" * 4_000}]},
        "tools": {"tools": [{"functionDeclarations": [{"name": "f"}]}]},
    }

    assert player.send({"contextUpdate": update}) == []
    assert player.send(said("x"))[-1]["usageMetadata"]["promptTokenCount"] > cheap + 900
    assert calls(player.send(said("call f")))
    player.send({"contextUpdate": {"tools": {}}})
    assert calls(player.send(said("call f"))) == []


def test_voice_activity_is_signalled_if_wanted() -> None:
    """explicitVadSignal: start and end of speech with their place in the stream."""
    player = live(google(), explicitVadSignal=True)

    frames = player.send(sound(silence(0.5) + tone(1.0) + silence(0.6)))

    activity = [frame["voiceActivity"] for frame in frames if "voiceActivity" in frame]
    assert [one["voiceActivityType"] for one in activity] == ["ACTIVITY_START", "ACTIVITY_END"]
    assert shape(live(google()).send(sound(tone(0.5) + silence(0.6))))[0] == "opening"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"activityStart": {}}, "Explicit activity control is not supported"),
        ({"mediaChunks": [{"mimeType": "audio/pcm", "data": ""}]}, "realtime_input.media_chunks is deprecated."),
        ({"audio": {"mimeType": "audio/pcm", "data": "YQ=="}}, "Request contains an invalid argument."),
    ],
)
def test_refused_realtime_input_closes(body: dict[str, Any], reason: str) -> None:
    """What the ear refuses ends the connection with 1007."""
    player = live(google())
    player.send({"realtimeInput": body})

    assert player.close is not None
    assert player.close.code == 1007
    assert player.close.reason.startswith(reason)


def test_everything_consumed_is_in_the_ledger_in_order() -> None:
    """Kinds, texts, places, sizes, and the numbers of stamped audio."""
    player = Player(google())
    player.send(setup(V38))
    player.send(sound(stamp.put(silence(0.1), 41, 0.0)))
    player.send(sound(silence(0.1)))
    player.send(said("hello"))
    player.send({"realtimeInput": {"text": "typed"}})

    session = player.dialogue.session
    assert session is not None
    entries = session.trail.entries()
    assert [(e.place, e.kind, e.number, e.text) for e in entries] == [
        (1, "realtimeInput.audio", 41, ""),
        (2, "realtimeInput.audio", None, ""),
        (3, "clientContent", None, "hello"),
        (4, "realtimeInput.text", None, "typed"),
    ]
    assert all(entry.size > 20 for entry in entries)


def test_long_texts_are_shortened_in_the_ledger() -> None:
    """Two hundred characters are enough to tell messages apart."""
    assert len(ledger_entry(said("x" * 10_000), 1, 1, 10_000).text) == 200
