"""The Live API's server messages, read for what the relay itself needs to know of them.

Gemini's bytes go to the client as they came; this module only looks. It tolerates everything: an unknown field is
skipped, a field of the wrong type counts as absent, and one frame may carry several messages (`usageMetadata` rides
on others), so nothing here switches on *the* kind of a frame.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from relay.core.bounds import holds_more
from relay.core.durations import duration_s
from relay.core.secret import NOTHING, Secret
from relay.core.usage import Usage, usage

KNOWN = frozenset(
    {
        "setupComplete",
        "serverContent",
        "toolCall",
        "toolCallCancellation",
        "usageMetadata",
        "goAway",
        "sessionResumptionUpdate",
        "voiceActivity",
        "voiceActivityDetectionSignal",
    }
)
"""Top-level names that the released SDKs know; a frame with none of them crashes the Python SDK."""


@dataclass(slots=True)
class Resumption:
    """One `sessionResumptionUpdate`: a new handle (`NOTHING` when there is none) and whether it may be used now."""

    handle: Secret
    resumable: bool
    consumed: int = 0
    """Place of the last client message in the state behind the handle, where the setup is 0 (transparent mode)."""


@dataclass(slots=True)
class ServerFrame:
    """What one server message says."""

    names: frozenset[str]
    """The top-level names it carries."""
    setup_complete: bool = False
    speaks: bool = False
    """The model says something: a turn of it, or the transcript of one."""
    output_text: str = field(default="", repr=False)
    """A piece of the transcript of what the model says."""
    generation_complete: bool = False
    turn_complete: bool = False
    more_turns: bool = False
    """With `turn_complete`: the answer goes on in another turn."""
    interrupted: bool = False
    audio_bytes: int = 0
    """Decoded bytes of PCM in `modelTurn`."""
    text_characters: int = 0
    """Characters of text that Gemini wrote to the client, thoughts and transcripts left out."""
    lively: bool = False
    """Whether it shows that somebody speaks or writes: Gemini's parts, transcripts of either side, a heard voice."""
    call_ids: list[str] = field(default_factory=list)
    cancelled_ids: list[str] = field(default_factory=list)
    usage: Usage | None = None
    resumption: Resumption | None = None
    go_away_s: float | None = None
    """`timeLeft` of a `goAway` in seconds; 0 when it says none."""

    @property
    def known(self) -> bool:
        """Whether released SDKs can read it at all."""
        return not self.names.isdisjoint(KNOWN)


MAX_NODES = 20_000
"""Objects, lists and values in one server message: Gemini's own have a few hundred."""

MAX_ID_CHARACTERS = 1024
"""Of a call, whose id is remembered; Gemini's have about thirty."""


def server_frame(payload: bytes) -> ServerFrame | None:
    """Read one server message; None when it is no JSON object, or one that nobody could read in time."""
    if holds_more(payload, MAX_NODES):
        return None
    rest, skipped_characters = _without_body(payload)
    try:
        tree = orjson.loads(rest)
    except orjson.JSONDecodeError:
        return None
    if type(tree) is not dict:
        return None
    frame = ServerFrame(frozenset(tree))
    for name, body in tree.items():
        reader = _READERS.get(name)
        if reader is not None and type(body) is dict:
            reader(frame, body)
    if frame.audio_bytes:
        frame.audio_bytes += skipped_characters * 3 // 4
    return frame


_DATA = b'"data": "'
_WORTH_SKIPPING_BYTES = 1024


def _without_body(payload: bytes) -> tuple[bytes, int]:
    """The message without the base64 of its one blob, and how many characters that left out.

    In a frame of audio 98 % is one string without an escape: where it ends is known without parsing it. Its last four
    characters stay, so that the padding can be seen.
    """
    if len(payload) < _WORTH_SKIPPING_BYTES:
        return payload, 0
    begin = payload.find(_DATA) + len(_DATA)
    end = payload.find(b'"', begin) - 4
    if begin < len(_DATA) or end - begin < _WORTH_SKIPPING_BYTES:
        return payload, 0
    body, rest = payload[begin:end], payload[:begin] + payload[end:]
    if b"\\" in body or not body.isascii() or rest.count(_DATA) != 1:
        return payload, 0
    return rest, len(body)


