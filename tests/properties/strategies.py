"""Generated client messages: any message of the schema, written in any of the ways that Google's reader takes."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from relay.core.schema import ENUMS, MESSAGES, Field, Kind, snake
from tests.core.frames import Members, escaped

TEXTS = st.text(st.sampled_from('ab:"\\é€😀{}\n\t/ \u202e'), max_size=8)
FREE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)

MAX_DEPTH = 6
"""Messages within messages, before only plain fields are drawn."""


@dataclass(frozen=True)
class Vocabulary:
    """What may be drawn: everything the schema has, or what another reader knows of it as well."""

    messages: Mapping[str, Mapping[str, Field]]
    enums: Mapping[str, Mapping[int, str]]
    oneofs: Mapping[tuple[str, str], str]
    """(message, field) -> the group of which a message may hold only one."""


EVERYTHING = Vocabulary(MESSAGES, ENUMS, {})


@st.composite
def bodies(draw: st.DrawFn, message: str, words: Vocabulary = EVERYTHING, depth: int = 0) -> dict[str, Any]:
    """The body of a message in canonical form."""
    fields = [field for field in words.messages[message].values() if depth < MAX_DEPTH or not field.message]
    if not fields:
        return {}
    taken: dict[str, Field] = {}
    for field in draw(st.lists(st.sampled_from(fields), max_size=4, unique=True)):
        taken.setdefault(words.oneofs.get((message, field.name), field.name), field)
    return {field.name: draw(_values(field, words, depth)) for field in taken.values()}


def _values(field: Field, words: Vocabulary, depth: int) -> st.SearchStrategy[Any]:
    single = _singles(field, words, depth)
    if field.repeated:
        return st.lists(single, max_size=2)
    return st.dictionaries(TEXTS, single, max_size=2) if field.mapped else single


def _singles(field: Field, words: Vocabulary, depth: int) -> st.SearchStrategy[Any]:
    if field.kind is Kind.MESSAGE:
        return bodies(field.message, words, depth + 1)
    if field.kind is Kind.ENUM:
        return st.sampled_from(list(words.enums[field.enum].values()))
    return _SCALARS[field.kind]


_SCALARS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.STRING: TEXTS,
    Kind.BOOL: st.booleans(),
    Kind.INT32: st.integers(-(2**31), 2**31 - 1) | st.integers(0, 1),
    Kind.INT64: st.integers(-(2**63), 2**63 - 1) | st.integers(0, 1),
    Kind.FLOAT: st.floats(-1e6, 1e6, width=32) | st.integers(-2, 2),
    Kind.BYTES: st.binary(max_size=12).map(lambda raw: base64.b64encode(raw).decode()),
    Kind.STRUCT: st.dictionaries(TEXTS, FREE, max_size=3),
    Kind.VALUE: FREE.filter(lambda value: value is not None),
    Kind.DURATION: st.sampled_from(["0s", "1.5s", "20s", "0.000000001s"]),
    Kind.TIMESTAMP: st.sampled_from(["2026-11-22T00:00:00Z", "1970-01-01T00:00:00.500Z"]),
}


@st.composite
def frames(draw: st.DrawFn, words: Vocabulary = EVERYTHING) -> dict[str, Any]:
    """A whole client message in canonical form."""
    kind = draw(st.sampled_from(list(words.messages["ClientMessage"].values())))
    return {kind.name: draw(bodies(kind.message, words))}


# Writing -------------------------------------------------------------------------------------------------------------


@st.composite
def written(draw: st.DrawFn, message: str, body: Mapping[str, Any], *, lenient: bool) -> Members:
    """The same message in some other writing; `lenient` includes what only Google's own front end takes."""
    members = Members()
    for name, value in body.items():
        field = MESSAGES[message][name]
        members.append((draw(keys(draw(st.sampled_from([name, snake(name)])))), draw(_written(field, value, lenient))))
    return Members(draw(st.permutations(members)))


def keys(name: str) -> st.SearchStrategy[str]:
    """A key as a JSON string literal: as it is, escaped in part, or all of it."""
    return st.sampled_from([json.dumps(name, ensure_ascii=False), json.dumps(name), escaped(name)])


def _written(field: Field, value: Any, lenient: bool) -> st.SearchStrategy[Any]:
    if field.repeated:
        return st.tuples(*(_single(field, element, lenient) for element in value)).map(list)
    if field.mapped:
        entries = [st.tuples(keys(key), _single(field, entry, lenient)) for key, entry in value.items()]
        return st.tuples(*entries).map(Members)
    return _single(field, value, lenient)


def _single(field: Field, value: Any, lenient: bool) -> st.SearchStrategy[Any]:
    if field.kind is Kind.MESSAGE:
        return written(field.message, value, lenient=lenient)
    forms = [value]
    if field.kind is Kind.ENUM:
        forms.append(next(number for number, name in ENUMS[field.enum].items() if name == value))
        if lenient:
            forms.append(value.lower())
    elif field.kind in (Kind.INT32, Kind.INT64):
        forms.append(str(value))
        if abs(value) < 2**53:
            forms += [float(value), f"{value}.0"] if lenient else [float(value)]
    elif field.kind is Kind.FLOAT:
        forms.append(str(value))
    elif field.kind is Kind.BYTES:
        forms += [value.rstrip("="), value.replace("+", "-").replace("/", "_")]
        if lenient:
            forms.append(" ".join(value))
    return st.sampled_from(forms)


# Spoiling ------------------------------------------------------------------------------------------------------------


@st.composite
def spoiled(draw: st.DrawFn, tree: Members) -> Members:
    """The same writing with one to three members respelt, emptied, retyped, repeated or unknown somewhere in it."""
    for _ in range(draw(st.integers(1, 3))):
        members = draw(st.sampled_from(_objects(tree)))
        if not members:
            members.append(draw(st.sampled_from([('"unknown"', None), ('"unknown"', 1)])))
            continue
        place = draw(st.integers(0, len(members) - 1))
        literal, value = members[place]
        name = json.loads(literal)
        spelling = draw(keys(draw(st.sampled_from([name, snake(name), _camel(name)]))))
        match draw(st.sampled_from(["respell", "misspell", "empty", "retype", "repeat"])):
            case "respell":
                members[place] = (spelling, value)
            case "misspell":
                members[place] = (draw(keys(draw(st.sampled_from([name.upper(), name + "x", ""])))), value)
            case "empty":
                members[place] = (spelling, None)
            case "retype":
                members[place] = (spelling, draw(st.sampled_from(["", 0, "0", [], {}, [value], True])))
            case "repeat":
                members.insert(draw(st.integers(0, len(members))), (spelling, draw(st.sampled_from([value, None]))))
    return tree


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _objects(tree: Any) -> list[Members]:
    if isinstance(tree, Members):
        return [tree, *(found for _, value in tree for found in _objects(value))]
    return [found for value in tree for found in _objects(value)] if isinstance(tree, list) else []
