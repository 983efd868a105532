"""What one session used: plain integers, counted where a message is decided on, read by whoever reports or bills."""

import re
from dataclasses import dataclass, field
from typing import Any

from relay.core.client_frames import ClientFrame
from relay.core.server_frames import ServerFrame, decoded_bytes
from relay.core.usage import Semantics, Tally

SPOKEN_RATE = 24_000
"""Samples a second of what Gemini speaks: 24 kHz, 16 bit, mono, with every model (2026)."""
SAMPLE_BYTES = 2

_RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Sample rates of microphones. A claim is rounded down to one: seconds come out too long rather than too short."""
_RATE = re.compile(r";\s*rate=([0-9]{1,6})\b")
_USUAL_RATES = {"audio/pcm;rate=16000": 16_000, "audio/pcm;rate=24000": 24_000}
_UNNAMED_RATE = 16_000


@dataclass(slots=True)
class Meter:
    """Running totals of one session."""

    frames_up: int = 0
    """Messages forwarded to Gemini."""
    frames_down: int = 0
    """Messages for the client, the relay's own among them."""
    bytes_up: int = 0
    """Payload bytes forwarded to Gemini."""
    bytes_down: int = 0
    """Payload bytes forwarded to the client."""
    audio_bytes_up: dict[int, int] = field(default_factory=dict)
    """Bytes of PCM that the client spoke, by sample rate."""
    audio_bytes_down: int = 0
    """Bytes of PCM that Gemini spoke."""
    frames_dropped_up: int = 0
    """Client messages that a new upstream leg was not told although Gemini's state may lack them."""
    frames_dropped_down: int = 0
    """Messages of Gemini's that a client missed while it was away."""
    video_frames: int = 0
    """Pictures of the client's camera or screen."""
    text_characters_up: int = 0
    """Characters of text that the client wrote."""
    text_characters_down: int = 0
    """Characters of text that Gemini wrote to the client."""
    turns: int = 0
    interruptions: int = 0
    tool_calls: int = 0
    tally: Tally = field(default_factory=Tally)
    """The tokens that Gemini reported."""
    first_input_at: float | None = None
    """When the client sent its first message after the setup, on the clock of `now`."""
    first_audio_at: float | None = None
    """When Gemini's first audio arrived, on the clock of `now`."""
    lively_at: float | None = None
    """When somebody last spoke or wrote, on the clock of `now`; an open microphone alone is neither."""
    _messages: dict[int, int] = field(default_factory=dict)
    """Messages received so far, by upstream leg."""
    _unreported: int = 0
    _owed: bool = False
    """A turn ended and its report is still to come."""
    _paid: bool = False
    """A report came and its turn is still to end."""

    def means(self, semantics: Semantics) -> None:
        """Say what this session's usage reports mean, once its model is known."""
        self.tally = Tally(semantics)

    def count_content(self, frame: ClientFrame, now: float) -> float:
        """One message of the client was accepted; how many seconds of audio it holds."""
        body = frame.body
        if frame.kind == "realtimeInput":
            audio = body.get("audio")
            seconds = self._count_audio(audio) if audio is not None else 0.0
            if audio is not None and len(body) == 1:  # most messages are
                return seconds
            self.video_frames += "video" in body
            self.text_characters_up += len(body.get("text", ""))
            if not _WRITES.isdisjoint(body):
                self.lively_at = now
            return seconds
        self.lively_at = now
        if frame.kind == "clientContent":
            parts = (part for turn in body.get("turns", ()) for part in turn.get("parts", ()))
            self.text_characters_up += sum(len(part.get("text", "")) for part in parts)
        return 0.0

    def _count_audio(self, blob: dict[str, Any]) -> float:
        data, mime_type = blob.get("data", ""), blob.get("mimeType", "")
        size = len(data) * 3 // 4
        if data.endswith("="):
            size = decoded_bytes(data)
        rate = _USUAL_RATES.get(mime_type) or _rate_of(mime_type)
        counted = self.audio_bytes_up
        counted[rate] = counted.get(rate, 0) + size
        return size / (rate * SAMPLE_BYTES)

    def count_up(self, payload_bytes: int, now: float) -> None:
        """One message went to Gemini."""
        self.frames_up += 1
        self.bytes_up += payload_bytes
        if self.first_input_at is None:
            self.first_input_at = now

    def count_down(self, payload_bytes: int) -> None:
        """One message went to the client, Gemini's or the relay's own."""
        self.frames_down += 1
        self.bytes_down += payload_bytes

    def read(self, frame: ServerFrame, leg: int, now: float) -> bool:
        """One message came from upstream leg `leg`, whether the client gets to see it or not; was usage reported?"""
        if frame.lively:
            self.lively_at = now
        if frame.audio_bytes:
            self.audio_bytes_down += frame.audio_bytes
            if self.first_audio_at is None:
                self.first_audio_at = now
        self.text_characters_down += frame.text_characters
        self.interruptions += frame.interrupted
        self.tool_calls += len(frame.call_ids)
        place = self._messages.get(leg, 0)
        self._messages[leg] = place + 1
        reported = frame.usage is not None and self.tally.add(frame.usage, leg, place)
        if reported:
            self._owed, self._paid = False, not self._owed
        if frame.turn_complete:
            self.turns += 1
            if not self._paid:
                self._unreported += self._owed
                self._owed = True
            self._paid = False
        return reported

    @property
    def turns_unreported(self) -> int:
        """Turns that ended without a report of what they used, before or after their end."""
        return self._unreported + self._owed

    @property
    def audio_up_ms(self) -> int:
        """Milliseconds the client spoke, silence of an open microphone included."""
        return sum(size * 1000 // (rate * SAMPLE_BYTES) for rate, size in self.audio_bytes_up.items())

    @property
    def audio_down_ms(self) -> int:
        """Milliseconds Gemini spoke, whether or not the client played them."""
        return self.audio_bytes_down * 1000 // (SPOKEN_RATE * SAMPLE_BYTES)


_WRITES = frozenset({"text", "activityStart"})
"""What shows in a realtimeInput that somebody is there."""


def _rate_of(mime_type: str) -> int:
    match = _RATE.search(mime_type)
    claimed = int(match[1]) if match else _UNNAMED_RATE
    return max((rate for rate in _RATES if rate <= claimed), default=_RATES[0])
