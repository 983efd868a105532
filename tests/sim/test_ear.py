"""Realtime input: what is noticed, and what is refused."""

import base64
from typing import Any

from relay.sim import ear as ears
from relay.sim import rejections
from relay.sim.ear import Began, Ear, Ended, Noticed, Typed
from relay.sim.profile import Profile
from relay.sim.rejections import Rejection
from relay.sim.replies import Heard
from tests.sim.playing import V25, V38, settled, silence, tone

MANUAL: dict[str, Any] = {"realtimeInputConfig": {"automaticActivityDetection": {"disabled": True}}}


def ear(model: str = V38, /, **setup: Any) -> Ear:
    """The ear of a connection with that setup."""
    return Ear(settled({"model": model, **setup}, profile=Profile()))


def audio(pcm: bytes, mime: str = "audio/pcm;rate=16000") -> dict[str, Any]:
    """A realtimeInput with audio."""
    return {"audio": {"mimeType": mime, "data": base64.b64encode(pcm).decode()}}


def noticed(answer: list[Noticed] | Rejection) -> list[Noticed]:
    """What was noticed; nothing may have been refused."""
    assert not isinstance(answer, Rejection), answer
    return answer


def test_streamed_speech_is_noticed() -> None:
    """Speech begins, ends, and is measured; the times are those of the stream."""
    events = noticed(ear().hear(audio(silence(0.5) + tone(1.0) + silence(0.6))))

    assert [type(event) for event in events] == [Began, Ended]
    ended = events[1]
    assert isinstance(ended, Ended)
    assert abs(ended.heard.speech_s - 1.0) < 0.03


def test_typed_text_is_noticed_at_once_but_not_while_someone_speaks() -> None:
    """Text alone is a turn of its own; in the middle of speech it becomes part of it."""
    hearing = ear()

    assert noticed(hearing.hear({"text": "hi"})) == [Typed(Heard("hi"))]
    hearing.hear(audio(tone(0.5)))
    assert noticed(hearing.hear({"text": "and this"})) == []
    (ended,) = noticed(hearing.hear(audio(silence(0.6))))
    assert isinstance(ended, Ended)
    assert ended.heard.text == "and this"


def test_pictures_are_counted_with_what_is_said_next() -> None:
    """Video frames do not start a turn."""
    hearing = ear()

    assert noticed(hearing.hear({"video": {"mimeType": "image/jpeg", "data": ""}})) == []
    assert noticed(hearing.hear({"text": "look"})) == [Typed(Heard("look", pictures=1))]


def test_the_end_of_the_stream_ends_speech() -> None:
    """audioStreamEnd flushes what was being said, and means nothing in silence."""
    hearing = ear()
    hearing.hear(audio(tone(0.5)))

    (ended,) = noticed(hearing.hear({"audioStreamEnd": True}))
    assert isinstance(ended, Ended)
    assert noticed(hearing.hear({"audioStreamEnd": True})) == []


def test_marks_of_activity_decide_where_detection_is_off() -> None:
    """activityStart and activityEnd make the turn, whatever the audio is like."""
    hearing = ear(**MANUAL)

    assert [type(event) for event in noticed(hearing.hear({"activityStart": {}}))] == [Began]
    assert noticed(hearing.hear(audio(tone(0.5) + silence(2.0) + tone(0.5)))) == []
    assert noticed(hearing.hear({"text": "written"})) == []
    (ended,) = noticed(hearing.hear({"activityEnd": {}}))
    assert isinstance(ended, Ended)
    assert ended.heard.text == "written"
    assert abs(ended.heard.speech_s - 3.0) < 0.03


def test_one_message_may_hold_a_whole_turn() -> None:
    """Several keys in one realtimeInput are taken together, marks around the rest."""
    events = noticed(ear(**MANUAL).hear({"activityEnd": {}, "text": "all", "activityStart": {}}))

    assert [type(event) for event in events] == [Began, Ended]


def test_marks_are_refused_where_detection_is_on() -> None:
    """Google's own words for it."""
    answer = ear().hear({"activityStart": {}})

    assert answer == rejections.EXPLICIT_ACTIVITY
    assert answer.reason.startswith("Explicit activity control is not supported when automatic activity detection")


def test_audio_outside_an_activity_is_refused_where_detection_is_off() -> None:
    """Audio must come after activityStart and before activityEnd."""
    hearing = ear(**MANUAL)

    assert hearing.hear(audio(silence(0.1))) == rejections.BAD_ARGUMENT
    hearing.hear({"activityStart": {}})
    assert hearing.hear(audio(silence(0.1))) == []
    hearing.hear({"activityEnd": {}})
    assert hearing.hear(audio(silence(0.1))) == rejections.BAD_ARGUMENT


def test_bad_audio_is_refused() -> None:
    """Half samples, other media and absurd rates close with 1007."""
    wrong: tuple[dict[str, Any], ...] = (
        audio(b"abc"),
        audio(b"", "image/png"),
        audio(b"", "audio/pcm;rate=1"),
        {"audio": {}},
    )
    for body in wrong:
        assert ear().hear(body) == rejections.BAD_ARGUMENT


def test_media_chunks_are_for_older_models() -> None:
    """2.5 takes the first chunk, 3.1 and later refuse them with Google's words."""
    chunks = {"mediaChunks": [audio(tone(0.5))["audio"], audio(tone(9.0))["audio"]]}
    older = ear(V25)

    assert [type(event) for event in noticed(older.hear(chunks))] == [Began]
    assert noticed(older.hear({"mediaChunks": []})) == []
    assert ear().hear(chunks) == rejections.MEDIA_CHUNKS


def test_what_was_heard_is_remembered_with_its_tokens() -> None:
    """25 tokens for a second of speech, 258 for a picture."""
    utterance = ears.utterance(Heard(speech_s=2.0, pictures=1))

    assert (utterance.audio_tokens, utterance.image_tokens) == (50, 258)
    assert "2.0 seconds" in utterance.text
