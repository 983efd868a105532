"""Client messages: what is read, how it is rewritten, and what is refused, one example of each."""

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from relay.core.client_frames import (
    KINDS,
    MAX_DEPTH,
    MAX_NODES,
    ClientFrame,
    client_frame,
)
from relay.core.refusals import Refusal, Rule
from tests.core.frames import Members, accepted, escaped, generation, refused

EXAMPLES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "wire_examples.jsonl").read_text("utf-8").splitlines()
]
CLIENT_EXAMPLES = [example for example in EXAMPLES if example["direction"] == "c2s"]


# Recorded messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "example",
    [example for example in CLIENT_EXAMPLES if not example["type"].startswith(("hostile", "music"))],
    ids=lambda example: example["type"],
)
def test_recorded_messages_are_accepted(example: dict[str, Any]) -> None:
    """What real clients send passes, and reading our own rewriting of it changes nothing any more."""
    frame = accepted(example["message"])
    assert client_frame(frame.encode()) == frame


@pytest.mark.threat("C1", "C3")
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("hostile.duplicate_casing", Rule.TWO_SPELLINGS),
        ("hostile.two_oneof_keys", Rule.NOT_ONE_MESSAGE),
        ("music.clientContent", Rule.UNKNOWN_FIELD),
        ("music.playbackControl", Rule.UNKNOWN_FIELD),
    ],
)
def test_recorded_hostile_messages_are_refused(kind: str, rule: Rule) -> None:
    """The attacks of the collection, and the other protocol's messages, are refused."""
    (example,) = [example for example in CLIENT_EXAMPLES if example["type"] == kind]
    assert refused(example["message"]).rule is rule


def test_spellings_of_the_python_sdk_become_canonical() -> None:
    """snake_case and camelCase may be mixed at every level; Gemini gets camelCase only."""
    frame = accepted(
        {
            "setup": {
                "model": "models/m",
                "generation_config": {
                    "speechConfig": {"voice_config": {"prebuilt_voice_config": {"voiceName": "Kore"}}}
                },
                "contextWindowCompression": {"trigger_tokens": 25600},
            }
        }
    )
    assert orjson.loads(frame.encode()) == {
        "setup": {
            "model": "models/m",
            "generationConfig": {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}},
            "contextWindowCompression": {"triggerTokens": 25600},
        }
    }


# The envelope --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_message_is_read(kind: str) -> None:
    """Each of the five messages is accepted on its own, also when it is empty."""
    assert accepted({kind: {}}) == ClientFrame(kind, {})


@pytest.mark.threat("C3", "C6")
@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"setup": None},
        {"setup": None, "realtimeInput": None},
        {"setup": {}, "realtimeInput": {}},
        {"realtimeInput": {"text": "x"}, "setup": {"model": "models/m"}},
        [],
        [{"setup": {}}],
        "setup",
        1,
        True,
        None,
    ],
    ids=str,
)
def test_a_frame_holds_exactly_one_message(tree: Any) -> None:
    """None, two, a list of them or no object at all: refused, and the sender is told what may be sent."""
    refusal = refused(tree)
    assert refusal.rule is Rule.NOT_ONE_MESSAGE
    assert refusal.detail == (
        "send one JSON object with exactly one of setup, clientContent, realtimeInput, toolResponse, contextUpdate"
    )


def test_a_null_message_beside_another_counts_as_absent() -> None:
    """As in Google's reader, null is the same as not there."""
    assert accepted({"setup": None, "realtimeInput": {"text": "x"}}) == ClientFrame("realtimeInput", {"text": "x"})


@pytest.mark.parametrize("value", [[], "x", 1, True, [{}]], ids=str)
def test_a_message_must_be_an_object(value: Any) -> None:
    """A message that is no object is refused by its name."""
    assert refused({"setup": value}) == Refusal(Rule.WRONG_TYPE, "setup", "must be an object")


