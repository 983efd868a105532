"""Our reader beside Google's: protobuf's own JSON parser, over the published descriptors of the Live API.

What a policy decides on is our reading of a message; what counts is Gemini's reading of what we send. So whatever
the client wrote, protobuf must find in our bytes what we found in the client's, and, where it accepts those itself,
the same message.
"""

import base64
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from google.ai import generativelanguage_v1beta
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import event, given, settings
from hypothesis import strategies as st

from relay.core.client_frames import ClientFrame, client_frame
from relay.core.schema import ENUMS, MESSAGES, Field, Kind
from tests.core.frames import text
from tests.properties.strategies import Vocabulary, frames, spoiled, written

ORACLE: type[Message] = generativelanguage_v1beta.BidiGenerateContentClientMessage.pb()
WELL_KNOWN: dict[str, type[Message]] = {
    each.DESCRIPTOR.full_name: each for each in (Struct, Value, Duration, Timestamp)
}


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map, which descriptors show as a list of entries."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def below(field: FieldDescriptor) -> FieldDescriptor:
    """The field that describes a map's values; any other field itself."""
    return field.message_type.fields_by_name["value"] if is_map(field) else field


# What both readers know ----------------------------------------------------------------------------------------------


def shared(descriptor: Descriptor, message: str, seen: set[str]) -> Iterator[tuple[str, FieldDescriptor, Field]]:
    """Every field that the descriptors and our schema have in common: our message, theirs, ours."""
    if message in seen:
        return
    seen.add(message)
    for theirs in descriptor.fields:
        ours = MESSAGES[message].get(theirs.json_name)
        if ours is None or (message, ours.name) == ("RealtimeInput", "mediaChunks"):  # which we rewrite
            continue
        yield message, theirs, ours
        if ours.message:
            yield from shared(below(theirs).message_type, ours.message, seen)


def vocabulary() -> Vocabulary:
    """What may be drawn: fields and enum values that both know, of a oneof one field at a time."""
    messages: dict[str, dict[str, Field]] = {name: {} for name in MESSAGES}
    enums: dict[str, dict[int, str]] = {}
    oneofs: dict[tuple[str, str], str] = {}
    for message, theirs, ours in shared(ORACLE.DESCRIPTOR, "ClientMessage", set()):
        messages[message][ours.name] = ours
        group = theirs.containing_oneof
        if group is not None and not group.name.startswith("_"):
            oneofs[message, ours.name] = group.name
        if ours.enum:
            published = set(below(theirs).enum_type.values_by_name)
            enums[ours.enum] = {number: name for number, name in ENUMS[ours.enum].items() if name in published}
    return Vocabulary(messages, enums, oneofs)


WORDS = vocabulary()


def test_the_vocabulary_is_worth_comparing() -> None:
    """The published descriptors cover a good part of the schema, all kinds of value and several oneofs."""
    fields = [field for fields in WORDS.messages.values() for field in fields.values()]
    assert len(fields) > 150
    assert {field.kind for field in fields} >= set(Kind) - {Kind.TIMESTAMP, Kind.DURATION}
    assert {message for message, _ in WORDS.oneofs} >= {"ClientMessage", "Part", "VoiceConfig"}


# Two readings of one message -----------------------------------------------------------------------------------------


def oracle(payload: str | bytes) -> Message | None:
    """Google's reading of a text; None when it refuses it."""
    try:
        return json_format.Parse(payload, ORACLE())
    except json_format.ParseError:
        return None


def their_view(message: Message) -> dict[str, Any]:
    """A parsed message as plain data: the fields that are set."""
    view: dict[str, Any] = {}
    for field, value in message.ListFields():
        if is_map(field):
            view[field.json_name] = {key: _theirs(below(field), entry) for key, entry in value.items()}
        elif field.is_repeated:
            view[field.json_name] = [_theirs(field, element) for element in value]
        else:
            view[field.json_name] = _theirs(field, value)
    return view


def _theirs(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    if field.message_type is None:
        return value
    if field.message_type.full_name in WELL_KNOWN:
        return value.SerializeToString(deterministic=True)
    return their_view(value)


def our_view(body: dict[str, Any], descriptor: Descriptor) -> dict[str, Any]:
    """Our canonical body as the same plain data: what proto3 can't tell from absent is left out."""
    view: dict[str, Any] = {}
    fields = {field.json_name: field for field in descriptor.fields}
    for name, value in body.items():
        field = fields[name]
        if is_map(field):
            seen: Any = {key: _ours(below(field), entry) for key, entry in value.items()}
        elif field.is_repeated:
            seen = [_ours(field, element) for element in value]
        else:
            seen = _ours(field, value)
        default: Any = {} if is_map(field) else [] if field.is_repeated else None
        if not field.has_presence and default is None:
            default = field.enum_type.values_by_number[0].name if field.enum_type else field.default_value
        if field.has_presence or seen != default or str(seen) == "-0.0":
            view[name] = seen
    return view


def _ours(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64decode(value, validate=True)
    if field.type == FieldDescriptor.TYPE_FLOAT:  # protobuf keeps 32 bits of it
        return struct.unpack("f", struct.pack("f", value))[0]
    if field.message_type is None:
        return value
    known = WELL_KNOWN.get(field.message_type.full_name)
    if known is not None:
        return json_format.ParseDict(value, known()).SerializeToString(deterministic=True)
    return our_view(value, field.message_type)


def assert_read_as_we_read_it(frame: ClientFrame) -> Message:
    """Google's reading of our bytes, which must be our own."""
    message = oracle(frame.encode())
    assert message is not None, frame.encode()
    assert their_view(message) == our_view({frame.kind: frame.body}, ORACLE.DESCRIPTOR)
    return message


# The properties ------------------------------------------------------------------------------------------------------


@pytest.mark.threat("C13")
@settings(max_examples=3 * settings().max_examples)
@given(st.data(), st.booleans())
def test_google_reads_our_bytes_as_it_reads_the_client_s(data: st.DataObject, lenient: bool) -> None:
    """A message in any writing means the same to Google as our canonical form of it."""
    payload = text(data.draw(written("ClientMessage", data.draw(frames(WORDS)), lenient=lenient)))
    frame = client_frame(payload.encode())
    assert isinstance(frame, ClientFrame), (frame, payload)
    ours = assert_read_as_we_read_it(frame)
    theirs = oracle(payload)
    assert lenient or theirs is not None, payload
    assert theirs is None or theirs == ours, payload


@pytest.mark.threat("C13")
@settings(max_examples=3 * settings().max_examples)
@given(st.data())
def test_google_reads_our_bytes_as_we_do_whatever_the_client_sent(data: st.DataObject) -> None:
    """Repeated, respelt, emptied or misplaced members: what is accepted at all has one meaning."""
    tree = data.draw(spoiled(data.draw(written("ClientMessage", data.draw(frames(WORDS)), lenient=True))))
    frame = client_frame(text(tree).encode())
    event(type(frame).__name__)
    if isinstance(frame, ClientFrame):
        message = assert_read_as_we_read_it(frame)
        theirs = oracle(text(tree))
        assert theirs is None or theirs == message, text(tree)
