"""What a voice session says: the setup, 40 ms microphone frames up, a spoken turn of 160 ms audio frames down.

Shapes and sizes follow the Live API: compact JSON in text frames from clients, indented JSON in binary frames from
Gemini. The audio is noise, since silence would be kinder to a parser than speech.
"""

import base64
import json
import random
from typing import Any

from bench.frames import BINARY, TEXT, encode

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
MODEL = "models/gemini-3.8-live"
VOICE_PREFIX = "bench-"
"""The voice a client asks for is this and its session's number: so the mock finds out whose upstream it is."""

TICK_S = 0.04
"""A client sends one frame per tick; a turn is written in ticks as well."""
CYCLE_TICKS = 100
"""Four seconds: Gemini speaks in the first half and is silent in the second."""

_noise = random.Random(20261122)


def _pcm(milliseconds: int, rate_hz: int) -> str:
    return base64.b64encode(_noise.randbytes(milliseconds * rate_hz // 1000 * 2)).decode()


def _indented(message: dict[str, Any]) -> bytes:
    return json.dumps(message, indent=2).encode() + b"\n"


def setup(number: int) -> bytes:
    """The setup of one session's client, within what a guided policy allows."""
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": f"{VOICE_PREFIX}{number}"}}, "languageCode": "de-DE"}
    body = {"model": MODEL, "generationConfig": {"speechConfig": voice}, "sessionResumption": {}}
    return json.dumps({"setup": body}, separators=(",", ":")).encode()


def audio_up() -> bytes:
    """40 ms of microphone at 16 kHz."""
    audio = {"mimeType": "audio/pcm;rate=16000", "data": _pcm(40, 16_000)}
    return json.dumps({"realtimeInput": {"audio": audio}}, separators=(",", ":")).encode()


def audio_down() -> bytes:
    """160 ms of Gemini's voice at 24 kHz."""
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": _pcm(160, 24_000)}}
    return _indented({"serverContent": {"modelTurn": {"parts": [part]}}})


def setup_complete() -> bytes:
    """Gemini's answer to a setup."""
    return _indented({"setupComplete": {"sessionId": "c2Vzc2lvbg"}})


_USAGE = {
    "promptTokenCount": 812,
    "responseTokenCount": 104,
    "totalTokenCount": 916,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 700}, {"modality": "TEXT", "tokenCount": 112}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 104}],
}


def up_frame() -> bytes:
    """A microphone frame, masked and ready to be sent."""
    return encode(audio_up(), TEXT, masked=True)


def down_frame() -> bytes:
    """A voice frame, ready to be sent."""
    return encode(audio_down(), BINARY, masked=False)


def turn() -> dict[int, bytes]:
    """One turn of Gemini by tick of the cycle: 25 audio frames in 2 s, and nine frames of everything else."""
    said = {tick: audio_down() for tick in range(0, 50, 2)}
    for tick, words in ((1, "What is the "), (3, "weather like?")):
        said[tick] = _indented({"serverContent": {"inputTranscription": {"text": words}}})
    for tick in (5, 15, 25, 35):
        said[tick] = _indented({"serverContent": {"outputTranscription": {"text": "It is sunny and warm today, "}}})
    said[51] = _indented({"serverContent": {"generationComplete": True}})
    said[53] = _indented({"serverContent": {"turnComplete": True}, "usageMetadata": _USAGE})
    handle = base64.urlsafe_b64encode(_noise.randbytes(48)).decode()
    said[55] = _indented({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True}})
    return {tick: encode(payload, BINARY, masked=False) for tick, payload in said.items()}


FRAMES_PER_SECOND = (CYCLE_TICKS + len(turn())) / (CYCLE_TICKS * TICK_S)
"""Of one voice session, both ways together."""