@pytest.mark.threat("C6", "C7", "C9")
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"\x00\x01\x02\xff",
        b"{",
        b'{"setup":{}',
        b"{'setup':{}}",
        b'{"setup":{},}',
        b'{"setup":{}} x',
        b'{"setup":{}}{"setup":{}}',
        b'{"setup":{}} // why',
        b'\xef\xbb\xbf{"setup":{}}',
        '{"setup":{}}'.encode("utf-16"),
        b'{"realtimeInput":{"text":"\xff"}}',
        b'{"realtimeInput":{"text":"\xc0\xaf"}}',
        b'{"realtimeInput":{"text":"\xed\xa0\x80"}}',
        b'{"realtimeInput":{"text":"\\ud800"}}',
        b'{"realtimeInput":{"text":"\\udc00\\ud800"}}',
        b'{"realtimeInput":{"text":"a\nb"}}',
        b'{"setup":{"generationConfig":{"temperature":NaN}}}',
        b'{"setup":{"generationConfig":{"temperature":-Infinity}}}',
        b'{"setup":{"generationConfig":{"temperature":1e999}}}',
        b'{"setup":{"generationConfig":{"seed":' + b"9" * 5000 + b"}}}",
        b'{"setup":{"generationConfig":{"seed":01}}}',
        b"[" * 20_000,
        b'{"setup":' * 20_000,
    ],
    ids=lambda payload: repr(payload[:60]),
)
def test_what_is_not_json_is_refused(payload: bytes) -> None:
    """Anything a strict JSON parser would not take is refused; the position is told, the text is not quoted."""
    refusal = client_frame(payload)
    assert isinstance(refusal, Refusal)
    assert refusal.rule is Rule.NOT_JSON
    assert refusal.detail.startswith("not valid JSON (line ")


# Duplicate keys ------------------------------------------------------------------------------------------------------


@pytest.mark.threat("C2")
@pytest.mark.parametrize(
    "tree",
    [
        Members([('"setup"', {"model": "a"}), ('"setup"', {"model": "b"})]),
        {"setup": Members([('"model"', "a"), ('"model"', "b")])},
        {"setup": Members([('"model"', "a"), (escaped("model"), "b")])},
        {"setup": Members([('"model"', None), ('"model"', "b")])},
        {"setup": Members([('"labels"', {}), ('"labels"', {})])},
        {"setup": {"labels": Members([('"a:b"', "x"), ('"a:b"', "x")])}},
        {"setup": {"tools": [{}, {"functionDeclarations": [Members([('"name"', "a:b"), ('"name"', "")])]}]}},
        {"toolResponse": {"functionResponses": [{"response": {"a": [Members([('"é"', 1), ('"\\u00e9"', 2)])]}}]}},
    ],
    ids=["message", "field", "escaped", "null", "object", "map", "list", "struct"],
)
def test_a_key_given_twice_is_refused(tree: Any) -> None:
    """A repeated key is found at any depth, in whatever way it is escaped, whichever value would have won."""
    refusal = refused(tree)
    assert refusal.rule is Rule.DUPLICATE_KEY
    assert refusal.words == "is given twice in one object"


@pytest.mark.threat("C2")
def test_the_repeated_key_is_the_one_that_is_named() -> None:
    """The client learns which of its keys it is."""
    labels = Members([('"a"', "1"), ('"b"', "2"), ('"c"', "3"), ('"b"', "2")])
    assert refused({"setup": {"labels": labels}}) == Refusal(Rule.DUPLICATE_KEY, "b", "is given twice in one object")


def test_escapes_and_colons_alone_are_no_duplicates() -> None:
    """Colons inside strings, and escaped keys, do not confuse the count of members."""
    frame = accepted({"setup": Members([(escaped("model"), "models/a:b"), ('"labels"', {"x:y": '":"', "z": "\\:"})])})
    assert frame.body == {"model": "models/a:b", "labels": {"x:y": '":"', "z": "\\:"}}


