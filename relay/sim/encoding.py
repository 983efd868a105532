"""Server messages as Google writes them, indented JSON with a newline at the end, and close reasons as it cuts them."""

from typing import Any

import orjson

MAX_REASON_BYTES = 123  # RFC 6455 5.5: what a close frame can hold beside its code; Google cuts exactly there

Message = dict[str, Any]
"""One server message as a JSON object, already without the fields that proto3 omits."""


def encode(message: Message) -> bytes:
    """The bytes of one server frame: two-space indent, UTF-8, newline at the end."""
    return orjson.dumps(message, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def without_defaults(message: Message) -> Message:
    """Drop fields at their proto3 default (false, 0, "", [] and None); empty messages stay, as `{}`."""
    kept: Message = {}
    for name, value in message.items():
        if isinstance(value, dict):
            kept[name] = without_defaults(value)
        elif value or isinstance(value, dict):
            kept[name] = value
    return kept


def duration(seconds: float) -> str:
    """A protobuf JSON duration: `50s`, `9.500s`."""
    whole = round(seconds * 1000)
    return f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole / 1000:.3f}s"


def cut_reason(text: str) -> bytes:
    """The first 123 bytes of a close reason, less a character that would be cut in two."""
    return text.encode()[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode()
