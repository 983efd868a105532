"""The Live API's client messages: bytes in, one canonical form out.

Google's JSON reader is lenient: two spellings per field, enums by number, base64 in four forms, escaped keys. What
a policy decided on must be what Gemini reads, so every client message is parsed, checked against `schema`, rewritten
to the one canonical spelling and serialised anew; the client's bytes are never forwarded. Server messages are read by
`relay.core.server_frames`. Nothing here knows a policy or a session.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import orjson

from relay.core import schema
from relay.core.bounds import holds_more
from relay.core.durations import duration_s
from relay.core.refusals import Refusal, Rule
from relay.core.schema import Field, Kind

MAX_DEPTH = 32
"""Nesting of objects and lists in a client message; Google stops at 100, no real client passes 20."""
MAX_NODES = 10_000
"""Objects, lists and values in one client message: a bound on the time one message can cost."""
KINDS = tuple(schema.MESSAGES["ClientMessage"])
"""The names of the client messages; a frame carries exactly one."""


@dataclass(slots=True)
class ClientFrame:
    """One client message in canonical form."""

    kind: str
    """`setup`, `clientContent`, `realtimeInput`, `toolResponse` or `contextUpdate`."""
    body: dict[str, Any] = field(repr=False)

    def encode(self) -> bytes:
        """Serialise to the bytes Gemini gets: compact JSON, UTF-8.

        A copy, because it may be kept for long, and what orjson returns holds up to 16 times the memory it fills.
        """
        return b"%b" % orjson.dumps({self.kind: self.body})


# An attribute of an Enum class costs more than a global, and these are asked for with every value.
_MESSAGE, _STRUCT, _VALUE, _BYTES, _ENUM = Kind.MESSAGE, Kind.STRUCT, Kind.VALUE, Kind.BYTES, Kind.ENUM

_NOT_ONE_MESSAGE = Refusal(Rule.NOT_ONE_MESSAGE, "", f"send one JSON object with exactly one of {', '.join(KINDS)}")

_TOO_MANY_NODES = Refusal(Rule.TOO_LARGE, "", f"a message may hold at most {MAX_NODES} values")

_ABSENT = object()
"""Stands for a null field until its object was read, so that its other spelling is still noticed."""


class _Refused(Exception):  # noqa: N818 - not an error of ours: the way out of the recursion below
    def __init__(self, rule: Rule, path: str, words: str) -> None:
        self.refusal = Refusal(rule, path, words)


def client_frame(payload: bytes, *, pass_unknown: bool = False) -> ClientFrame | Refusal:
    """Read one client message and rewrite it canonically.

    `pass_unknown` lets fields through that are newer than `schema`, as free-form values; without it they refuse the
    message. Shapes: a text or binary frame holding one JSON object with exactly one of `KINDS`.
    """
    if holds_more(payload, MAX_NODES):
        return _TOO_MANY_NODES
    try:
        tree = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        # The exception's text quotes nothing of the payload, but only the position is ours to give.
        return Refusal(Rule.NOT_JSON, "", f"not valid JSON (line {error.lineno}, column {error.colno})")
    if type(tree) is not dict:
        return _NOT_ONE_MESSAGE
    if (body := _speech(tree, payload)) is not None:
        return ClientFrame("realtimeInput", body)
    reader = _Reader(pass_unknown)
    try:
        message = reader.message(schema.SPELLINGS["ClientMessage"], tree, "", 0)
        _refuse_duplicates(payload, reader)
        if len(message) != 1:
            return _NOT_ONE_MESSAGE
        kind, body = message.popitem()
        if kind == "realtimeInput" and "mediaChunks" in body:
            _settle_media_chunks(body)
    except _Refused as refused:
        return refused.refusal
    return ClientFrame(kind, body)


def _speech(tree: dict[str, Any], payload: bytes) -> dict[str, Any] | None:
    """The body of a message of microphone audio that is canonical as it is, which most messages are; None for others.

    Nothing is allowed here that the walk below would not allow: it only takes longer to say so.
    """
    body = tree.get("realtimeInput")
    if type(body) is not dict or len(tree) != 1 or len(body) != 1:
        return None
    blob = body.get("audio")
    if type(blob) is not dict or len(blob) != 2:
        return None
    data, mime_type = blob.get("data"), blob.get("mimeType")
    if type(data) is not str or type(mime_type) is not str:
        return None
    whole = _is_whole(payload, 4 + mime_type.count(":"))
    return body if whole and _is_base64(data.encode()) else None


def canonical(message: str, value: object, path: str) -> dict[str, Any] | Refusal:
    """Rewrite one `message` of `schema.MESSAGES` canonically: the operator's own setups go through the same door."""
    if type(value) is not dict:
        return Refusal(Rule.WRONG_TYPE, path, "must be an object")
    try:
        orjson.dumps(value)  # YAML can say what JSON can't: keys that are no strings, dates, integers of any size
    except TypeError:
        return Refusal(Rule.WRONG_TYPE, path, "holds something that JSON can't express")
    try:
        return _Reader(pass_unknown=False).message(schema.SPELLINGS[message], value, path, 0)
    except _Refused as refused:
        return refused.refusal