def test_messages_without_escapes_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colons in strings, keys, maps, free-form values and new fields are all accounted for: no second, slow parse."""
    monkeypatch.setattr("relay.core.client_frames.json", None)
    body = {"model": "a:b", "labels": {"x:y": "z:"}, "new:er": {"a:b": ["c:d", {":": ":"}]}, "explicitVadSignal": None}
    tools = [{"functionDeclarations": [{"name": ":", "parametersJsonSchema": {"k:": ["v:"]}}]}]
    assert accepted({"setup": {**body, "tools": tools}}, pass_unknown=True)
    assert accepted({"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": "AAAA"}}})


@pytest.mark.threat("C2", "C8")
@pytest.mark.parametrize("depth", [900, 1000, 1020])
def test_a_deep_member_behind_its_duplicate_is_refused(depth: int) -> None:
    """A member that the parser dropped for its successor may be as deep as it likes: refused, never a crash."""
    payload = b'{"realtimeInput":{"text":' + b"[" * depth + b"]" * depth + b',"text":"x"}}'
    refusal = client_frame(payload)
    assert isinstance(refusal, Refusal)
    assert refusal.rule in {Rule.DUPLICATE_KEY, Rule.TOO_DEEP}


# Unknown fields ------------------------------------------------------------------------------------------------------


@pytest.mark.threat("C4", "C9", "C10")
@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"foo": {}}, "foo"),
        ({"setup": {}, "foo": 1}, "foo"),
        ({"Setup": {}}, "Setup"),
        ({"SETUP": {}}, "SETUP"),
        ({"setup": {"foo": 1}}, "setup.foo"),
        ({"setup": {"Model": "m"}}, "setup.Model"),
        ({"setup": {"system_Instruction": {}}}, "setup.system_Instruction"),
        ({"setup": {"tools": [{"functionDeclarations": [{"x": 1}]}]}}, "setup.tools.functionDeclarations.x"),
        ({"setup": {"__proto__": {}}}, "setup.__proto__"),
        ({"setup": {"\u0000\x1b[31m\n\u202e": 1}}, "setup.??[31m??"),
        ({"setup": {"k" * 40: 1}}, "setup." + "k" * 40),
        ({"setup": {"k" * 41: 1}}, "setup." + "k" * 40 + "…"),
        ({"setup": {"k" * 1_000_000: 1}}, "setup." + "k" * 40 + "…"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_unknown_field_is_refused_by_its_path(tree: Any, path: str) -> None:
    """Gemini would close the session over it, so the client learns which field it is; it is quoted printably."""
    assert refused(tree) == Refusal(Rule.UNKNOWN_FIELD, path, "is not a field of the Live API")


def test_unknown_fields_pass_where_the_operator_says_so() -> None:
    """Fields newer than the schema go through as they are, at any depth below the message."""
    body = {"new": {"a:b": [1, None]}, "generationConfig": {"newer_one": "x:y"}, "gone": None}
    assert accepted({"setup": body}, pass_unknown=True).body == body


def test_an_unknown_field_that_is_null_stays_null() -> None:
    """What null means to a field that we do not know, we do not know either."""
    assert accepted({"setup": {"model": None, "new": None}}, pass_unknown=True).body == {"new": None}


@pytest.mark.threat("C2", "C4")
@pytest.mark.parametrize(
    ("tree", "rule"),
    [
        ({"foo": {}}, Rule.UNKNOWN_FIELD),
        ({"setup": {}, "foo": 1}, Rule.UNKNOWN_FIELD),
        ({"setup": Members([('"new"', 1), ('"new"', 1)])}, Rule.DUPLICATE_KEY),
        ({"setup": Members([('"a:b"', 1), ('"\\u0061:b"', 1)])}, Rule.DUPLICATE_KEY),
        ({"setup": {"new": {"a": Members([('"b"', 1), ('"b"', 1)])}}}, Rule.DUPLICATE_KEY),
    ],
    ids=["alone", "beside", "duplicate", "escaped", "below"],
)
def test_passing_unknown_fields_opens_no_other_door(tree: Any, rule: Rule) -> None:
    """An unknown message, and a repeated unknown key, are refused under every policy."""
    assert refused(tree, pass_unknown=True).rule is rule


# Bounds --------------------------------------------------------------------------------------------------------------


def nested(levels: int, innermost: Any, wrap: Callable[[Any], Any]) -> Any:
    """A value wrapped this many times."""
    for _ in range(levels):
        innermost = wrap(innermost)
    return innermost


@pytest.mark.threat("C8")
@pytest.mark.parametrize(
    ("place", "wrap", "levels"),
    [
        # setup, its field and the value itself count; a list or map of messages adds two levels at a time
        (lambda value: generation({"responseJsonSchema": value}), lambda value: [value], MAX_DEPTH - 3),
        (lambda value: generation({"responseJsonSchema": value}), lambda value: {"a": value}, MAX_DEPTH - 3),
        (lambda value: generation({"responseSchema": value}), lambda value: {"items": value}, MAX_DEPTH - 3),
        (lambda value: generation({"responseSchema": value}), lambda value: {"anyOf": [value]}, (MAX_DEPTH - 3) // 2),
        (
            lambda value: generation({"responseSchema": value}),
            lambda value: {"properties": {"a": value}},
            (MAX_DEPTH - 3) // 2,
        ),
        (lambda value: {"setup": {"new": value}}, lambda value: [value], MAX_DEPTH - 2),
    ],
    ids=["lists", "objects", "messages", "lists of messages", "maps of messages", "unknown"],
)
def test_depth_is_bounded(place: Callable[[Any], Any], wrap: Callable[[Any], Any], levels: int) -> None:
    """Whatever nests may do so to a fixed depth, and not one level deeper."""
    assert accepted(place(nested(levels, {}, wrap)), pass_unknown=True)
    refusal = refused(place(nested(levels + 1, {}, wrap)), pass_unknown=True)
    assert refusal.rule is Rule.TOO_DEEP
    assert refusal.detail.endswith("nests deeper than 32 levels")


@pytest.mark.threat("C8")
@pytest.mark.parametrize(
    "body",
    [
        {"labels": {str(index): "x" for index in range(MAX_NODES)}},
        {"safetySettings": [{}] * MAX_NODES},
        {"generationConfig": {"stopSequences": ["x"] * MAX_NODES}},
        {"generationConfig": {"responseJsonSchema": [1] * MAX_NODES}},
        {"generationConfig": {"responseJsonSchema": {str(index): 1 for index in range(MAX_NODES)}}},
        {"generationConfig": {"responseJsonSchema": [[0] * 100] * 100}},
    ],
    ids=["map", "messages", "strings", "list", "object", "lists"],
)
def test_the_number_of_values_is_bounded(body: Any) -> None:
    """However they are arranged, more values than the bound are refused."""
    assert refused({"setup": body}) == Refusal(Rule.TOO_LARGE, "", "a message may hold at most 10000 values")


WIDEST = 256 * 1024
"""The largest message a client may send by default."""


def filled(head: bytes, unit: bytes, tail: bytes) -> bytes:
    """As much of a unit as fits into the largest message."""
    return head + unit * ((WIDEST - len(head) - len(tail)) // len(unit)) + tail


SCHEMA = b'{"setup":{"generationConfig":{"responseJsonSchema":'


@pytest.mark.threat("C8", "C10")
@pytest.mark.parametrize(
    "payload",
    [
        filled(SCHEMA + b"[", b"{},", b"{}]}}}"),
        filled(SCHEMA + b"[", b"1,", b"1]}}}"),
        filled(SCHEMA + b"[", b'"",', b'""]}}}'),
        filled(b'{"setup":{"labels":{', b'"a":"b",', b'"a":"b"}}}'),
        b'{"setup":{"labels":{' + b",".join(b'"%d":""' % number for number in range(20_000)) + b"}}}",
        b'{"setup":{"labels":{' + b",".join(b'"\\u0061%d":""' % number for number in range(9_990)) + b"}}}",
        filled(SCHEMA, b"[", b""),
        filled(b"", b'{"setup":', b""),
        SCHEMA + b"[" * 1000 + b"]" * 1000 + b"}}}",
        SCHEMA + b'{"a":' * 30 + b"[" + b"{}," * 9_900 + b"1]" + b"}" * 30 + b"}}",
        filled(b'{"realtimeInput":{"text":"', b'\\",', b'"}}'),
        filled(b'{"realtimeInput":{"text":"', b"\\u0022", b'"}}'),
        filled(b'{"realtimeInput":{"audio":{"data":"', b"A ", b'"}}}'),
        filled(b'{"setup":{"', b"k", b'":1}}'),
        b'{"clientContent":{"turns":[' + b",".join([b'{"role":"model","parts":[{}]}'] * 2_400) + b"]}}",
    ],
    ids=lambda payload: repr(payload[50:70]),
)
def test_no_message_costs_more_than_a_moment(payload: bytes) -> None:
    """However it is made, the largest message is read or refused in less than 20 ms of CPU, and without a crash."""
    assert len(payload) <= WIDEST

    def cost_s() -> float:
        begin = time.thread_time()
        client_frame(payload)
        return time.thread_time() - begin

    assert min(cost_s() for _ in range(5)) < 0.02


@pytest.mark.threat("C8")
@pytest.mark.parametrize("unit", [b"[", b'{"setup":', b'{"a":[', b"[{},"])
@pytest.mark.parametrize("depth", [65, 900, 1023, 5_000, 100_000])
def test_no_depth_is_too_much_for_the_reader(unit: bytes, depth: int) -> None:
    """Refused as too deep, too large or no JSON: whatever the parser's own limit is, nothing is raised."""
    for payload in (unit * depth, SCHEMA + unit * depth, SCHEMA + b"[" * depth + b"]" * depth + b"}}}"):
        refusal = client_frame(payload)
        assert isinstance(refusal, Refusal)
        assert refusal.rule in {Rule.NOT_JSON, Rule.TOO_DEEP, Rule.TOO_LARGE}


