"""The meter: totals of one session."""

from relay.core.meter import Meter
from relay.core.server_frames import ServerFrame, Usage

NAMES = frozenset({"serverContent"})


def test_messages_to_gemini_are_counted_and_the_first_is_timed() -> None:
    """Frames and bytes add up; the first message's time stands."""
    meter = Meter()
    meter.count_up(10, 1.5)
    meter.count_up(20, 2.5)
    assert (meter.frames_up, meter.bytes_up, meter.first_input_at) == (2, 30, 1.5)


def test_messages_to_the_client_are_counted() -> None:
    """Frames and bytes add up, apart from what Gemini's messages say: not all of them are passed on."""
    meter = Meter()
    meter.count_down(5)
    meter.count_down(700)
    assert (meter.frames_down, meter.bytes_down, meter.frames_up) == (2, 705, 0)


def test_gemini_s_messages_are_counted_by_what_they_hold() -> None:
    """Turns, interruptions, calls and audio come from the frames; the first audio's time stands."""
    meter = Meter()
    meter.read(ServerFrame(NAMES), 1.0)
    meter.read(ServerFrame(NAMES, audio_bytes=480), 2.0)
    meter.read(ServerFrame(NAMES, audio_bytes=20, turn_complete=True), 3.0)
    meter.read(ServerFrame(NAMES, interrupted=True, call_ids=["a", "b"]), 4.0)
    assert meter.audio_bytes_down == 500
    assert (meter.turns, meter.interruptions, meter.tool_calls) == (1, 1, 2)
    assert meter.first_audio_at == 2.0
    assert meter.tokens == Usage()


def test_tokens_of_every_turn_are_summed() -> None:
    """Gemini bills the whole context anew in each turn, so the sum is what is billed; the report itself stays."""
    meter = Meter()
    usage = Usage(prompt=100, response=20, thoughts=3, tool_use=4, cached=5)
    meter.read(ServerFrame(NAMES, usage=usage), 0.0)
    meter.read(ServerFrame(NAMES, usage=Usage(prompt=150)), 0.0)
    assert meter.tokens == Usage(prompt=250, response=20, thoughts=3, tool_use=4, cached=5)
    assert usage.prompt == 100
