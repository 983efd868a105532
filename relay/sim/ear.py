"""What a connection hears: streamed audio, video, text and activity marks become a few plain events. Pure.

It knows the rules of realtimeInput (which marks are allowed when), not what an answer is.
"""

import base64
import re
from dataclasses import dataclass, replace
from typing import Any

from relay.sim import rejections
from relay.sim.conversation import IMAGE_TOKENS, Utterance, audio_tokens, text_tokens
from relay.sim.families import Family
from relay.sim.rejections import Rejection
from relay.sim.replies import Heard, transcript_of
from relay.sim.rules import Settings
from relay.sim.vad import SpeechDetector, Turned

_RATE = re.compile(r"rate=(\d+)")
_DEFAULT_RATE = 16_000


@dataclass(frozen=True, slots=True)
class Began:
    """The user began to speak, `at_s` into the audio stream."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The user finished speaking: what was heard, ready to be answered."""

    at_s: float
    heard: Heard


@dataclass(frozen=True, slots=True)
class Typed:
    """Text came in as realtime input, outside any activity."""

    heard: Heard


Noticed = Began | Ended | Typed


class Ear:
    """The realtime input of one connection."""

    def __init__(self, settings: Settings) -> None:
        self._family: Family = settings.manner.family
        self._automatic = settings.automatic
        self._detector = SpeechDetector(settings.sensitivity)
        self._active = False
        """Between activityStart and activityEnd, where the client marks activity itself."""
        self._activity_from_s = 0.0
        self._typed: list[str] = []
        self._pictures = 0

    def hear(self, body: dict[str, Any]) -> list[Noticed] | Rejection:
        """Take one realtimeInput in canonical form."""
        if "mediaChunks" in body:
            if not self._family.media_chunks:
                return rejections.MEDIA_CHUNKS
            body = self._unchunked(body)
        marks = "activityStart" in body or "activityEnd" in body
        if marks and self._automatic:
            return rejections.EXPLICIT_ACTIVITY
        noticed: list[Noticed] = []
        if "activityStart" in body and not self._active:
            self._active, self._activity_from_s = True, self._detector.heard_s
            noticed.append(Began(self._detector.heard_s))
        if "audio" in body:
            heard = self._audio(body["audio"])
            if isinstance(heard, Rejection):
                return heard
            noticed += heard
        if "video" in body:
            self._pictures += 1
        if "text" in body:
            self._typed.append(body["text"])
            if not self._active and not self._detector.speaking:
                noticed.append(Typed(self._take()))
        if "activityEnd" in body and self._active:
            self._active = False
            spoken_s = self._detector.heard_s - self._activity_from_s
            self._detector.finish()
            noticed.append(Ended(self._detector.heard_s, replace(self._take(), speech_s=spoken_s)))
        if body.get("audioStreamEnd") and self._detector.finish() and self._automatic:
            noticed.append(Ended(self._detector.heard_s, self._take()))
        return noticed

    def _audio(self, blob: dict[str, Any]) -> list[Noticed] | Rejection:
        mime = blob.get("mimeType", "")
        pcm = base64.b64decode(blob.get("data", ""))
        if len(pcm) % 2 or not mime.startswith("audio/"):
            return rejections.BAD_ARGUMENT
        if not self._automatic and not self._active:
            return rejections.BAD_ARGUMENT
        match = _RATE.search(mime)
        rate = int(match[1]) if match else _DEFAULT_RATE
        if not 8_000 <= rate <= 48_000:
            return rejections.BAD_ARGUMENT
        turned = self._detector.feed(pcm, rate)
        if not self._automatic:
            return []
        at_s = self._detector.heard_s
        return [Began(at_s) if turn is Turned.SPEAKING else Ended(at_s, self._take()) for turn in turned]

    def _take(self) -> Heard:
        spoken = self._detector.take()
        heard = Heard(" ".join(self._typed), spoken.speech_s, self._pictures)
        self._typed, self._pictures = [], 0
        return heard

    def _unchunked(self, body: dict[str, Any]) -> dict[str, Any]:
        """The deprecated form in today's: only the first chunk counts."""
        rest = {name: value for name, value in body.items() if name != "mediaChunks"}
        if not body["mediaChunks"]:
            return rest
        first = body["mediaChunks"][0]
        kind = "audio" if first.get("mimeType", "").startswith("audio/") else "video"
        return {**rest, kind: first}


def utterance(heard: Heard) -> Utterance:
    """What was heard, as the conversation remembers it."""
    return Utterance(
        "user",
        heard.text or (transcript_of(heard).strip() if heard.speech_s else ""),
        text_tokens=text_tokens(heard.text),
        audio_tokens=audio_tokens(heard.speech_s),
        image_tokens=heard.pictures * IMAGE_TOKENS,
    )
