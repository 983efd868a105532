"""The grammar of a model turn: which frames an answer consists of, in which order, for each family of models.

A turn is planned lazily: a step's audio is made when the step is asked for. Pacing is the dialogue's business; a step
only says how far into the answer's audio it belongs.
"""

import base64
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from relay.sim import speech
from relay.sim.encoding import Message
from relay.sim.families import Family

_THOUGHT = "**Considering the answer**\n\nThe user expects a short and friendly reply.\n\n\n"


@dataclass(frozen=True, slots=True)
class Manner:
    """How one connection wants its answers."""

    family: Family
    voice: str
    audio: bool = True
    """AUDIO is the response modality, else TEXT."""
    transcript: bool = False
    thoughts: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of an answer, up to generationComplete."""

    kind: str
    """`opening`, `thought`, `transcript`, `text`, `audio` or `generationComplete`."""
    offset_s: float
    """How much of the answer's audio precedes it."""
    words: str = ""
    """What of the reply's text this step brings."""
    pcm: bytes = b""
    parts: int = 1
    content: Message = field(default_factory=dict)
    """The serverContent, complete but for audio."""


def plan(reply: str, manner: Manner) -> Iterator[Step]:
    """The steps of the answer `reply`; turnComplete, which carries the bill, is not among them."""
    family = manner.family
    if family.opens_empty:
        yield Step("opening", 0.0)
    if family.thought_parts and manner.thoughts:
        yield Step("thought", 0.0, content=_model_turn({"text": _THOUGHT, "thought": True}, family))
    if not manner.audio:
        for at, word in enumerate(speech.words_of(reply, manner.voice)):
            yield Step("text", at * 0.05, word.text, content=_model_turn({"text": word.text}, family))
        yield Step("generationComplete", 0.0, content={"generationComplete": True})
        return
    if family.transcript_first and manner.transcript:
        yield Step("transcript", 0.0, content={"outputTranscription": {}})
        for word in speech.words_of(reply, manner.voice):
            yield _transcript(word.text, 0.0)
        yield Step("transcript", 0.0, content={"outputTranscription": {"finished": True}})
    yield from _spoken(reply, manner)
    yield Step("generationComplete", 0.0, content={"generationComplete": True})


def server_content(step: Step, manner: Manner, pcm: bytes) -> Message:
    """The serverContent of a step; `pcm` is its audio, stamped or not."""
    if not pcm:
        return step.content
    family = manner.family
    mime = f"audio/pcm;rate={speech.RATE}" if family.rate_in_mime else "audio/pcm"
    size = len(pcm) // step.parts // 2 * 2
    bounds = [*range(0, size * step.parts, size), len(pcm)]
    parts = [
        {"inlineData": {"mimeType": mime, "data": base64.b64encode(pcm[start:end]).decode()}}
        for start, end in itertools.pairwise(bounds)
    ]
    turn: Message = {"role": "model", "parts": parts} if family.role else {"parts": parts}
    return {"modelTurn": turn, **step.content}


def _model_turn(part: dict[str, Any], family: Family) -> Message:
    turn: Message = {"role": "model", "parts": [part]} if family.role else {"parts": [part]}
    return {"modelTurn": turn}


def _transcript(text: str, offset_s: float) -> Step:
    return Step("transcript", offset_s, text, content={"outputTranscription": {"text": text}})


def _spoken(reply: str, manner: Manner) -> Iterator[Step]:
    """The audio in chunks of the family's sizes, each transcript piece beside or before the chunk it starts in."""
    family = manner.family
    separate = manner.transcript and not family.transcript_first and not family.joint
    joint = manner.transcript and family.joint
    buffered, sent_bytes, count, pieces = bytearray(), 0, 0, ""

    def chunk(pcm: bytes) -> Step:
        nonlocal sent_bytes, count, pieces
        content: Message = {"outputTranscription": {"text": pieces}} if joint and pieces else {}
        split = family.two_parts and count % 4 == 3 and len(pcm) > 4_000
        step = Step("audio", sent_bytes / speech.BYTES_PER_S, pieces, pcm, 2 if split else 1, content)
        sent_bytes += len(pcm)
        count += 1
        pieces = ""
        return step

    for word in speech.words_of(reply, manner.voice):
        if separate:
            yield _transcript(word.text, sent_bytes / speech.BYTES_PER_S)
        elif not (manner.transcript and family.transcript_first):
            pieces += word.text
        for pcm in speech.render(iter(word.sounds)):
            buffered += pcm
            size = family.chunks_ms[count % len(family.chunks_ms)] * speech.BYTES_PER_S // 1000
            while len(buffered) >= size:
                yield chunk(bytes(buffered[:size]))
                del buffered[:size]
                size = family.chunks_ms[count % len(family.chunks_ms)] * speech.BYTES_PER_S // 1000
    if buffered or pieces:
        yield chunk(bytes(buffered) or bytes(1920))
