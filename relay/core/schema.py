"""What a client may say: every field of every client message of the Live API, its type and its spellings.

The tables themselves are in `schema_tables`; this module turns them into dictionaries once, at import, and
answers questions about them. It knows names and types only: whether a field is *allowed* is for policy to
say, and whether a value is well formed for wire.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from relay.core import schema_tables


class Kind(Enum):
    """The type of one value, as proto3 JSON has it."""

    STRING = "string"
    BOOL = "bool"
    INT32 = "int32"
    INT64 = "int64"
    FLOAT = "float"
    """float and double alike: JSON has one number."""
    BYTES = "bytes"
    ENUM = "enum"
    MESSAGE = "message"
    STRUCT = "Struct"
    """A free-form JSON object; its keys are the caller's own and have one spelling."""
    VALUE = "Value"
    """Any JSON value."""
    DURATION = "Duration"
    TIMESTAMP = "Timestamp"

    __hash__ = (
        object.__hash__
    )  # each is there once; Enum's own hash is written in Python, and asked for with every value


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    """The canonical JSON name, in camelCase."""
    kind: Kind
    message: str = ""
    """The name in `MESSAGES`, when kind is MESSAGE."""
    enum: str = ""
    """The name in `ENUMS`, when kind is ENUM."""
    repeated: bool = False
    mapped: bool = False
    """A JSON object from any string to this kind."""


_TYPE = re.compile(r"(?P<base>\w+)(?P<repeated>\[\])?(?P<mapped>\{\})?")
_SCALARS = {kind.value: kind for kind in Kind if kind not in (Kind.ENUM, Kind.MESSAGE)}


def snake(name: str) -> str:
    """Spell a camelCase JSON name the way the proto file does."""
    return re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def _lines(table: str) -> Iterator[tuple[bool, list[str]]]:
    """The words of each line that has any, and whether the line is indented."""
    for line in table.splitlines():
        words = line.partition("#")[0].split()
        if words:
            yield line.startswith(" "), words


def _read_enums(table: str) -> dict[str, Mapping[int, str]]:
    """Values count from 0; `NAME=30` goes on from 30."""
    enums: dict[str, dict[int, str]] = {}
    for indented, words in _lines(table):
        if not indented:
            values = enums[words.pop(0)] = {}
        for word in words:
            value, _, number = word.partition("=")
            values[int(number) if number else max(values, default=-1) + 1] = value
    return {name: MappingProxyType(values) for name, values in enums.items()}


def _read_messages(table: str, enums: Mapping[str, Mapping[int, str]]) -> dict[str, Mapping[str, Field]]:
    """Every line below a message's name is a type and the fields that have it."""
    messages: dict[str, dict[str, Field]] = {}
    for indented, (first, *names) in _lines(table):
        if not indented:
            assert first not in messages, f"{first} stands twice"
            fields = messages[first] = {}
            continue
        for name in names:
            assert name not in fields, f"{name} stands twice"
            fields[name] = _field(name, first, enums)
    for fields in messages.values():
        for field in fields.values():
            assert field.kind is not Kind.MESSAGE or field.message in messages, f"no message {field.message}"
    return {name: MappingProxyType(fields) for name, fields in messages.items()}


def _field(name: str, type_name: str, enums: Mapping[str, Mapping[int, str]]) -> Field:
    match = _TYPE.fullmatch(type_name)
    assert match, f"{name}: not a type: {type_name}"
    base, repeated, mapped = match["base"], bool(match["repeated"]), bool(match["mapped"])
    if base in enums:
        return Field(name, Kind.ENUM, enum=base, repeated=repeated, mapped=mapped)
    if base in _SCALARS:
        return Field(name, _SCALARS[base], repeated=repeated, mapped=mapped)
    return Field(name, Kind.MESSAGE, message=base, repeated=repeated, mapped=mapped)


ENUMS: Mapping[str, Mapping[int, str]] = MappingProxyType(_read_enums(schema_tables.ENUMS))
"""Enum name -> number -> value name."""

MESSAGES: Mapping[str, Mapping[str, Field]] = MappingProxyType(_read_messages(schema_tables.MESSAGES, ENUMS))
"""Message name -> canonical field name -> field. The envelope is `ClientMessage`."""

SPELLINGS: Mapping[str, Mapping[str, Field]] = MappingProxyType(
    {
        message: MappingProxyType(
            {spelling: field for name, field in fields.items() for spelling in (name, snake(name))}
        )
        for message, fields in MESSAGES.items()
    }
)
"""Message name -> every accepted spelling, camelCase or snake_case -> field."""


def setup_paths() -> Iterator[tuple[str, Field]]:
    """Every dotted path below setup and its field; neither maps nor a message inside itself are entered."""
    yield from _paths("", ("Setup",))


def _paths(prefix: str, inside: tuple[str, ...]) -> Iterator[tuple[str, Field]]:
    for field in MESSAGES[inside[-1]].values():
        path = prefix + field.name
        yield path, field
        if field.message and not field.mapped and field.message not in inside:
            yield from _paths(path + ".", (*inside, field.message))


def find(path: str) -> Field | None:
    """The field at a dotted path below setup, each step in either spelling, or None if there is none.

    A path passes through a list without an index, and ends at a map: keys of a map are not fields.
    """
    field = Field("setup", Kind.MESSAGE, message="Setup")
    for step in path.split("."):
        below = None if field.mapped else SPELLINGS.get(field.message, {}).get(step)
        if below is None:
            return None
        field = below
    return field


def canonical_path(path: str) -> str | None:
    """A dotted path below setup, each step in its canonical spelling; None when there is no such field."""
    if find(path) is None:
        return None
    steps, message = [], "Setup"
    for step in path.split("."):
        field = SPELLINGS[message][step]
        steps.append(field.name)
        message = field.message
    return ".".join(steps)


def is_list(path: str) -> bool:
    """Whether the field at a path below setup is a list or a map, so that a path below it names no one thing."""
    field = find(path)
    return field is not None and (field.repeated or field.mapped)
