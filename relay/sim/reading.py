"""Client frames as Google reads them: leniently, and refusing in Google's words.

Accepts both spellings mixed at every level, numbers in strings, every base64 alphabet, enums by number or in lower
case, and null for absent; the names and types come from `relay.core.schema`. It is a second reader on purpose: the
relay's own (`relay.core.client_frames`) must not be judged by itself. It knows no session.
"""

import base64
import binascii
import json
import math
from typing import Any

from relay.core import schema
from relay.core.schema import Field, Kind
from relay.sim import rejections
from relay.sim.rejections import Rejection

MAX_DEPTH = 100  # protobuf's own limit on nesting

Object = dict[str, Any]


class _Rejected(Exception):  # noqa: N818 - the way out of the recursion, never seen outside
    def __init__(self, rejection: Rejection) -> None:
        self.rejection = rejection


def read(text: str) -> Object | Rejection:
    """One client message in canonical form, `{kind: body}`, or the close it earns.

    Canonical: camelCase names, enums by upper-case name, integers as int, bytes as standard base64, no nulls.
    """
    try:
        tree = json.loads(text, object_pairs_hook=_members, parse_constant=_no_constant)
    except _Rejected as rejected:
        return rejected.rejection
    except (ValueError, RecursionError):
        return rejections.BAD_JSON
    if not isinstance(tree, dict):
        return rejections.invalid("Invalid JSON payload received. Root element must be a message.")
    try:
        message = _message("ClientMessage", tree, "", 1)
    except _Rejected as rejected:
        return rejected.rejection
    if not message:
        return rejections.BAD_ARGUMENT
    return message


def decode_base64(text: str) -> bytes | None:
    """The bytes of base64 in either alphabet, padded or not, with white space; None when it is none of these."""
    try:
        packed = "".join(text.split()).translate(_STANDARD).rstrip("=").encode("ascii")
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None


_STANDARD = str.maketrans("-_", "+/")


def _members(pairs: list[tuple[str, Any]]) -> Object:
    members = dict(pairs)
    if len(members) != len(pairs):  # the public JSON reader of protobuf refuses repeated keys; Google's is unknown
        raise _Rejected(rejections.BAD_JSON)
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _message(name: str, tree: Object, path: str, depth: int) -> Object:
    if depth > MAX_DEPTH:
        raise _Rejected(rejections.invalid("Invalid JSON payload received. Message too deep."))
    spellings = schema.SPELLINGS[name]
    message: Object = {}
    for key, value in tree.items():
        field = spellings.get(key)
        if field is None:
            raise _Rejected(rejections.unknown_name(key, path))
        if value is None:
            continue
        if name == "ClientMessage" and message and field.name not in message:
            raise _Rejected(rejections.second_of_oneof(path, "message_type", schema.snake(field.name)))
        inner = f"{path}.{schema.snake(field.name)}" if path else schema.snake(field.name)
        settled = _field(field, value, inner, depth)
        earlier = message.get(field.name)
        if isinstance(earlier, dict) and isinstance(settled, dict):  # two spellings: messages merge
            settled = _merged(earlier, settled)
        message[field.name] = settled
    return message


def _merged(first: Object, second: Object) -> Object:
    merged = dict(first)
    for name, value in second.items():
        earlier = merged.get(name)
        both = isinstance(earlier, dict) and isinstance(value, dict)
        merged[name] = _merged(earlier, value) if both and earlier is not None else value
    return merged


def _field(field: Field, value: Any, path: str, depth: int) -> Any:
    if field.repeated:
        if not isinstance(value, list):
            raise _Rejected(
                rejections.invalid(f"Invalid value at '{path}' (oneof), Proto field is repeating, needs a list.")
            )
        return [_single(field, entry, f"{path}[{at}]", depth + 1) for at, entry in enumerate(value)]
    if field.mapped:
        if not isinstance(value, dict):
            raise _Rejected(rejections.invalid_value(path, "Map", _shown(value)))
        return {key: _single(field, entry, path, depth + 1) for key, entry in value.items()}
    return _single(field, value, path, depth)


def _single(field: Field, value: Any, path: str, depth: int) -> Any:
    kind = field.kind
    if kind is Kind.MESSAGE:
        if not isinstance(value, dict):
            raise _Rejected(rejections.invalid_value(path, f"type {field.message}", _shown(value)))
        return _message(field.message, value, path, depth + 1)
    if kind is Kind.ENUM:
        return _enum(field.enum, value, path)
    if kind is Kind.STRUCT and not isinstance(value, dict):
        raise _Rejected(rejections.invalid_value(path, "type.googleapis.com/google.protobuf.Struct", _shown(value)))
    if kind in (Kind.STRUCT, Kind.VALUE):
        return value
    return _scalar(kind, value, path)


def _enum(name: str, value: Any, path: str) -> str:
    members = schema.ENUMS[name]
    if isinstance(value, int) and not isinstance(value, bool) and value in members:
        return members[value]
    if isinstance(value, str) and value.upper() in members.values():
        return value.upper()
    raise _Rejected(rejections.invalid_value(path, f"type {name}", _shown(value)))


def _scalar(kind: Kind, value: Any, path: str) -> Any:
    word = f"TYPE_{kind.value.upper()}"
    if kind is Kind.BOOL:
        if isinstance(value, bool):
            return value
    elif kind in (Kind.INT32, Kind.INT64):
        number = _number(value)
        bits = 31 if kind is Kind.INT32 else 63
        if number is not None and number == int(number) and -(2**bits) <= number < 2**bits:
            return int(number)
    elif kind is Kind.FLOAT:
        number = _number(value)
        if number is not None:
            return number
    elif kind is Kind.BYTES:
        decoded = decode_base64(value) if isinstance(value, str) else None
        if decoded is not None:
            return base64.b64encode(decoded).decode()
    elif isinstance(value, str):
        return value
    raise _Rejected(rejections.invalid_value(path, word, _shown(value)))


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            return None
    if isinstance(value, int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else type(value).__name__
    return shown[:80]
