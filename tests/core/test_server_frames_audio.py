"""Audio frames are read without parsing their base64: what is said of them must not depend on that."""

import base64
import json
import random

import orjson
import pytest

from relay.core.server_frames import ServerFrame, server_frame


def _audio(pcm: bytes, mime_type: str = "audio/pcm;rate=24000") -> dict[str, object]:
    return {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(pcm).decode()}}


def _message(*parts: dict[str, object], **more: object) -> dict[str, object]:
    return {"serverContent": {"modelTurn": {"parts": list(parts)}, **more}}


def _both(message: dict[str, object]) -> tuple[ServerFrame | None, ServerFrame | None]:
    """As Google writes it, where the body can be skipped, and compact, where it never is."""
    return server_frame(json.dumps(message, indent=2).encode()), server_frame(orjson.dumps(message))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 766, 767, 768, 769, 770, 7679, 7680, 7681, 100_000])
def test_every_length_of_audio_is_counted_exactly(length: int) -> None:
    """Whatever the padding, and on both sides of the size from which a body is skipped."""
    skipped, parsed = _both(_message(_audio(random.Random(length).randbytes(length)), turnComplete=True))

    assert skipped == parsed
    assert skipped is not None
    assert skipped.audio_bytes == length
    assert skipped.turn_complete


@pytest.mark.parametrize(
    "message",
    [
        _message(_audio(bytes(9000)), _audio(bytes(8000))),
        _message(_audio(bytes(9000), "image/png"), _audio(bytes(600))),
        _message(_audio(bytes(9000), "image/png")),
        _message({"text": 'He said "data": "' + "A" * 5000}),
        _message({'x"data': "A" * 5000}, _audio(bytes(300))),
        _message({"inlineData": {"mimeType": "audio/pcm", "data": "A\\u0041" * 3000}}),
        _message({"inlineData": {"mimeType": "audio/pcm", "data": "ä" * 3000}}),
        {"usageMetadata": {"promptTokenCount": 5}, **_message(_audio(bytes(9000)))},
        {"toolCall": {"functionCalls": [{"id": "a", "args": {"data": "B" * 5000}}]}},
    ],
    ids=["two", "image and audio", "image", "in a text", "in a key", "escapes", "not ascii", "usage", "a tool's data"],
)
def test_whatever_looks_like_a_body_both_ways_of_reading_agree(message: dict[str, object]) -> None:
    """The marker inside texts and keys, several blobs, escapes: parsed in full where skipping could mislead."""
    skipped, parsed = _both(message)

    assert skipped is not None
    assert skipped == parsed


@pytest.mark.parametrize("cut", [1, 2, 3, 200, 5000])
def test_a_truncated_frame_is_no_json(cut: int) -> None:
    """Skipping the body does not make sense of what is not a message."""
    payload = json.dumps(_message(_audio(bytes(9000))), indent=2).encode()

    assert server_frame(payload[:-cut]) is None