def test_as_many_values_as_the_bound_allows_pass() -> None:
    """The bound itself is allowed: three objects' members and the rest in one list."""
    assert accepted(generation({"responseJsonSchema": [1] * (MAX_NODES - 3)}))


# mediaChunks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mime_type", "name"),
    [("audio/pcm;rate=16000", "audio"), ("AUDIO/PCM", "audio"), ("image/jpeg", "video"), ("", "video")],
)
def test_a_media_chunk_becomes_the_field_of_its_type(mime_type: str, name: str) -> None:
    """The deprecated field closes sessions of current models, so it is rewritten to what they take."""
    blob = {"mimeType": mime_type, "data": "AAAA"}
    assert accepted({"realtimeInput": {"media_chunks": [blob]}}).body == {name: blob}


def test_an_empty_list_of_media_chunks_is_nothing() -> None:
    """No chunk is no message, and harms nothing beside another field."""
    assert accepted({"realtimeInput": {"mediaChunks": [], "text": "x"}}).body == {"text": "x"}


@pytest.mark.parametrize(
    "body",
    [
        {"mediaChunks": [{"mimeType": "audio/pcm"}] * 2},
        {"mediaChunks": [{"mimeType": "audio/pcm"}], "audio": {}},
        {"video": {}, "mediaChunks": [{}]},
    ],
    ids=["two", "audio", "video"],
)
def test_media_chunks_that_can_not_be_rewritten_are_refused(body: Any) -> None:
    """Nothing is dropped without a word: Gemini would read only the first chunk, and a field holds one."""
    assert refused({"realtimeInput": body}).path == "realtimeInput.mediaChunks"


@pytest.mark.threat("D3")
@pytest.mark.parametrize("size", [1, 500, 1700, 5000])
def test_a_message_takes_no_more_memory_than_it_fills(size: int) -> None:
    """Messages are kept for replay, by the thousand: what orjson returns holds up to sixteen times what it fills."""
    frame = accepted({"realtimeInput": {"text": "x" * size}})
    frame.encode()
    tracemalloc.start()
    try:
        kept = [frame.encode() for _ in range(100)]
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken_bytes < 100 * (len(kept[0]) + 128)
