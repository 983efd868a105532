"""Answers, interruptions and function calls."""

from typing import Any

from relay.sim.outputs import Close
from tests.sim.playing import (
    CASCADE,
    V25,
    V31,
    V38,
    answers,
    calls,
    google,
    handles,
    live,
    said,
    shape,
    silence,
    sound,
    spoken,
    tone,
)

TOOLS = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
BLOCKING: list[dict[str, Any]] = [{"functionDeclarations": [{"name": "f", "behavior": "BLOCKING"}]}]


def test_a_blocking_call_waits_for_its_answer() -> None:
    """2.5 and 3.1: toolCall, nothing more until the toolResponse, then the answer in the same turn."""
    for model in (V25, V31):
        player = live(google(), model, tools=TOOLS, outputAudioTranscription={})
        asked = player.send(said("call f"))
        (one,) = calls(asked)

        assert shape(asked)[-1] == "toolCall"
        assert player.wait(100.0) == []
        told = player.send(answers(one))
        assert "f answered fog" in spoken(told)
        assert sum("usageMetadata" in frame for frame in told) == 1


def test_parallel_calls_are_answered_together() -> None:
    """Two functions named in one text are one toolCall; the answer comes when both have answered."""
    player = live(google(), V31, tools=TOOLS, outputAudioTranscription={})
    first, second = calls(player.send(said("call g and f")))

    assert player.send(answers(first, name="g")) == []
    assert spoken(player.send(answers(second)))


def test_the_half_cascade_answers_in_a_second_turn() -> None:
    """After the toolResponse it first ends the calling turn, then runs a whole new one."""
    player = live(google(), CASCADE, tools=TOOLS, outputAudioTranscription={})
    (one,) = calls(player.send(said("call f")))

    grammar = shape(player.send(answers(one)))

    ends = ["generationComplete", "turnComplete+usage"]
    assert grammar == ["transcript", *ends, "transcript", "audio", *ends]


def test_a_call_can_end_its_turn() -> None:
    """With `call_ends_turn` turnComplete follows the toolCall and the answer is a turn of its own."""
    player = live(google(call_ends_turn=True), V25, tools=TOOLS)
    asked = player.send(said("call f"))

    assert shape(asked) == ["toolCall", "turnComplete+usage"]
    assert shape(player.send(answers(*calls(asked))))[-1] == "turnComplete+usage"


def test_an_asynchronous_call_is_spoken_over() -> None:
    """3.8: toolCall, filler speech, turnComplete; the answer comes when idle, as a turn of its own."""
    player = live(google(), V38, tools=TOOLS, outputAudioTranscription={}, sessionResumption={})
    asked = player.send(said("call f"))

    assert "I am asking f" in spoken(asked)
    assert shape(asked)[-1] == "turnComplete+usage"
    assert handles(asked) == []  # the state can't be resumed while a function is executing
    told = player.send(answers(*calls(asked)))
    assert "f answered fog" in spoken(told)
    assert handles(told)


def test_scheduling_decides_when_an_asynchronous_answer_is_spoken_of() -> None:
    """INTERRUPT cuts the present answer short, WHEN_IDLE waits for its end, SILENT is only remembered."""
    for scheduling, expected in (
        ("INTERRUPT", ["interrupted", "turnComplete+usage"]),
        ("WHEN_IDLE", []),
        ("SILENT", []),
    ):
        player = live(google(burst=1.0), V38, tools=TOOLS, outputAudioTranscription={})
        (one,) = calls(player.send(said("call f")))
        player.wait(0.5)

        at_once = player.send(answers(one, scheduling=scheduling))
        later = player.wait(60.0)

        assert shape(at_once)[: len(expected)] == expected
        assert ("f answered fog" in spoken(at_once + later)) == (scheduling != "SILENT")


def test_a_function_that_will_continue_stays_open() -> None:
    """A second response to the same call is taken when the first said there is more."""
    player = live(google(), V38, tools=TOOLS)
    (one,) = calls(player.send(said("call f")))

    player.send(answers(one, willContinue=True))
    player.send(answers(one))
    assert player.close is None
    player.send(answers(one))
    assert player.close == Close(1007, "Request contains an invalid argument.")