def without(payload: bytes, names: frozenset[str]) -> bytes | None:
    """The same message without these top-level names; None when no SDK could read the rest."""
    try:
        whole = orjson.loads(payload)
    except orjson.JSONDecodeError:  # control characters in a blob, which `server_frame` does not look into
        return None
    tree = {name: body for name, body in whole.items() if name not in names}
    return None if KNOWN.isdisjoint(tree) else server_message(tree)


def server_message(tree: dict[str, Any]) -> bytes:
    """A message of the relay's own, written as Google writes its messages."""
    written = orjson.dumps(tree, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return b"%b" % written  # a copy, as in `ClientFrame.encode`


# One reader per message ---------------------------------------------------------------------------------------------


def _setup_complete(frame: ServerFrame, _body: dict[str, Any]) -> None:
    frame.setup_complete = True


def _server_content(frame: ServerFrame, body: dict[str, Any]) -> None:
    frame.generation_complete = body.get("generationComplete") is True
    frame.turn_complete = body.get("turnComplete") is True
    frame.more_turns = body.get("interactionStatus") == "IN_PROGRESS"
    frame.interrupted = body.get("interrupted") is True
    frame.lively = not _TRANSCRIPTS.isdisjoint(body)
    transcription = body.get("outputTranscription")
    if type(transcription) is dict:
        frame.speaks = True
        text = transcription.get("text")
        frame.output_text = text if type(text) is str else ""
    turn = body.get("modelTurn")
    if type(turn) is dict:
        frame.speaks = frame.lively = True
        for part in _dicts(turn.get("parts")):
            blob = part.get("inlineData")
            if type(blob) is dict:
                frame.audio_bytes += _audio_bytes(blob)
            text = part.get("text")
            if type(text) is str and part.get("thought") is not True:
                frame.text_characters += len(text)


_TRANSCRIPTS = frozenset({"inputTranscription", "outputTranscription", "interimInputTranscription"})


def _audio_bytes(blob: dict[str, Any]) -> int:
    body = blob.get("data")
    if type(body) is not str or not str(blob.get("mimeType", "")).startswith("audio/"):
        return 0
    return decoded_bytes(body)


def decoded_bytes(base64: str) -> int:
    """How many bytes a padded base64 text stands for, without decoding it."""
    return len(base64) * 3 // 4 - base64.count("=", -2)


def _voice_activity(frame: ServerFrame, _body: dict[str, Any]) -> None:
    frame.lively = True


def _tool_call(frame: ServerFrame, body: dict[str, Any]) -> None:
    frame.lively = True
    for call in _dicts(body.get("functionCalls")):
        call_id = call.get("id")
        frame.call_ids.append(call_id if type(call_id) is str and len(call_id) <= MAX_ID_CHARACTERS else "")


def _tool_call_cancellation(frame: ServerFrame, body: dict[str, Any]) -> None:
    ids = body.get("ids")
    if type(ids) is list:
        frame.cancelled_ids.extend(each for each in ids if type(each) is str and len(each) <= MAX_ID_CHARACTERS)


def _usage_metadata(frame: ServerFrame, body: dict[str, Any]) -> None:
    frame.usage = usage(body)


def _resumption_update(frame: ServerFrame, body: dict[str, Any]) -> None:
    handle = body.get("newHandle")
    frame.resumption = Resumption(
        Secret(handle) if type(handle) is str else NOTHING,
        body.get("resumable") is True,
        _index(body.get("lastConsumedClientMessageIndex")),
    )


def _index(value: object) -> int:
    """An int64 of protobuf's JSON: a string, or a number where somebody was kind; 0 for anything else."""
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value if type(value) is int and value > 0 else 0


def _go_away(frame: ServerFrame, body: dict[str, Any]) -> None:
    frame.go_away_s = duration_s(body.get("timeLeft")) or 0.0


def _dicts(items: object) -> list[dict[str, Any]]:
    return [item for item in items if type(item) is dict] if type(items) is list else []


_READERS = {
    "setupComplete": _setup_complete,
    "serverContent": _server_content,
    "toolCall": _tool_call,
    "toolCallCancellation": _tool_call_cancellation,
    "usageMetadata": _usage_metadata,
    "sessionResumptionUpdate": _resumption_update,
    "goAway": _go_away,
    "voiceActivity": _voice_activity,
    "voiceActivityDetectionSignal": _voice_activity,
}
