"""Gemini's messages: what the relay learns from them, and that nothing they hold can harm it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from relay.core.secret import Secret
from relay.core.server_frames import (
    KNOWN,
    Resumption,
    ServerFrame,
    decoded_bytes,
    server_frame,
    server_message,
    without,
)
from relay.core.usage import usage

EXAMPLES = [
    example
    for line in (Path(__file__).parents[1] / "data" / "wire_examples.jsonl").read_text("utf-8").splitlines()
    if (example := json.loads(line))["direction"] == "s2c"
]


def read(tree: Any) -> ServerFrame:
    """What is learned from a message that Gemini might have written this way."""
    frame = server_frame(json.dumps(tree, indent=2).encode() + b"\n")
    assert frame is not None
    return frame


def facts(frame: ServerFrame) -> dict[str, Any]:
    """What a frame says beyond its names."""
    plain = ServerFrame(frame.names)
    slots = [name for name in ServerFrame.__slots__ if name != "names"]
    return {name: getattr(frame, name) for name in slots if getattr(frame, name) != getattr(plain, name)}


# What each of the recorded messages says; a message of a type that is not listed says nothing of interest.
SAYS: dict[str, dict[str, Any]] = {
    "setupComplete": {"setup_complete": True},
    "serverContent.generationComplete": {"generation_complete": True},
    "serverContent.modelTurn.thought": {"speaks": True},
    "serverContent.interrupted": {"interrupted": True},
}
LIVELY = {"lively", "text_characters"}
"""What many of them say besides: somebody speaks or writes."""
SAYS_SOMETHING = {
    "serverContent.modelTurn.audio": {"speaks", "audio_bytes"},
    "serverContent.bundled": {"speaks", "audio_bytes", "output_text"},
    "serverContent.outputTranscription": {"speaks", "output_text"},
    "serverContent.turnComplete": {"turn_complete", "more_turns", "usage"},
    "toolCall": {"call_ids"},
    "toolCallCancellation": {"cancelled_ids"},
    "sessionResumptionUpdate": {"resumption"},
    "goAway": {"go_away_s"},
    "usageMetadata": {"usage"},
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["type"])
def test_recorded_messages_are_understood(example: dict[str, Any]) -> None:
    """Every message that was ever recorded is known, and says what its type says and nothing else."""
    frame = read(example["message"])
    assert frame.known
    assert frame.names == example["message"].keys()
    said = {name: fact for name, fact in facts(frame).items() if name not in LIVELY}
    if (something := SAYS_SOMETHING.get(example["type"])) is not None:
        assert said.keys() <= something
        assert said
    else:
        assert said == SAYS.get(example["type"], {})


def test_the_examples_cover_every_known_message() -> None:
    """No name is known that was not recorded."""
    assert {name for example in EXAMPLES for name in example["message"]} == KNOWN


# Details -------------------------------------------------------------------------------------------------------------


def parts(*parts: Any) -> dict[str, Any]:
    """A turn of the model."""
    return {"serverContent": {"modelTurn": {"parts": list(parts)}}}


@pytest.mark.parametrize(
    ("base64", "size"), [("", 0), ("AA==", 1), ("AAA=", 2), ("AAAA", 3), ("AAAAAA==", 4), ("AAAAAA", 4)]
)
def test_audio_is_counted_in_decoded_bytes(base64: str, size: int) -> None:
    """The size of the PCM is known without decoding it."""
    blob = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": base64}}
    assert read(parts(blob)).audio_bytes == size
    assert read(parts({"text": "x"}, blob, blob)).audio_bytes == 2 * size


LONG = "AAAA" * 400


@pytest.mark.parametrize(
    "tree",
    [
        parts({"inlineData": {"mimeType": "audio/pcm", "data": LONG}}),
        parts({"inlineData": {"data": LONG + "AA==", "mimeType": "audio/pcm"}}, {"text": "x"}),
        parts({"inlineData": {"mimeType": "audio/pcm", "data": LONG + "AAA="}}) | {"usageMetadata": {"x": 1}},
        parts(*[{"inlineData": {"mimeType": "audio/pcm", "data": LONG}}] * 2),
        parts({"inlineData": {"mimeType": "audio/pcm", "data": "AAAA"}}, {"text": LONG}),
        parts({"inlineData": {"mimeType": "video/mp4", "data": LONG}}),
        {"toolCall": {"functionCalls": [{"id": "a", "args": {"data": LONG + '", "x": "'}}]}},
        {"toolCall": {"functionCalls": [{"args": {"data": "é" * 2000, "data2": LONG}, "id": "b"}]}},
        {"toolCall": {"functionCalls": [{"args": {'x"data': LONG, "y": '"data": "'}, "id": "c"}]}},
        {"data": LONG, "serverContent": {"turnComplete": True}},
    ],
    ids=["one", "padded", "with usage", "two", "short", "video", "escapes", "letters", "misleading", "top"],
)
def test_a_long_message_is_understood_like_a_short_one(tree: dict[str, Any]) -> None:
    """Leaving the audio unread changes nothing that is learned, wherever a string called `data` stands."""
    for ensure_ascii in (False, True):
        quick = server_frame(json.dumps(tree, indent=2, ensure_ascii=ensure_ascii).encode())
        assert quick == server_frame(json.dumps(tree, separators=(",", ":")).encode())  # has no `"data": "`


@pytest.mark.parametrize("length", [0, 1, 1000, 1020, 1024, 1028, 1032, 5000])
def test_audio_of_any_length_is_counted_exactly(length: int) -> None:
    """Around the length from which the audio is left unread, and for every padding."""
    for size in (length * 3, length * 3 + 1, length * 3 + 2):
        blob = {"inlineData": {"mimeType": "audio/pcm", "data": base64.b64encode(bytes(size)).decode()}}
        assert read(parts(blob)).audio_bytes == size


def test_what_is_not_audio_is_not_counted_as_audio() -> None:
    """Video of an avatar and data without a type are no speech."""
    for blob in ({"mimeType": "video/mp4", "data": "AAAA"}, {"data": "AAAA"}, {"mimeType": None, "data": "AAAA"}):
        assert read(parts({"inlineData": blob})).audio_bytes == 0


def test_what_was_used_is_read() -> None:
    """A report is read by `relay.core.usage`, which has its own tests."""
    assert read({"usageMetadata": {"candidatesTokenCount": 61}}).usage == usage({"responseTokenCount": 61})


def test_written_text_is_counted_in_characters() -> None:
    """Thoughts and transcripts are not what Gemini wrote to the client."""
    frame = read(parts({"text": "héllo"}, {"text": "hm", "thought": True}, {"text": 5}, {"text": "!"}))
    assert frame.text_characters == 6
    assert read({"serverContent": {"outputTranscription": {"text": "hello"}}}).text_characters == 0


@pytest.mark.parametrize(
    ("tree", "lively"),
    [
        (parts({"text": "x"}), True),
        ({"serverContent": {"inputTranscription": {"text": "x"}}}, True),
        ({"serverContent": {"interimInputTranscription": {"text": "x"}}}, True),
        ({"toolCall": {"functionCalls": []}}, True),
        ({"voiceActivity": {"voiceActivityType": "ACTIVITY_START"}}, True),
        ({"serverContent": {"turnComplete": True}}, False),
        ({"sessionResumptionUpdate": {}}, False),
        ({"usageMetadata": {}}, False),
        ({}, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_speech_and_text_show_that_somebody_is_there(tree: dict[str, Any], lively: bool) -> None:
    """Signs of life on either side, as opposed to what a silent conversation brings too."""
    assert read(tree).lively is lively


@pytest.mark.parametrize("size", [0, 1, 2, 3, 640])
def test_the_size_behind_base64_is_known(size: int) -> None:
    """Without decoding it, for every padding."""
    assert decoded_bytes(base64.b64encode(bytes(size)).decode()) == size


def test_one_frame_may_say_several_things() -> None:
    """usageMetadata rides on other messages, and nothing stops Gemini from sending more at once."""
    frame = read(
        {
            "serverContent": {"turnComplete": True, "interrupted": True},
            "usageMetadata": {"promptTokenCount": 1},
            "toolCall": {"functionCalls": [{"id": "a"}, {"name": "f"}, {"id": 5}]},
            "toolCallCancellation": {"ids": ["b"]},
            "sessionResumptionUpdate": {"newHandle": "h", "resumable": True},
            "goAway": {"timeLeft": "9.5s"},
            "somethingNew": 1,
        }
    )
    assert facts(frame) == {
        "turn_complete": True,
        "interrupted": True,
        "lively": True,
        "usage": usage({"promptTokenCount": 1}),
        "call_ids": ["a", "", ""],
        "cancelled_ids": ["b"],
        "resumption": Resumption(Secret("h"), True),
        "go_away_s": 9.5,
    }


def test_a_message_of_no_known_name_is_not_known() -> None:
    """It crashes the Python SDK, so the session must be able to tell."""
    assert not read({"error": {"code": 500}}).known
    assert not read({}).known
    assert read({"error": {}, "serverContent": {}}).known


@pytest.mark.threat("C14")
@pytest.mark.parametrize("payload", [b"", b"\x08\x01", b"[]", b'"x"', b"1", b"null", b"{", b"\xff{}", b"[" * 5000])
def test_what_is_no_json_object_is_no_message(payload: bytes) -> None:
    """Anything else is reported as such and raises nothing."""
    assert server_frame(payload) is None


HOSTILE: list[Any] = [None, True, -1, 1.5, "x", [], [None], [[]], [{}], {}, {"x": None}, [{"id": []}], ["\u0000"]]
PLACES = [
    ("setupComplete",),
    ("serverContent",),
    ("serverContent", "turnComplete"),
    ("serverContent", "interrupted"),
    ("serverContent", "modelTurn"),
    ("serverContent", "modelTurn", "parts"),
    ("toolCall",),
    ("toolCall", "functionCalls"),
    ("toolCallCancellation",),
    ("toolCallCancellation", "ids"),
    ("usageMetadata",),
    ("usageMetadata", "responseTokenCount"),
    ("sessionResumptionUpdate",),
    ("sessionResumptionUpdate", "newHandle"),
    ("sessionResumptionUpdate", "resumable"),
    ("goAway",),
    ("goAway", "timeLeft"),
]


@pytest.mark.threat("C14")
@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_a_field_of_the_wrong_type_counts_as_absent(place: tuple[str, ...]) -> None:
    """Whatever stands where Gemini puts something else, reading goes on."""
    for hostile in HOSTILE:
        tree = hostile
        for name in reversed(place):
            tree = {name: tree}
        frame = read(tree)
        assert frame.names == {place[0]}
        assert frame.audio_bytes == 0
        assert set(map(type, [*frame.call_ids, *frame.cancelled_ids])) <= {str}


@pytest.mark.threat("C14")
def test_hostile_blobs_are_nothing() -> None:
    """A part or its data of any other type holds no audio."""
    for hostile in HOSTILE:
        blob = {"inlineData": {"mimeType": "audio/pcm", "data": hostile}}
        assert read(parts(hostile, {"inlineData": hostile}, blob)).audio_bytes == 0


# Resumption ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("index", "consumed"),
    [("7", 7), (7, 7), ("0", 0), (None, 0), (-1, 0), ("-1", 0), ("x", 0), ("9" * 30, 0), (1.5, 0), (True, 0), ([], 0)],
    ids=repr,
)
def test_the_index_of_a_handle_is_read_in_both_forms(index: Any, consumed: int) -> None:
    """An int64 is a string in protobuf's JSON; anything else is no index."""
    update = {"newHandle": "h", "resumable": True, "lastConsumedClientMessageIndex": index}
    assert read({"sessionResumptionUpdate": update}).resumption == Resumption(Secret("h"), True, consumed)