def test_an_answer_to_an_unknown_call_is_refused_or_ignored() -> None:
    """A handle older than the call leads to a session that never saw its id."""
    strict, lenient = live(google(), tools=TOOLS), live(google(unknown_call="ignore"), tools=TOOLS)

    strict.send(answers("fc_1"))
    assert lenient.send(answers("fc_1")) == []
    assert strict.close == Close(1007, "Request contains an invalid argument.")
    assert lenient.close is None


def test_vertex_matches_an_answer_without_id_by_name() -> None:
    """The id is optional there, and nowhere else."""
    vertex, dev = live(google(), CASCADE, tools=TOOLS), live(google(), V31, tools=TOOLS)
    nameless: dict[str, Any] = {"toolResponse": {"functionResponses": [{"name": "f", "response": {"output": "x"}}]}}
    vertex.send(said("call f"))
    dev.send(said("call f"))

    assert vertex.send(nameless)
    dev.send(nameless)
    assert dev.close is not None


def test_typing_interrupts_an_answer() -> None:
    """clientContent during an answer: interrupted, then turnComplete with what was said so far, then the new answer."""
    player = live(google(burst=1.0), outputAudioTranscription={}, sessionResumption={})
    first = player.send(said("hello")) + player.wait(1.0)

    frames = player.send(said("stop"))

    assert shape(frames)[:3] == ["interrupted", "turnComplete+usage", "sessionResumptionUpdate"]
    bill = frames[1]["usageMetadata"]
    assert 20 <= bill["responseTokenCount"] <= 35
    session = player.dialogue.session
    assert session is not None
    heard = [entry.text for entry in session.conversation.utterances if entry.role == "model"]
    assert heard == [spoken(first)]  # only what was sent stays in the history


def test_speaking_interrupts_an_answer_and_is_answered() -> None:
    """Barge-in: audio with energy stops the answer; when it falls silent, it is answered."""
    player = live(google(burst=1.0), outputAudioTranscription={}, inputAudioTranscription={})
    player.send(said("hello"))
    player.wait(1.0)

    assert player.send(sound(silence(0.1))) == []
    assert shape(player.send(sound(tone(0.3)))) == ["interrupted", "turnComplete+usage"]
    frames = player.send(sound(silence(0.6))) + player.wait(60.0)
    assert shape(frames)[0] == "input"
    assert "0.3 seconds of speech" in spoken(frames)


def test_speaking_does_not_interrupt_where_that_is_switched_off() -> None:
    """NO_INTERRUPTION: the answer goes on, and the speech is answered after it."""
    player = live(
        google(burst=1.0), outputAudioTranscription={}, realtimeInputConfig={"activityHandling": "NO_INTERRUPTION"}
    )
    player.send(said("hello"))
    player.wait(1.0)

    frames = player.send(sound(tone(0.3) + silence(0.6))) + player.wait(120.0)

    assert "interrupted" not in shape(frames)
    assert "0.3 seconds of speech" in spoken(frames)


def test_realtime_text_waits_for_its_turn() -> None:
    """Text as realtime input does not interrupt; it is answered next."""
    player = live(google(burst=1.0), outputAudioTranscription={})
    player.send(said("hello"))
    player.wait(1.0)

    frames = player.send({"realtimeInput": {"text": "the weather"}}) + player.wait(120.0)

    assert "interrupted" not in shape(frames)
    assert "You said: the weather" in spoken(frames)


def test_interrupted_can_follow_generation_complete() -> None:
    """Until the playback is over the user can interrupt what was already generated."""
    player = live(google(burst=0.0, playback_wait=True))
    assert shape(player.send(said("hello")))[-1] == "generationComplete"

    assert shape(player.send(sound(tone(0.3)))) == ["interrupted", "turnComplete+usage"]


def test_interrupting_cancels_blocking_calls() -> None:
    """The user speaks while a function is awaited: cancellation, then the turn ends; a late answer is unknown."""
    player = live(google(), V38, tools=BLOCKING)
    (one,) = calls(player.send(said("call f")))

    frames = player.send(said("never mind"))

    assert frames[0] == {"toolCallCancellation": {"ids": [one]}}
    assert shape(frames)[1:3] == ["interrupted", "turnComplete+usage"]
    player.send(answers(one))
    assert player.close is not None
