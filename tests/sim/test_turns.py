"""The grammar of single answers."""

import base64
from dataclasses import replace

import pytest

from relay.sim import speech, turns
from relay.sim.families import Backend, Family, family_of, models_of
from relay.sim.turns import Manner, Step

REPLY = "You said: good morning. This is turn 1."


def family(model: str, backend: Backend = Backend.DEV) -> Family:
    """The family of a model id."""
    found = family_of(("models/" if backend is Backend.DEV else "publishers/google/models/") + model, backend)
    assert found is not None
    return found


FAMILIES = [family(model, backend) for backend in Backend for model in models_of(backend)]


def steps(manner: Manner) -> list[Step]:
    """The whole answer."""
    return list(turns.plan(REPLY, manner))


@pytest.mark.parametrize("one", FAMILIES, ids=lambda one: one.name)
@pytest.mark.parametrize("transcript", [True, False])
def test_an_answer_is_all_of_its_audio_and_all_of_its_words(one: Family, transcript: bool) -> None:
    """Chunks add up to the rendered text, pieces to its words; offsets never go back; generationComplete is last."""
    answer = steps(Manner(one, "Kore", transcript=transcript))
    audio = [step for step in answer if step.kind == "audio"]

    whole = b"".join(speech.render(s for word in speech.words_of(REPLY, "Kore") for s in word.sounds))
    assert b"".join(step.pcm for step in audio) == whole
    assert "".join(step.words for step in answer) == REPLY
    assert [step.offset_s for step in audio] == sorted(step.offset_s for step in audio)
    assert answer[-1].kind == "generationComplete"
    shown = [step.content.get("outputTranscription", {}).get("text", "") for step in answer]
    assert "".join(shown) == (REPLY if transcript else "")


@pytest.mark.parametrize("one", FAMILIES, ids=lambda one: one.name)
def test_chunks_have_the_familys_sizes(one: Family) -> None:
    """All but the last chunk are as long as the family's chunks are."""
    audio = [step.pcm for step in steps(Manner(one, "Kore")) if step.kind == "audio"]

    for at, pcm in enumerate(audio[:-1]):
        assert len(pcm) == one.chunks_ms[at % len(one.chunks_ms)] * 48


def test_2_5_thinks_aloud_and_writes_its_transcript_between_the_audio() -> None:
    """A thought part first, then transcript pieces and audio in frames of their own; no thought if none is wanted."""
    manner = Manner(family("gemini-2.5-flash-native-audio-latest"), "Kore", transcript=True)

    answer = steps(manner)

    assert answer[0].content["modelTurn"]["parts"][0]["thought"] is True
    assert answer[1].kind == "transcript"
    assert all("outputTranscription" not in step.content for step in answer if step.kind == "audio")
    assert steps(replace(manner, thoughts=False))[0].kind == "transcript"


def test_3_1_opens_with_an_empty_frame_and_joins_words_and_audio() -> None:
    """An empty serverContent, then audio with its words in one frame; some frames have two parts."""
    manner = Manner(family("gemini-3.1-flash-live-preview"), "Kore", transcript=True)

    answer = steps(manner)

    assert (answer[0].kind, answer[0].content) == ("opening", {})
    assert answer[1].kind == "audio"
    assert "outputTranscription" in answer[1].content
    assert all(step.kind in ("opening", "audio", "generationComplete") for step in answer)
    double = next(step for step in answer if step.parts == 2)
    parts = turns.server_content(double, manner, double.pcm)["modelTurn"]["parts"]
    assert b"".join(base64.b64decode(part["inlineData"]["data"]) for part in parts) == double.pcm
    assert len(parts) == 2


def test_the_half_cascade_writes_everything_before_it_speaks() -> None:
    """An empty transcript, the pieces, a finished mark, then audio with the role and without a rate."""
    manner = Manner(family("gemini-live-2.5-flash", Backend.VERTEX), "Kore", transcript=True)

    answer = steps(manner)

    kinds = [step.kind for step in answer]
    assert answer[0].content == {"outputTranscription": {}}
    first_audio = kinds.index("audio")
    assert answer[first_audio - 1].content == {"outputTranscription": {"finished": True}}
    assert "transcript" not in kinds[first_audio:]
    turn = turns.server_content(answer[first_audio], manner, answer[first_audio].pcm)["modelTurn"]
    assert turn["role"] == "model"
    assert turn["parts"][0]["inlineData"]["mimeType"] == "audio/pcm"


def test_text_answers_come_in_pieces() -> None:
    """With TEXT as modality the words come as text parts, without audio."""
    manner = Manner(family("gemini-live-2.5-flash", Backend.VERTEX), "Kore", audio=False)

    answer = steps(manner)

    texts = [step.content["modelTurn"]["parts"][0]["text"] for step in answer[:-1]]
    assert "".join(texts) == REPLY
    assert all(not step.pcm for step in answer)