@pytest.mark.parametrize(
    ("update", "resumption"),
    [
        ({}, Resumption(Secret(""), False)),
        ({"newHandle": "h"}, Resumption(Secret("h"), False)),
        ({"newHandle": "", "resumable": True}, Resumption(Secret(""), True)),
        ({"newHandle": 5, "resumable": "true"}, Resumption(Secret(""), False)),
    ],
)
def test_an_update_without_a_handle_has_none(update: dict[str, Any], resumption: Resumption) -> None:
    """Absent, empty and of the wrong type are the same."""
    assert read({"sessionResumptionUpdate": update}).resumption == resumption


def test_parts_of_a_message_can_be_left_out() -> None:
    """The rest goes on, written the way Gemini writes, unless what is left would crash a released SDK."""
    names = frozenset({"sessionResumptionUpdate", "goAway"})
    payload = b'{"sessionResumptionUpdate": {"newHandle": "theirs"}, "goAway": {}, "usageMetadata": {}, "new": 1}'
    assert without(payload, names) == b'{\n  "usageMetadata": {},\n  "new": 1\n}\n'
    assert without(b'{"sessionResumptionUpdate": {}}', names) is None
    assert without(b'{"sessionResumptionUpdate": {}, "new": 1}', names) is None


def test_a_blob_that_is_no_json_hides_no_handle() -> None:
    """What stands in a long blob is not looked at, but a message that the relay has to rewrite is read in full."""
    payload = b'{"sessionResumptionUpdate": {"newHandle": "theirs"}, "usageMetadata": {"data": "%s"}}' % (
        b"\x01" + b"A" * 4000
    )
    frame = server_frame(payload)
    assert frame is not None
    assert frame.resumption is not None
    assert without(payload, frozenset({"sessionResumptionUpdate"})) is None


def test_messages_of_the_relay_s_own_look_like_gemini_s() -> None:
    """Two spaces, a newline at the end."""
    tree = {"serverContent": {"turnComplete": True}}
    assert server_message(tree) == json.dumps(tree, indent=2).encode() + b"\n"


# What is being said --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"modelTurn": {"parts": []}}, {"speaks": True}),
        ({"outputTranscription": {"text": "x"}}, {"speaks": True, "output_text": "x"}),
        ({"outputTranscription": {"text": 5}}, {"speaks": True}),
        ({"inputTranscription": {"text": "x"}}, {}),
        ({"generationComplete": True}, {"generation_complete": True}),
        ({"generationComplete": 1}, {}),
        ({"turnComplete": True, "interactionStatus": "IN_PROGRESS"}, {"turn_complete": True, "more_turns": True}),
        ({"turnComplete": True, "interactionStatus": "DONE"}, {"turn_complete": True}),
    ],
)
def test_the_stages_of_a_turn_are_told_apart(content: dict[str, Any], said: dict[str, Any]) -> None:
    """A turn begins with anything the model says, is generated, and is complete; or it goes on in another one."""
    found = facts(read({"serverContent": content}))
    assert {name: fact for name, fact in found.items() if name not in LIVELY} == said
