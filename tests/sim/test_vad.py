"""Voice activity by energy."""

from relay.sim import speech
from relay.sim.vad import Sensitivity, SpeechDetector, Turned
from tests.sim.playing import RATE, silence, tone


def test_speech_begins_and_ends() -> None:
    """A loud second in silence is one start and one end, and is measured."""
    detector = SpeechDetector(Sensitivity(silence_s=0.5))

    turned = detector.feed(silence(0.5) + tone(1.0) + silence(0.6), RATE)

    assert turned == [Turned.SPEAKING, Turned.SILENT]
    assert abs(detector.take().speech_s - 1.0) < 0.03
    assert detector.take().speech_s == 0.0
    assert abs(detector.heard_s - 2.1) < 0.03


def test_chunk_size_does_not_matter() -> None:
    """The same stream in pieces of any size turns at the same places."""
    stream = silence(0.3) + tone(0.4) + silence(0.6) + tone(0.3) + silence(0.6)
    for size in (2, 37 * 2, 640, 1_280, 8_000, len(stream)):
        detector = SpeechDetector(Sensitivity())
        turned = [
            change for at in range(0, len(stream), size) for change in detector.feed(stream[at : at + size], RATE)
        ]

        assert turned == [Turned.SPEAKING, Turned.SILENT] * 2


def test_short_pauses_do_not_end_speech() -> None:
    """A pause shorter than the limit is part of speaking; a longer limit bridges a longer pause."""
    stream = tone(0.5) + silence(0.4) + tone(0.5) + silence(0.6)

    assert SpeechDetector(Sensitivity(silence_s=0.5)).feed(stream, RATE) == [Turned.SPEAKING, Turned.SILENT]
    assert SpeechDetector(Sensitivity(silence_s=0.9)).feed(stream, RATE) == [Turned.SPEAKING]


def test_clicks_and_murmurs_are_not_speech() -> None:
    """What is too short or too quiet does not count, and is not measured as speech."""
    detector = SpeechDetector(Sensitivity(loudness=400, start_s=0.06))

    assert detector.feed(tone(0.04) + silence(0.1) + tone(1.0, amplitude=100), RATE) == []
    assert detector.take().speech_s == 0.0


def test_other_rates_are_heard() -> None:
    """24 kHz audio, as some clients send, is judged by its own time."""
    detector = SpeechDetector(Sensitivity())

    detector.feed(tone(1.0, rate=24_000) + silence(0.6, rate=24_000), 24_000)

    assert abs(detector.take().speech_s - 1.0) < 0.03


def test_the_simulators_own_voice_is_speech() -> None:
    """What the simulator says would be heard by the simulator."""
    words = speech.words_of("good morning to you", "Kore")
    spoken = b"".join(speech.render(sound for word in words for sound in word.sounds))

    assert SpeechDetector(Sensitivity()).feed(spoken, speech.RATE) == [Turned.SPEAKING]


def test_the_end_of_the_stream_ends_speech() -> None:
    """A microphone switched off while someone speaks ends the speech; in silence it ends nothing."""
    detector = SpeechDetector(Sensitivity())
    detector.feed(tone(0.5), RATE)

    assert detector.finish()
    assert not detector.finish()