class _Reader:
    """One walk over one parsed message: rewrites it, and counts what the duplicate check needs."""

    __slots__ = ("_nodes", "_pass_unknown", "colons")

    def __init__(self, pass_unknown: bool) -> None:
        self._pass_unknown = pass_unknown
        self._nodes = 0
        self.colons = 0
        """Colons that the parsed tree accounts for: one for each member, and those inside strings."""

    def message(self, spellings: Mapping[str, Field], value: dict[str, Any], path: str, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise _Refused(Rule.TOO_DEEP, path, f"nests deeper than {MAX_DEPTH} levels")
        self._count(len(value))
        self.colons += len(value)
        canonical: dict[str, Any] = {}
        nulls = False
        for key, item in value.items():
            field = spellings.get(key)
            if field is None:
                self._unknown(canonical, key, item, path, depth)
                continue
            name = field.name
            if name in canonical:
                raise _Refused(Rule.TWO_SPELLINGS, _join(path, name), "is given twice, in camelCase and snake_case")
            if item is None and field.kind is not _VALUE:  # in proto3 JSON null is the same as absent, save there
                nulls = True
                canonical[name] = _ABSENT
            else:
                canonical[name] = self._field(field, item, path, depth)
        if nulls:
            return {name: item for name, item in canonical.items() if item is not _ABSENT}
        return canonical

    def _unknown(self, canonical: dict[str, Any], key: str, item: object, path: str, depth: int) -> None:
        name = _printable(key)
        if not self._pass_unknown or not path:
            raise _Refused(Rule.UNKNOWN_FIELD, _join(path, name), "is not a field of the Live API")
        self.colons += key.count(":")
        canonical[key] = self._free(item, _join(path, name), depth + 1)

    def _field(self, field: Field, item: Any, path: str, depth: int) -> Any:
        path = f"{path}.{field.name}" if path else field.name
        if field.repeated:
            if type(item) is not list:
                raise _Refused(Rule.WRONG_TYPE, path, "must be a list")
            self._count(len(item))
            return [self._single(field, element, path, depth + 1) for element in item]
        if field.mapped:
            if type(item) is not dict:
                raise _Refused(Rule.WRONG_TYPE, path, "must be an object")
            self._count(len(item))
            self.colons += len(item)
            self.colons += sum(key.count(":") for key in item)
            return {key: self._single(field, entry, path, depth + 1) for key, entry in item.items()}
        return self._single(field, item, path, depth)

    def _single(self, field: Field, item: Any, path: str, depth: int) -> Any:
        kind = field.kind
        if kind is _MESSAGE:
            if type(item) is not dict:
                raise _Refused(Rule.WRONG_TYPE, path, "must be an object")
            return self.message(schema.SPELLINGS[field.message], item, path, depth + 1)
        if kind is _STRUCT and type(item) is not dict:
            raise _Refused(Rule.WRONG_TYPE, path, "must be an object")
        if kind is _STRUCT or kind is _VALUE:
            return self._free(item, path, depth + 1)
        if kind is _BYTES:  # before the colons are counted, because base64 has none
            return _bytes(item, path)
        if type(item) is str:
            self.colons += item.count(":")
        if kind is _ENUM:
            return _enum(field.enum, item, path)
        return _SCALARS[kind](item, path)

    def _free(self, item: Any, path: str, depth: int) -> Any:
        """Walk a free-form value: bounded and counted, otherwise left as it is."""
        if depth > MAX_DEPTH:
            raise _Refused(Rule.TOO_DEEP, path, f"nests deeper than {MAX_DEPTH} levels")
        if type(item) is str:
            self.colons += item.count(":")
        elif type(item) is dict:
            self._count(len(item))
            self.colons += len(item)
            for key, entry in item.items():
                self.colons += key.count(":")
                self._free(entry, path, depth + 1)
        elif type(item) is list:
            self._count(len(item))
            for entry in item:
                self._free(entry, path, depth + 1)
        elif type(item) is float and not isfinite(item):
            raise _Refused(Rule.WRONG_TYPE, path, "must be a finite number")
        return item

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _Refused(_TOO_MANY_NODES.rule, "", _TOO_MANY_NODES.words)


def _is_whole(payload: bytes, colons: int) -> bool:
    """Whether the parsed tree surely has every member of its text, by the colons the tree accounts for.

    orjson keeps the last of two equal keys without a word. Each member has one colon outside strings, so with no
    escape in the text the colons of the bytes equal those of the parsed tree exactly if no member was dropped: two
    counts at memory speed instead of a second parse.
    """
    return b"\\" not in payload and payload.count(b":") == colons


def _refuse_duplicates(payload: bytes, reader: _Reader) -> None:
    """Raise when an object of the message has the same key twice.

    Escapes could hide colons; then, and for the name of the culprit, the slow way is taken.
    """
    if _is_whole(payload, reader.colons):
        return
    try:
        json.loads(payload, object_pairs_hook=_unique, parse_int=float)
    except RecursionError:  # a member that orjson dropped; what the reader saw is not deep
        raise _Refused(Rule.TOO_DEEP, "", f"nests deeper than {MAX_DEPTH} levels") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _Refused(Rule.DUPLICATE_KEY, _printable(key), "is given twice in one object")
    return members


def _settle_media_chunks(body: dict[str, Any]) -> None:
    """Rewrite the deprecated `mediaChunks` to the field that current models accept (3.1 and later close with 1007)."""
    chunks = body.pop("mediaChunks")
    path = "realtimeInput.mediaChunks"
    if not chunks:
        return
    if len(chunks) > 1:
        raise _Refused(Rule.TOO_LARGE, path, "may hold one chunk: Gemini reads only the first")
    name = "audio" if chunks[0].get("mimeType", "").lower().startswith("audio/") else "video"
    if name in body:
        raise _Refused(Rule.TWO_SPELLINGS, path, f"may not stand beside realtimeInput.{name}")
    body[name] = chunks[0]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _printable(key: str) -> str:
    """A client's key, fit to be quoted: no control characters, at most 40 characters."""
    shown = "".join(character if character.isprintable() else "?" for character in key[:40])
    return shown if len(key) <= 40 else shown + "…"


# Scalars ------------------------------------------------------------------------------------------------------------

_PADDINGS = (b"", b"=", b"==")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_RFC_3339 = re.compile(r"[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}(?:\.[0-9]{1,9})?(?:Z|[-+][0-9]{2}:[0-9]{2})")
_NUMERAL = re.compile(r"-?[0-9]{1,32}(?:\.[0-9]{1,32})?(?:[eE][-+]?[0-9]{1,3})?")


def _enum(name: str, item: Any, path: str) -> str:
    members = schema.ENUMS[name]
    if type(item) is str:
        upper = item.upper()  # Google's own samples send lower case
        if upper in members.values():
            return upper
    elif type(item) is int and item in members:
        return members[item]
    raise _Refused(Rule.WRONG_TYPE, path, f"is not a value of {name}")


def _string(item: Any, path: str) -> str:
    if type(item) is not str:
        raise _Refused(Rule.WRONG_TYPE, path, "must be a string")
    return item


def _bool(item: Any, path: str) -> bool:
    if type(item) is not bool:
        raise _Refused(Rule.WRONG_TYPE, path, "must be true or false")
    return item


def _integer(bits: int) -> Callable[[Any, str], int]:
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def read(item: Any, path: str) -> int:
        number = _number(item)
        if number is None or number != int(number) or not lowest <= number <= highest:
            raise _Refused(Rule.WRONG_TYPE, path, f"must be an integer of {bits} bits")
        return int(number)

    return read


def _float(item: Any, path: str) -> float:
    number = _number(item)
    if number is None:
        raise _Refused(Rule.WRONG_TYPE, path, "must be a finite number")
    return number


def _number(item: Any) -> int | float | None:
    """A JSON number, or one in a string, as proto3 JSON allows; None for anything else or anything not finite."""
    if type(item) is int:
        return item
    if type(item) is str and _NUMERAL.fullmatch(item):
        if item.lstrip("-").isdigit():
            return int(item)
        item = float(item)
    if type(item) is float and isfinite(item):
        return item
    return None


def _bytes(item: Any, path: str) -> str:
    """Base64 in the standard alphabet with padding, whichever of the accepted forms it came in."""
    if type(item) is not str:
        raise _Refused(Rule.WRONG_TYPE, path, "must be base64")
    text = item.encode()
    if _is_base64(text):
        return item
    text = b"".join(text.split()).translate(_URL_SAFE).rstrip(b"=")
    text += b"=" * (-len(text) % 4)
    if not _is_base64(text):
        raise _Refused(Rule.WRONG_TYPE, path, "must be base64")
    return text.decode()


def _is_base64(text: bytes) -> bool:
    """Whether this is the standard form: what the alphabet leaves is the padding (four times faster than decoding)."""
    padding = text.translate(None, _BASE64)
    return len(text) % 4 == 0 and padding in _PADDINGS and text.endswith(padding)


def _duration(item: Any, path: str) -> str:
    if type(item) is not str or duration_s(item) is None:
        raise _Refused(Rule.WRONG_TYPE, path, 'must be a duration such as "1.5s"')
    return item


def _timestamp(item: Any, path: str) -> str:
    if type(item) is not str or not _RFC_3339.fullmatch(item):
        raise _Refused(Rule.WRONG_TYPE, path, 'must be a time such as "2026-11-22T09:30:00Z"')
    return item


_SCALARS: dict[Kind, Callable[[Any, str], Any]] = {
    Kind.STRING: _string,
    Kind.BOOL: _bool,
    Kind.INT32: _integer(32),
    Kind.INT64: _integer(64),
    Kind.FLOAT: _float,
    Kind.BYTES: _bytes,
    Kind.DURATION: _duration,
    Kind.TIMESTAMP: _timestamp,
}
