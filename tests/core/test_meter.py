"""The meter: totals of one session."""

import base64
from typing import Any

import pytest

from relay.core.client_frames import ClientFrame
from relay.core.meter import Meter
from relay.core.server_frames import ServerFrame
from relay.core.usage import Kind, Modality, Semantics, usage

NAMES = frozenset({"serverContent"})


def spoken(size: int, mime_type: str = "audio/pcm;rate=16000", **more: Any) -> ClientFrame:
    """A client's message with `size` bytes of PCM in it."""
    blob = {"mimeType": mime_type, "data": base64.b64encode(bytes(size)).decode()}
    return ClientFrame("realtimeInput", {"audio": blob, **more})


def reporting(prompt: int = 10) -> ServerFrame:
    """A message of Gemini's that says what was used."""
    return ServerFrame(NAMES, usage=usage({"promptTokenCount": prompt}))


def test_messages_to_gemini_are_counted_and_the_first_is_timed() -> None:
    """Frames and bytes add up; the first message's time stands."""
    meter = Meter()
    meter.count_up(10, 1.5)
    meter.count_up(20, 2.5)
    assert (meter.frames_up, meter.bytes_up, meter.first_input_at) == (2, 30, 1.5)


def test_messages_to_the_client_are_counted_by_what_they_hold() -> None:
    """Turns, interruptions, calls, text and audio come from the frames; the first audio's time stands."""
    meter = Meter()
    meter.read(ServerFrame(NAMES), 1, 1.0)
    meter.read(ServerFrame(NAMES, audio_bytes=480), 1, 2.0)
    meter.read(ServerFrame(NAMES, audio_bytes=20, turn_complete=True, text_characters=3), 1, 3.0)
    meter.read(ServerFrame(NAMES, interrupted=True, call_ids=["a", "b"]), 1, 4.0)
    meter.count_down(5)
    meter.count_down(700)
    assert (meter.frames_down, meter.bytes_down, meter.audio_bytes_down) == (2, 705, 500)
    assert (meter.turns, meter.interruptions, meter.tool_calls, meter.text_characters_down) == (1, 1, 2, 3)
    assert meter.first_audio_at == 2.0
    assert meter.tally.tokens == {}


@pytest.mark.threat("C11")
def test_speech_is_counted_in_seconds_of_decoded_bytes() -> None:
    """An hour in small pieces is an hour: no piece is rounded."""
    meter = Meter()
    assert meter.count_content(spoken(640), 0.0) == 0.02
    for _ in range(179_999):
        meter.count_content(spoken(642), 0.0)
    meter.read(ServerFrame(NAMES, audio_bytes=48_000), 1, 0.0)
    assert meter.audio_up_ms == (640 + 179_999 * 642) * 1000 // 32_000
    assert meter.audio_down_ms == 1000


@pytest.mark.threat("C11")
@pytest.mark.parametrize(
    ("mime_type", "seconds"),
    [
        ("audio/pcm;rate=16000", 1.0),
        ("audio/pcm", 1.0),
        ("", 1.0),
        ("audio/pcm; rate=8000", 2.0),
        ("audio/pcm;rate=24000", 16 / 24),
        ("audio/pcm;rate=17000", 1.0),
        ("audio/pcm;rate=48000", 1 / 3),
        ("audio/pcm;rate=999999", 1 / 3),
        ("audio/pcm;rate=0", 2.0),
        ("audio/pcm;rate=9999999999", 1.0),
        ("audio/pcm;rate=x", 1.0),
        ("audio/pcm;codec=1;rate=24000", 16 / 24),
    ],
)
def test_claimed_sample_rates_are_believed_within_reason(mime_type: str, seconds: float) -> None:
    """An odd rate counts as the next lower usual one, an absurd one as the highest; without one it is Gemini's own."""
    meter = Meter()
    assert meter.count_content(spoken(32_000, mime_type), 0.0) == seconds
    assert meter.audio_up_ms == int(seconds * 1000)


