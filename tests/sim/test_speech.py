"""The synthetic voice: there, audible, clean, repeatable and cheap."""

import time
from array import array
from itertools import pairwise
from operator import mul

import pytest

from relay.sim import speech

TEXT = "Hello, I am the simulator. You said 42 things; hmm!"


def pcm(text: str, voice: str = "Puck") -> bytes:
    """The samples of a text."""
    return b"".join(speech.render(sound for word in speech.words_of(text, voice) for sound in word.sounds))


def loudness(samples: bytes) -> float:
    """Root mean square."""
    values = array("h", samples)
    return float((sum(value * value for value in values) / len(values)) ** 0.5)


def test_words_come_back_as_they_were_written() -> None:
    """The pieces of the transcript add up to the text."""
    assert "".join(word.text for word in speech.words_of(TEXT, "Puck")) == TEXT


def test_every_word_is_heard_for_as_long_as_it_says() -> None:
    """A word's length is known before a sample is made, and kept."""
    for word in speech.words_of(TEXT, "Kore"):
        made = b"".join(speech.render(iter(word.sounds)))

        assert len(made) == word.samples * 2
        assert loudness(made) > 500, word.text


def test_one_syllable_for_every_group_of_vowels() -> None:
    """`simulator` has four syllables and a pause behind it; digits and vowelless words are heard too."""
    syllables = {word.text.strip(): len(word.sounds) - 1 for word in speech.words_of("simulator 42 hmm", "Puck")}

    assert syllables == {"simulator": 4, "42": 2, "hmm": 1}


def test_the_sound_is_clean() -> None:
    """No clipping, no click: no sample is far from its neighbour."""
    samples = array("h", pcm(TEXT))

    assert max(map(abs, samples)) < 12_000
    assert max(abs(one - other) for one, other in pairwise(samples)) < 5_000


def test_the_same_text_always_sounds_the_same() -> None:
    """Nothing is random."""
    first = pcm("repeat after me")
    speech._samples.cache_clear()

    assert first == pcm("repeat after me")


@pytest.mark.parametrize("voice", speech.VOICES)
def test_every_voice_speaks(voice: str) -> None:
    """Each prebuilt voice makes sound, found whatever its case."""
    assert loudness(pcm("aha", voice)) > 500
    assert speech.voice_named(voice.lower()) == voice


def test_voices_differ_in_pitch() -> None:
    """A low voice repeats itself after a longer time than a high one."""

    def period(samples: bytes) -> int:
        values = array("h", samples)[1_500:3_000]
        return max(range(60, 300), key=lambda lag: sum(map(mul, values, values[lag : lag + 1_000])))

    assert period(pcm("oh", "Charon")) > 1.8 * period(pcm("oh", "Leda"))
    assert speech.voice_named("Bob") is None


def test_speech_is_cheap_once_it_was_made() -> None:
    """Repeated talk comes from the cache: far faster than real time."""
    pcm(TEXT)
    began = time.perf_counter()

    seconds = len(pcm(TEXT)) / speech.BYTES_PER_S

    assert (time.perf_counter() - began) * 100 < seconds
