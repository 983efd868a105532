"""A voice for the simulator: pleasant babble, one sung syllable for every vowel group of the text.

A syllable is one period of harmonics shaped by the vowel's two formants, read at a gliding pitch under an envelope,
with a breath of noise where a consonant stands before it. Syllables are cached, so that long talk costs little.
Nothing but the standard library; nothing random, so that the same text always sounds the same.
"""

import math
import re
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

RATE = 24_000
"""Samples per second of everything made here."""
BYTES_PER_S = RATE * 2

_TABLE = 512  # samples in one stored period: inaudible steps at 100 to 300 Hz
_FORMANTS_HZ = {"a": (780, 1250), "e": (480, 2000), "i": (300, 2300), "o": (500, 900), "u": (330, 780)}
_SCALE = (0, 2, 4, 7, 9)  # major pentatonic, in semitones: any order of these notes sounds agreeable
_MELODY = (2, 3, 1, 2, 0, 3, 4, 2, 1, 0)
_VOWELS = re.compile(r"[aeiouyàáâäãåæèéêëìíîïòóôöõøùúûü]+", re.IGNORECASE)
_FOLDED = str.maketrans("yàáâäãåæèéêëìíîïòóôöõøùúûü", "i" + "a" * 7 + "e" * 4 + "i" * 4 + "o" * 6 + "u" * 4)
_LOUDNESS = 7_500  # of 32,767: leaves room, and is far above any detector's threshold
_GAPS_S = {",": 0.14, ";": 0.18, ":": 0.18, ".": 0.26, "!": 0.26, "?": 0.26}
_WORD_GAP_S = 0.035

VOICES: dict[str, float] = {
    "Puck": 165.0, "Charon": 105.0, "Kore": 205.0, "Fenrir": 112.0, "Aoede": 212.0, "Leda": 228.0,
    "Orus": 110.0, "Zephyr": 220.0, "Autonoe": 200.0, "Callirrhoe": 208.0, "Despina": 216.0, "Enceladus": 102.0,
    "Erinome": 198.0, "Iapetus": 118.0, "Laomedeia": 222.0, "Umbriel": 108.0, "Achernar": 232.0, "Achird": 128.0,
    "Algenib": 98.0, "Algieba": 115.0, "Alnilam": 122.0, "Gacrux": 178.0, "Pulcherrima": 190.0,
    "Rasalgethi": 106.0, "Sadachbia": 135.0, "Sadaltager": 125.0, "Schedar": 120.0, "Sulafat": 195.0,
    "Vindemiatrix": 185.0, "Zubenelgenubi": 114.0,
}  # fmt: skip
"""The prebuilt voices and the pitch, in hertz, each has here."""
DEFAULT_VOICE = "Puck"


@dataclass(frozen=True, slots=True)
class Sound:
    """One syllable, or a pause when `vowel` is empty: everything its samples depend on."""

    pitch_hz: float
    vowel: str
    consonant: str
    note: int
    samples: int


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the reply with its leading space, as a transcript piece, and the sounds it is spoken with."""

    text: str
    sounds: tuple[Sound, ...]

    @property
    def samples(self) -> int:
        """How long the word lasts, the pause behind it included."""
        return sum(sound.samples for sound in self.sounds)


def voice_named(name: str) -> str | None:
    """The prebuilt voice of that name, whatever its case; None when there is none."""
    return next((voice for voice in VOICES if voice.lower() == name.lower()), None)


def words_of(text: str, voice: str) -> Iterator[Word]:
    """Split a text into words and decide how each sounds; costs next to nothing, no sample is made yet."""
    pitch, step = VOICES[voice], 0
    for number, written in enumerate(text.split()):
        sounds: list[Sound] = []
        at = 0
        for vowels in _VOWELS.finditer(written):
            consonant = _consonant(written[at : vowels.start()])
            at = vowels.end()
            vowel = vowels[0][0].lower().translate(_FOLDED)
            long = at >= len(written.rstrip(".,;:!?"))
            sounds.append(_syllable(pitch, vowel, consonant, step, long))
            step += 1
        for _ in range(_beats(written) if not sounds else 0):  # digits, and words without a vowel
            sounds.append(_syllable(pitch, "e", "", step, False))
            step += 1
        sounds.append(Sound(0, "", "", 0, int(_GAPS_S.get(written[-1], _WORD_GAP_S) * RATE)))
        yield Word((" " if number else "") + written, tuple(sounds))


def render(sounds: Iterator[Sound]) -> Iterator[bytes]:
    """The PCM16 little-endian samples of each sound in turn."""
    for sound in sounds:
        yield _samples(sound)


def _beats(written: str) -> int:
    return min(8, max(1, sum(character.isdigit() for character in written)))


def _consonant(before: str) -> str:
    if not before:
        return ""
    last = before[-1].lower()
    if last in "szfvhcjx":
        return "hiss"
    return "stop" if last in "ptkbdgq" else "soft"


def _syllable(pitch_hz: float, vowel: str, consonant: str, step: int, long: bool) -> Sound:
    note = _SCALE[_MELODY[step % len(_MELODY)]]
    return Sound(pitch_hz, vowel, consonant, note, int((0.19 if long else 0.145) * RATE))


@lru_cache(maxsize=256)
def _period(pitch_hz: float, vowel: str) -> tuple[float, ...]:
    """One period of the vowel at about that pitch: harmonics weighted by their nearness to the formants."""
    weights: list[float] = []
    for harmonic in range(1, 22):
        hertz = harmonic * pitch_hz
        near = sum(math.exp(-(((hertz - formant) / 240.0) ** 2)) for formant in _FORMANTS_HZ[vowel])
        weights.append((0.12 + near) / harmonic**0.9)
    wave = [
        sum(
            weight * math.sin(2 * math.pi * (at + 1) * index / _TABLE + 2.4 * at * at)  # spread phases buzz less
            for at, weight in enumerate(weights)
        )
        for index in range(_TABLE)
    ]
    peak = max(map(abs, wave))
    return tuple(value / peak for value in wave)


@lru_cache(maxsize=1024)  # 7 to 9 KB each
def _samples(sound: Sound) -> bytes:
    if not sound.vowel:
        return bytes(sound.samples * 2)
    period = _period(sound.pitch_hz, sound.vowel)
    pitch_hz = sound.pitch_hz * 2 ** (sound.note / 12)
    length, onset = sound.samples, int(0.03 * RATE)
    rise, fall = int(0.022 * RATE), int(0.07 * RATE)
    noise = {"hiss": 0.16, "stop": 0.22, "soft": 0.03}.get(sound.consonant, 0.0)
    phase, seed = 0.0, 12_345
    step = pitch_hz * _TABLE / RATE
    spoken = array("h", bytes(length * 2))
    for index in range(length):
        swell = min(1.0, index / rise, (length - index) / fall)
        value = period[int(phase) % _TABLE] * swell * swell * (3 - 2 * swell)
        phase += step * (1.03 - 0.06 * index / length)  # each syllable glides down a little, as speech does
        if noise and index < onset:
            seed = (seed * 1_103_515_245 + 12_345) & 0x7FFFFFFF
            value += noise * (seed / 0x3FFFFFFF - 1.0) * (1 - index / onset)
        spoken[index] = int(_LOUDNESS * value)
    if sys.byteorder == "big":
        spoken.byteswap()
    return spoken.tobytes()
