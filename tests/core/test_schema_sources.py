"""The schema table held against what it was written from: Google's SDK and Google's published protos."""

import ast
import inspect
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import pytest
from google.ai import generativelanguage_v1alpha, generativelanguage_v1beta
from google.genai import _live_converters, types
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from pydantic import BaseModel

from relay.core import schema
from relay.core.schema import ENUMS, MESSAGES, Field, Kind

# ---- google-genai -----------------------------------------------------------------------------------------

RETYPED: dict[tuple[str, str], type[BaseModel]] = {
    ("LiveClientSetup", "systemInstruction"): types.Content,
    ("LiveClientContextUpdate", "systemInstruction"): types.Content,
    ("LiveConnectConfig", "systemInstruction"): types.Content,
    ("LiveClientSetup", "tools"): types.Tool,
    ("LiveClientContextUpdateTools", "tools"): types.Tool,
    ("LiveConnectConfig", "tools"): types.Tool,
}
"""Where the SDK takes conveniences (a string, a file, a callable) and sends this message."""

NOT_SENT = {"httpOptions"}
"""Fields of LiveConnectConfig that configure the SDK's own connection and never reach the wire."""

FLATTENED = set(types.LiveConnectConfig.model_fields) & set(types.GenerationConfig.model_fields)
"""Fields that LiveConnectConfig offers beside generation_config and the SDK moves into it."""

KINDS_OF_PYTHON: dict[object, set[Kind]] = {
    str: {Kind.STRING, Kind.DURATION},  # the SDK has no type of its own for durations
    bool: {Kind.BOOL},
    int: {Kind.INT32, Kind.INT64},
    float: {Kind.FLOAT, Kind.INT32},  # topK: a float in the SDK and on Vertex AI, an int32 in the proto
    bytes: {Kind.BYTES},
    datetime: {Kind.TIMESTAMP},
    Any: {Kind.VALUE},
}


@dataclass(frozen=True)
class Declared:
    """What the SDK says of one field."""

    where: str
    leaf: Any
    repeated: bool
    mapped: bool


def declared(model: type[BaseModel], name: str) -> Declared:
    """Unwrap Optional, list and dict from a field's annotation."""
    info = model.model_fields[name]
    wire_name = info.alias or name
    where = f"{model.__name__}.{wire_name}"
    if leaf := RETYPED.get((model.__name__, wire_name)):
        return Declared(where, leaf, repeated=leaf is types.Tool, mapped=False)
    annotation: Any = info.annotation
    if type(None) in typing.get_args(annotation):
        (annotation,) = (arm for arm in typing.get_args(annotation) if arm is not type(None))
    repeated = typing.get_origin(annotation) is list
    if repeated:
        (annotation,) = typing.get_args(annotation)
    mapped = typing.get_origin(annotation) is dict and typing.get_args(annotation)[1] is not Any
    if mapped:
        annotation = typing.get_args(annotation)[1]
    return Declared(where, annotation, repeated, mapped)


def sdk_fields(model: type[BaseModel], message: str, seen: set[str]) -> Iterator[tuple[Declared, Field | None]]:
    """Walk an SDK class and our message side by side: every field it declares and what we know of it."""
    if model.__name__ in seen:
        return
    seen.add(model.__name__)
    for name, info in model.model_fields.items():
        wire_name = info.alias or name
        if model is types.LiveConnectConfig and wire_name in NOT_SENT:
            continue
        flattened = model is types.LiveConnectConfig and name in FLATTENED
        found = declared(model, name)
        field = MESSAGES["GenerationConfig" if flattened else message].get(wire_name)
        yield found, field
        if inspect.isclass(found.leaf) and issubclass(found.leaf, BaseModel) and field is not None:
            yield from sdk_fields(found.leaf, field.message, seen)


def all_sdk_fields() -> list[tuple[Declared, Field | None]]:
    """Everything that can be put into a Live connection with the SDK."""
    seen: set[str] = set()
    fields = list(sdk_fields(types.LiveClientMessage, "ClientMessage", seen))
    fields += sdk_fields(types.LiveConnectConfig, "Setup", seen)
    assert {"Tool", "Schema", "AuthConfig", "AutomaticActivityDetection", "AvatarConfig"} <= seen
    return fields


def complaint(found: Declared, field: Field | None) -> str | None:
    """How our entry differs from the SDK's declaration, or None."""
    if field is None:
        return "is not in the table"
    if (found.repeated, found.mapped) != (field.repeated, field.mapped):
        return f"repeated/mapped is {field.repeated}/{field.mapped}"
    leaf = found.leaf
    values: set[str] | None = None
    if typing.get_origin(leaf) is typing.Literal:
        values = set(typing.get_args(leaf))
    elif inspect.isclass(leaf) and issubclass(leaf, Enum):
        values = {member.value for member in leaf}
    if values is not None:
        missing = values - set(ENUMS.get(field.enum, {}).values())
        return f"{field.enum or field.kind} lacks {missing}" if missing else None
    if typing.get_origin(leaf) is dict:
        return None if field.kind is Kind.STRUCT else f"is {field.kind}"
    if inspect.isclass(leaf) and issubclass(leaf, BaseModel):
        return None if field.kind is Kind.MESSAGE else f"is {field.kind}"
    return None if field.kind in KINDS_OF_PYTHON[leaf] else f"is {field.kind}"


