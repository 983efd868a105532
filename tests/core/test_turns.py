"""Turns: whose it is, whether an answer is owed, and what is an echo."""

from typing import Any

import pytest

from relay.core.client_frames import ClientFrame
from relay.core.server_frames import server_frame
from relay.core.turns import Turns
from tests.core.playbook import audio_out, content, generated, interrupted, pretty, tool_call, turn_complete


def after(*said: bytes | tuple[str, dict[str, Any]]) -> Turns:
    """The turns after all this, a second apart from 1.0 on; a tuple is of the client's."""
    turns = Turns()
    for now, message in enumerate(said, 1):
        if isinstance(message, tuple):
            turns.from_client(ClientFrame(*message), float(now))
        else:
            frame = server_frame(message)
            assert frame is not None
            turns.from_gemini(frame, float(now))
    return turns


TEXT = ("realtimeInput", {"text": "x"})
AUDIO: tuple[str, dict[str, Any]] = ("realtimeInput", {"audio": {}})
START: tuple[str, dict[str, Any]] = ("realtimeInput", {"activityStart": {}})
END: tuple[str, dict[str, Any]] = ("realtimeInput", {"activityEnd": {}})


@pytest.mark.parametrize(
    ("said", "owed"),
    [
        ([TEXT], True),
        ([AUDIO], False),
        ([START], False),
        ([START, AUDIO, END], True),
        ([("clientContent", {"turns": [], "turnComplete": True})], True),
        ([("clientContent", {"turns": []})], False),
        ([("toolResponse", {"functionResponses": [{"id": "a"}]})], True),
        ([("toolResponse", {"functionResponses": [{"id": "a", "willContinue": True}]})], False),
        ([("toolResponse", {"functionResponses": [{"id": "a", "scheduling": "SILENT"}]})], False),
        ([("toolResponse", {"functionResponses": [{"scheduling": "SILENT"}, {"scheduling": "INTERRUPT"}]})], True),
        ([("contextUpdate", {"tools": {}})], False),
        ([TEXT, content("x")], False),
        ([TEXT, tool_call("a")], False),
        ([content("x"), TEXT, turn_complete()], False),
        ([content("x"), TEXT, interrupted(), turn_complete()], True),
        ([content("x"), TEXT, interrupted(), turn_complete(), content("y")], False),
    ],
)
def test_an_answer_is_owed_to_what_demands_one(said: list[Any], owed: bool) -> None:
    """Until the model begins to say something; an interruption leaves what interrupted to be answered."""
    assert after(*said).owed is owed


@pytest.mark.parametrize(
    ("said", "idle", "waiting"),
    [
        ([], True, False),
        ([TEXT], False, True),
        ([START], False, False),
        ([content("x")], False, True),
        ([audio_out(0.1)], False, True),
        ([content("x"), generated()], False, False),
        ([content("x"), generated(), turn_complete()], True, False),
        ([content("x"), turn_complete()], True, False),
        (
            [content("x"), pretty({"serverContent": {"turnComplete": True, "interactionStatus": "IN_PROGRESS"}})],
            False,
            True,
        ),
    ],
)
def test_nobody_s_turn_is_in_progress_when_all_is_said(said: list[Any], idle: bool, waiting: bool) -> None:
    """Idle between turns; waiting where Gemini must say something next."""
    turns = after(*said)
    assert (turns.idle, turns.waiting) == (idle, waiting)


def test_speech_plays_in_its_own_time() -> None:
    """Whatever comes faster than it plays queues up at the client; an interruption empties the queue."""
    assert after(audio_out(4.0)).plays_until == pytest.approx(5.0)
    assert after(audio_out(4.0), audio_out(4.0)).plays_until == pytest.approx(9.0)
    assert after(audio_out(0.5), audio_out(0.5)).plays_until == pytest.approx(2.5)
    assert after(audio_out(4.0), interrupted()).plays_until == 2.0


def test_a_turn_begins_with_its_first_words() -> None:
    """What was said by then is what it answers."""
    assert after(TEXT, content("a"), content("b"), turn_complete()).began_at == 2.0
    assert after(content("a"), turn_complete(), TEXT, content("b")).began_at == 4.0


def test_a_cut_turn_is_over() -> None:
    """It plays no longer; one that was complete plays to its end."""
    turns = after(audio_out(4.0))
    turns.cut(2.0)
    assert (turns.idle, turns.plays_until) == (True, 2.0)
    turns = after(audio_out(4.0), generated())
    turns.cut(3.0)
    assert turns.idle
    assert turns.plays_until == pytest.approx(5.0)


def repeats(turns: Turns, message: bytes) -> bool:
    """Whether the message is taken for an echo; then nobody else gets it."""
    frame = server_frame(message)
    assert frame is not None
    return turns.repeats(frame)


def test_transcript_that_comes_again_after_a_resume_is_an_echo() -> None:
    """In order, once, and only until something new is said."""
    turns = after(content("Hello,"), content(" I am"), content(" here."), turn_complete())
    assert not repeats(turns, content("Hello,"))
    turns.resumed()
    assert repeats(turns, content(" I am"))
    assert not repeats(turns, content("Hello,"))
    assert not repeats(turns, content(" here."))


@pytest.mark.parametrize("fresh", [content("new"), audio_out(0.1)])
def test_something_new_ends_the_echo(fresh: bytes) -> None:
    """From then on the same words are said again on purpose."""
    turns = after(content("Hello"), turn_complete())
    turns.resumed()
    assert not repeats(turns, fresh)
    assert not repeats(turns, content("Hello"))


def test_what_says_more_than_the_transcript_is_no_echo() -> None:
    """Audio and the end of a turn must not be lost with it."""
    turns = after(content("Hello"), turn_complete())
    turns.resumed()
    end = {"outputTranscription": {"text": "Hello"}, "turnComplete": True}
    assert not repeats(turns, pretty({"serverContent": end}))


def test_an_answer_is_no_echo() -> None:
    """Where one is owed after a resume, or is asked for then, the same words are the answer."""
    turns = after(content("Yes."), turn_complete(), TEXT)
    turns.resumed()
    assert not repeats(turns, content("Yes."))
    turns = after(content("Yes."), turn_complete())
    turns.resumed()
    turns.from_client(ClientFrame(*TEXT), 9.0)
    assert not repeats(turns, content("Yes."))
