"""The lenient reader of client frames, beside what protobuf's own JSON reader is known to take."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from relay.sim import rejections
from relay.sim.reading import decode_base64, read
from relay.sim.rejections import Rejection

_EXAMPLES = Path(__file__).parents[1] / "data" / "wire_examples.jsonl"


def client_examples() -> list[Any]:
    """The recorded client messages that Google takes."""
    lines = [json.loads(line) for line in _EXAMPLES.read_text("utf-8").splitlines()]
    return [
        pytest.param(line["message"], id=f"{line['type']}-{at}")
        for at, line in enumerate(lines)
        if line["direction"] == "c2s" and not line["type"].startswith(("music", "hostile.two_oneof"))
    ]


def accepted(text: str) -> dict[str, Any]:
    """What a frame is read as; it must be one."""
    message = read(text)
    assert isinstance(message, dict), message
    return message


def refused(text: str) -> str:
    """The reason a frame is refused with."""
    rejection = read(text)
    assert isinstance(rejection, Rejection), rejection
    assert rejection.code == 1007
    return rejection.reason


@pytest.mark.parametrize("message", client_examples())
def test_recorded_client_messages_are_read(message: dict[str, Any]) -> None:
    """Everything the official SDKs were seen to send is understood."""
    kind = next(iter(message))

    assert list(accepted(json.dumps(message))) == [kind.split("_")[0] + "".join(w.title() for w in kind.split("_")[1:])]


def test_spellings_may_be_mixed_at_every_level() -> None:
    """camelCase and snake_case mean the same, side by side."""
    text = '{"setup":{"model":"m","generation_config":{"maxOutputTokens":"5","top_k":2.0,"temperature":"0.5"}}}'

    generation = accepted(text)["setup"]["generationConfig"]

    assert generation == {"maxOutputTokens": 5, "topK": 2, "temperature": 0.5}


def test_two_spellings_of_a_message_merge_and_the_later_wins() -> None:
    """Protobuf merges singular messages and lets the last list win: the classic filter bypass works here too."""
    text = (
        '{"setup":{"model":"m","systemInstruction":{"role":"user","parts":[{"text":"one"}]},'
        '"system_instruction":{"parts":[{"text":"two"}]}}}'
    )

    assert accepted(text)["setup"]["systemInstruction"] == {"role": "user", "parts": [{"text": "two"}]}


def test_escaped_keys_are_keys() -> None:
    """An escaped character in a key is no disguise."""
    assert accepted('{"\\u0073etup":{"model":"m"}}') == {"setup": {"model": "m"}}


def test_null_is_absent() -> None:
    """A null beside another message is not a second message."""
    assert accepted('{"setup":null,"clientContent":{"turnComplete":true}}') == {"clientContent": {"turnComplete": True}}


def test_enums_by_number_and_in_lower_case() -> None:
    """Enums are normalised to their names."""
    text = '{"setup":{"model":"m","generationConfig":{"responseModalities":["audio",1,"TEXT"]}}}'

    assert accepted(text)["setup"]["generationConfig"]["responseModalities"] == ["AUDIO", "TEXT", "TEXT"]


@pytest.mark.parametrize("form", ["+//+AA==", "-__-AA==", "-__-AA", "+//+ AA= =\n"])
def test_base64_in_every_alphabet(form: str) -> None:
    """Standard, URL-safe, unpadded and spaced base64 are the same bytes."""
    text = json.dumps({"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": form}}})

    data = accepted(text)["realtimeInput"]["audio"]["data"]

    assert base64.b64decode(data) == decode_base64(form) == b"\xfb\xff\xfe\x00"


def test_an_unknown_name_is_refused_in_googles_words() -> None:
    """The reason names the field and where it stood, with the path in snake_case."""
    assert refused('{"setup":{"model":"m","generationConfig":{"nope":1}}}') == (
        "Invalid JSON payload received. Unknown name \"nope\" at 'setup.generation_config': Cannot find field."
    )
    assert refused('{"nope":{}}') == 'Invalid JSON payload received. Unknown name "nope": Cannot find field.'
    assert "Unknown name" in refused('{"Setup":{}}')


def test_two_messages_in_one_frame_are_refused() -> None:
    """The message kinds are a oneof."""
    assert refused('{"realtimeInput":{"text":"x"},"clientContent":{"turnComplete":true}}') == (
        "Invalid value (oneof), oneof field 'message_type' is already set. Cannot set 'client_content'"
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "\x0a\x02\x08\x01", '{"setup":{}} x', '{"setup":{"model":NaN}}', "\ufeff{}",
        '{"setup":{"model":"m","model":"n"}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: str) -> None:
    """Garbage, trailing data, NaN, a byte-order mark, repeated keys and deep nesting close with 1007."""
    assert refused(text).startswith("Invalid JSON payload received.")


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"setup": {"generationConfig": {"temperature": "hot"}}}, "setup.generation_config.temperature"),
        ({"setup": {"generationConfig": {"topK": 1.5}}}, "setup.generation_config.top_k"),
        ({"setup": {"generationConfig": {"seed": 2**31}}}, "setup.generation_config.seed"),
        ({"setup": {"generationConfig": {"seed": True}}}, "setup.generation_config.seed"),
        ({"setup": {"systemInstruction": "text"}}, "setup.system_instruction"),
        ({"setup": {"tools": {}}}, "setup.tools"),
        ({"setup": {"model": 5}}, "setup.model"),
        ({"setup": {"labels": ["x"]}}, "setup.labels"),
        ({"setup": {"generationConfig": {"responseModalities": [99]}}}, "setup.generation_config.response_modalities"),
        ({"clientContent": {"turnComplete": "true"}}, "client_content.turn_complete"),
        ({"realtimeInput": {"audio": {"data": "!"}}}, "realtime_input.audio.data"),
        ({"toolResponse": {"functionResponses": [{"id": "1", "response": "x"}]}}, "tool_response.function_responses"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(message: dict[str, Any], path: str) -> None:
    """Wrong types close with 1007 and say where."""
    assert refused(json.dumps(message)).startswith(f"Invalid value at '{path}")


def test_nesting_is_limited_as_protobuf_limits_it() -> None:
    """A hundred levels are too many."""
    schema: dict[str, Any] = {"type": "STRING"}
    for _ in range(100):
        schema = {"type": "ARRAY", "items": schema}
    declaration = {"name": "f", "parameters": schema}
    text = json.dumps({"setup": {"tools": [{"functionDeclarations": [declaration]}]}})

    assert "too deep" in refused(text)


@pytest.mark.parametrize("text", ["[]", '"setup"', "1", "null"])
def test_a_frame_must_be_an_object(text: str) -> None:
    """Other JSON is not a message."""
    assert "Root element must be a message" in refused(text)


def test_an_empty_message_is_refused() -> None:
    """A frame without any message is an invalid argument."""
    assert read("{}") == read('{"setup":null}') == rejections.BAD_ARGUMENT