@pytest.mark.threat("C11")
def test_rates_that_a_client_invents_need_no_memory() -> None:
    """However many it names, a handful are told apart."""
    meter = Meter()
    for rate in range(1000, 60_000, 7):
        meter.count_content(spoken(2, f"audio/pcm;rate={rate}"), 0.0)
    assert len(meter.audio_bytes_up) == 8


def test_what_a_client_writes_and_shows_is_counted() -> None:
    """Characters of text wherever it stands, pictures of a camera, and all keys of one message."""
    meter = Meter()
    picture = {"mimeType": "image/jpeg", "data": "AAAA"}
    turns = [{"parts": [{"text": "abc"}, {"inlineData": picture}]}, {"role": "user"}, {"parts": [{"text": "de"}]}]
    meter.count_content(ClientFrame("clientContent", {"turns": turns}), 1.0)
    meter.count_content(ClientFrame("clientContent", {"turnComplete": True}), 1.0)
    meter.count_content(ClientFrame("realtimeInput", {"video": picture}), 1.0)
    assert meter.count_content(spoken(32_000, text="xy", video=picture), 1.0) == 1.0
    assert (meter.text_characters_up, meter.video_frames, meter.audio_up_ms) == (7, 2, 1000)


def test_an_open_microphone_is_no_sign_of_life() -> None:
    """Speech and text of either side are; sound and pictures alone may come from an empty room."""
    meter = Meter()
    meter.count_content(spoken(640), 1.0)
    meter.count_content(ClientFrame("realtimeInput", {"video": {}}), 2.0)
    meter.count_content(ClientFrame("realtimeInput", {"audioStreamEnd": True}), 2.0)
    meter.read(ServerFrame(NAMES), 1, 3.0)
    assert meter.lively_at is None
    for now, frame in enumerate(
        (
            ClientFrame("realtimeInput", {"text": "x"}),
            ClientFrame("realtimeInput", {"activityStart": {}}),
            ClientFrame("clientContent", {}),
            ClientFrame("toolResponse", {}),
        ),
        start=4,
    ):
        meter.count_content(frame, now)
        assert meter.lively_at == now
    meter.read(ServerFrame(NAMES, lively=True), 1, 9.0)
    assert meter.lively_at == 9.0


def test_reports_are_counted_wherever_they_come_from() -> None:
    """Every leg's messages have numbers of their own, so two legs that overlap are both counted in full."""
    meter = Meter()
    assert meter.read(reporting(), 1, 0.0)
    assert meter.read(reporting(), 2, 0.0)
    assert not meter.read(ServerFrame(NAMES), 1, 0.0)
    assert meter.read(reporting(), 1, 0.0)
    assert meter.tally.tokens == {(Kind.PROMPT, Modality.UNATTRIBUTED): 30}


def test_what_reports_mean_is_said_once_the_model_is_known() -> None:
    """A model that reports running totals is not counted twice."""
    meter = Meter()
    meter.means(Semantics.CUMULATIVE)
    for total in (10, 25):
        meter.read(reporting(total), 1, 0.0)
    assert meter.tally.tokens == {(Kind.PROMPT, Modality.UNATTRIBUTED): 25}


@pytest.mark.parametrize(
    ("script", "unreported"),
    [
        ("", 0),
        ("b", 0),
        ("ut", 0),
        ("tu", 0),
        ("tutu", 0),
        ("utut", 0),
        ("bbb", 0),
        ("t", 1),
        ("tt", 2),
        ("ttb", 2),
        ("utt", 1),
        ("uutt", 1),
        ("tbu", 0),
    ],
)
def test_turns_without_a_report_are_noticed(script: str, unreported: int) -> None:
    """A report may come with the end of its turn (b), before it (ut) or after it (tu)."""
    meter = Meter()
    for step in script:
        report = usage({"promptTokenCount": 1}) if step in "ub" else None
        meter.read(ServerFrame(NAMES, turn_complete=step in "tb", usage=report), 1, 0.0)
    assert meter.turns_unreported == unreported