def test_every_field_of_the_sdk_is_known() -> None:
    """Whatever the official SDK can express in a Live session has an entry of the right kind."""
    fields = all_sdk_fields()
    complaints = [f"{found.where} {words}" for found, field in fields if (words := complaint(found, field))]
    assert not complaints
    assert len(fields) > 300


def converter_targets(suffixes: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """(SDK class, path written) of every assignment to the wire form in the SDK's Live converters."""
    for function in ast.parse(inspect.getsource(_live_converters)).body:
        if not isinstance(function, ast.FunctionDef) or not function.name.endswith(suffixes):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setv":
                yield function.name[1:].rpartition("_to_")[0], ast.literal_eval(node.args[1])


def test_every_name_the_converters_write_is_known() -> None:
    """The wire names of the SDK's converters, which rename some fields, are all in the table."""
    messages = {"LiveClientMessage": "ClientMessage", "LiveSendRealtimeInputParameters": "RealtimeInput"}
    for found, field in all_sdk_fields():
        if field is not None and field.message:
            messages[found.leaf.__name__] = field.message
    checked = 0
    for class_name, path in converter_targets(("_to_mldev", "_to_vertex")):
        if class_name.startswith("LiveMusic"):
            continue  # another protocol, which the relay does not carry
        if path[0] == "setup" and class_name in ("LiveConnectConfig", "LiveConnectParameters"):
            assert len(path) == 1 or schema.find(".".join(path[1:])), path
        elif class_name != "LiveConnectParameters":
            assert path[0] in MESSAGES[messages[class_name]], (class_name, path)
        checked += 1
    assert checked > 200


# ---- google-ai-generativelanguage -------------------------------------------------------------------------

KINDS_OF_PROTO = {
    FieldDescriptor.TYPE_STRING: Kind.STRING,
    FieldDescriptor.TYPE_BOOL: Kind.BOOL,
    FieldDescriptor.TYPE_INT32: Kind.INT32,
    FieldDescriptor.TYPE_INT64: Kind.INT64,
    FieldDescriptor.TYPE_FLOAT: Kind.FLOAT,
    FieldDescriptor.TYPE_DOUBLE: Kind.FLOAT,
    FieldDescriptor.TYPE_BYTES: Kind.BYTES,
    FieldDescriptor.TYPE_ENUM: Kind.ENUM,
    FieldDescriptor.TYPE_MESSAGE: Kind.MESSAGE,
}
WELL_KNOWN = {
    "google.protobuf.Struct": Kind.STRUCT,
    "google.protobuf.Value": Kind.VALUE,
    "google.protobuf.Duration": Kind.DURATION,
    "google.protobuf.Timestamp": Kind.TIMESTAMP,
}

PROTO_ROOTS = [
    pytest.param(generativelanguage_v1beta.BidiGenerateContentClientMessage, "ClientMessage", id="v1beta"),
    pytest.param(generativelanguage_v1alpha.BidiGenerateContentClientMessage, "ClientMessage", id="v1alpha"),
    pytest.param(generativelanguage_v1beta.SafetySetting, "SafetySetting", id="safety"),
]


def proto_fields(
    descriptor: Descriptor, message: str, seen: set[str]
) -> Iterator[tuple[FieldDescriptor, Field | None]]:
    """Walk a descriptor and our message side by side; map entries are passed through."""
    if descriptor.full_name in seen:
        return
    seen.add(descriptor.full_name)
    for theirs in descriptor.fields:
        ours = MESSAGES[message].get(theirs.json_name)
        yield theirs, ours
        below = value_of(theirs).message_type
        if below is not None and below.full_name not in WELL_KNOWN and ours is not None:
            yield from proto_fields(below, ours.message, seen)


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map<string, …>, which descriptors show as a list of entries."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def value_of(field: FieldDescriptor) -> FieldDescriptor:
    """The field that says what a map's values are; any other field itself."""
    return field.message_type.fields_by_name["value"] if is_map(field) else field


@pytest.mark.parametrize(("root", "message"), PROTO_ROOTS)
def test_every_field_of_the_public_proto_is_known(root: Any, message: str) -> None:
    """A field of Google's published descriptors is in the table with its kind, list, map and both its names."""
    pairs = list(proto_fields(root.pb().DESCRIPTOR, message, set()))
    for theirs, ours in pairs:
        value = value_of(theirs)
        kind = KINDS_OF_PROTO[value.type]
        if kind is Kind.MESSAGE:
            kind = WELL_KNOWN.get(value.message_type.full_name, kind)
        assert ours is not None, theirs.full_name
        assert (ours.kind, ours.mapped) == (kind, is_map(theirs)), theirs.full_name
        assert ours.repeated == (theirs.is_repeated and not is_map(theirs)), theirs.full_name
        # proto-plus appends "_" to names that Python reserves
        assert schema.snake(ours.name) == theirs.name.rstrip("_"), theirs.full_name
    assert pairs


@pytest.mark.parametrize(("root", "message"), PROTO_ROOTS)
def test_enum_numbers_are_those_of_the_public_proto(root: Any, message: str) -> None:
    """A client that sends a number means the value that Google gives this number."""
    enums = 0
    for theirs, ours in proto_fields(root.pb().DESCRIPTOR, message, set()):
        if theirs.enum_type is not None:
            assert ours is not None
            assert {value.number: value.name for value in theirs.enum_type.values}.items() <= ENUMS[
                ours.enum
            ].items(), theirs.full_name
            enums += 1
    assert enums
