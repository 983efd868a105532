"""Voice activity: where speech starts and ends in a stream of PCM16, judged by energy alone.

Counts the stream's own time, not the clock's: a microphone that stops sending has neither spoken nor fallen silent.
"""

import sys
from array import array
from dataclasses import dataclass
from enum import Enum
from operator import mul

from relay.sim.replies import Heard

_WINDOW_S = 0.02
_DECIMATION = 4  # every fourth sample tells the energy of speech well enough, at a quarter of the price


class Turned(Enum):
    """The stream went from one state to the other."""

    SPEAKING = "ACTIVITY_START"
    SILENT = "ACTIVITY_END"


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """When a stream counts as speech."""

    loudness: int = 400
    """Root mean square of a window, out of 32,767, from which it may be speech (about -38 dBFS)."""
    start_s: float = 0.06
    """Speech must last so long to be noticed."""
    silence_s: float = 0.5
    """Silence must last so long to end it."""


class SpeechDetector:
    """Turns chunks of audio into starts and ends of speech, and measures what was spoken in between."""

    def __init__(self, sensitivity: Sensitivity) -> None:
        self._sensitivity = sensitivity
        self._left = b""
        self._loud_s = 0.0
        self._quiet_s = 0.0
        self._speech_s = 0.0
        self.heard_s = 0.0
        """Length of the whole stream so far."""
        self.speaking = False

    def feed(self, pcm: bytes, rate: int) -> list[Turned]:
        """Take one chunk of little-endian PCM16 at `rate` samples per second."""
        window_bytes = int(rate * _WINDOW_S) * 2
        stream = self._left + pcm
        whole = len(stream) - len(stream) % window_bytes
        self._left = stream[whole:]
        turned = [self._window(stream[at : at + window_bytes]) for at in range(0, whole, window_bytes)]
        return [change for change in turned if change is not None]

    def finish(self) -> bool:
        """End the stream; True when that ended speech."""
        speaking, self.speaking = self.speaking, False
        self._left, self._loud_s, self._quiet_s = b"", 0.0, 0.0
        return speaking

    def take(self) -> Heard:
        """What was spoken since the last time this was asked."""
        heard = Heard(speech_s=self._speech_s)
        self._speech_s = 0.0
        return heard

    def _window(self, window: bytes) -> Turned | None:
        self.heard_s += _WINDOW_S
        samples = array("h", window)
        if sys.byteorder == "big":
            samples.byteswap()
        thinned = samples[::_DECIMATION]
        limit = self._sensitivity
        if sum(map(mul, thinned, thinned)) < limit.loudness**2 * len(thinned):
            if not self.speaking:
                self._speech_s -= self._loud_s  # a click, too short to be speech
            self._loud_s = 0.0
            self._quiet_s += _WINDOW_S
            if self.speaking and self._quiet_s >= limit.silence_s - 1e-9:
                self.speaking = False
                return Turned.SILENT
            return None
        self._quiet_s = 0.0
        self._loud_s += _WINDOW_S
        self._speech_s += _WINDOW_S
        if not self.speaking and self._loud_s >= limit.start_s - 1e-9:
            self.speaking = True
            return Turned.SPEAKING
        return None
