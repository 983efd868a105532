"""Client messages for tests: JSON texts of any shape, and a place and values for every field of the schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from relay.core import schema
from relay.core.client_frames import ClientFrame, client_frame
from relay.core.refusals import Refusal
from relay.core.schema import ENUMS, MESSAGES, Field, Kind

Trail = tuple[Field, ...]
"""The fields on the way from a client message down to one field of it."""


class Members(list[tuple[str, Any]]):
    """An object given member by member: keys are JSON string literals, so that they can be escaped or repeated."""


def text(value: Any) -> str:
    """Write JSON as it is given, with every repetition and escape."""
    if isinstance(value, Members):
        return "{" + ",".join(f"{key}:{text(item)}" for key, item in value) + "}"
    if isinstance(value, Mapping):
        return text(Members((json.dumps(key, ensure_ascii=False), item) for key, item in value.items()))
    if isinstance(value, list):
        return "[" + ",".join(map(text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def escaped(key: str) -> str:
    """A JSON string literal that spells every character as an escape."""
    units = key.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)) + '"'


def read(tree: Any, *, pass_unknown: bool = False) -> ClientFrame | Refusal:
    """What the reader makes of a tree."""
    return client_frame(text(tree).encode(), pass_unknown=pass_unknown)


def accepted(tree: Any, *, pass_unknown: bool = False) -> ClientFrame:
    """The frame a tree is read as; a refusal fails the test."""
    frame = read(tree, pass_unknown=pass_unknown)
    assert isinstance(frame, ClientFrame), frame
    return frame


def refused(tree: Any, *, pass_unknown: bool = False) -> Refusal:
    """The refusal a tree meets; acceptance fails the test."""
    refusal = read(tree, pass_unknown=pass_unknown)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def generation(config: Any) -> Any:
    """A setup with this generationConfig."""
    return {"setup": {"generationConfig": config}}


def trails(message: str) -> Iterator[Trail]:
    """The way to every field below a message; maps and messages inside themselves are not entered."""
    yield from _trails((), (message,))


def _trails(above: Trail, inside: tuple[str, ...]) -> Iterator[Trail]:
    for field in MESSAGES[inside[-1]].values():
        yield (*above, field)
        if field.message and not field.mapped and field.message not in inside:
            yield from _trails((*above, field), (*inside, field.message))


def dotted(trail: Trail) -> str:
    """A trail as a path."""
    return ".".join(field.name for field in trail)


def place(trail: Trail, value: Any) -> Any:
    """A message that has nothing but `value` in the object that holds the trail's last field."""
    for field in reversed(trail[:-1]):
        value = {field.name: [value] if field.repeated else value}
    return value


def sample(field: Field, variant: int) -> Any:
    """One of two canonical values of a field, different wherever its type has two."""
    single = _single(field, variant)
    if field.repeated:
        return [single]
    return {"entry": single} if field.mapped else single


def _single(field: Field, variant: int) -> Any:
    if field.kind is Kind.MESSAGE:
        below = next((f for f in MESSAGES[field.message].values() if f.message != field.message), None)
        return {} if below is None else {below.name: sample(below, variant)}
    if field.kind is Kind.ENUM:
        names = list(ENUMS[field.enum].values())
        return names[-1 - variant % len(names)]
    return _SCALARS[field.kind][variant]


_SCALARS: dict[Kind, tuple[Any, Any]] = {
    Kind.STRING: ("spoken", "other: words"),
    Kind.BOOL: (True, False),
    Kind.INT32: (1, -2),
    Kind.INT64: (25600, 12800),
    Kind.FLOAT: (0.25, 1.5),
    Kind.BYTES: ("AAA=", "/+8="),
    Kind.STRUCT: ({"a": 1}, {"b": [None, {"c:": "d"}]}),
    Kind.VALUE: ("free", {"type": ["object"]}),
    Kind.DURATION: ("1.5s", "20s"),
    Kind.TIMESTAMP: ("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"),
}


def has_two_spellings(field: Field) -> bool:
    """Whether camelCase and snake_case differ."""
    return schema.snake(field.name) != field.name
