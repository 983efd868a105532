"""Client messages: every form a single value may come in, and the one form it leaves in."""

from typing import Any

import orjson
import pytest

from relay.core.client_frames import ClientFrame, canonical, client_frame
from relay.core.refusals import Refusal, Rule
from tests.core.frames import accepted, generation, refused


def generation_of(tree: Any) -> Any:
    """The generationConfig that the reader passes on."""
    return accepted(generation(tree)).body["generationConfig"]


def audio_of(base64: str) -> str:
    """The audio that the reader passes on."""
    data: str = accepted({"realtimeInput": {"audio": {"data": base64}}}).body["audio"]["data"]
    return data


# Nulls ---------------------------------------------------------------------------------------------------------------


def test_null_is_the_same_as_absent() -> None:
    """A null field is left out, at any depth."""
    frame = accepted({"setup": {"model": None, "tools": None, "generationConfig": {"seed": None, "topK": 3}}})
    assert frame.body == {"generationConfig": {"topK": 3}}


def test_null_inside_free_form_values_is_kept() -> None:
    """In a Struct, and for a field of any JSON, null is a value like any other."""
    frame = accepted({"toolResponse": {"functionResponses": [{"id": "a", "response": {"x": None}}]}})
    assert frame.body["functionResponses"][0]["response"] == {"x": None}
    assert generation_of({"responseSchema": {"default": None, "title": None}}) == {"responseSchema": {"default": None}}


@pytest.mark.parametrize("body", [{"tools": [None]}, {"labels": {"a": None}}, {"safetySettings": [{}, None]}], ids=str)
def test_null_as_an_element_is_refused(body: Any) -> None:
    """A list or map can't hold nothing."""
    assert refused({"setup": body}).rule is Rule.WRONG_TYPE


# Scalars -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("AUDIO", "AUDIO"),
        ("audio", "AUDIO"),
        ("Audio", "AUDIO"),
        (3, "AUDIO"),
        (0, "MODALITY_UNSPECIFIED"),
    ],
)
def test_enums_become_names(value: Any, name: str) -> None:
    """A number or a lower-case name goes to Gemini as the value's name."""
    assert generation_of({"responseModalities": [value]}) == {"responseModalities": [name]}


@pytest.mark.parametrize("value", ["SMELL", "", "3", 99, -1, 3.0, True, False, [], {}], ids=repr)
def test_what_no_enum_has_is_refused(value: Any) -> None:
    """A value that we can't name can't be judged by a policy."""
    refusal = refused(generation({"responseModalities": [value]}))
    assert refusal == Refusal(
        Rule.WRONG_TYPE, "setup.generationConfig.responseModalities", "is not a value of Modality"
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (25600, 25600),
        ("25600", 25600),
        (25600.0, 25600),
        ("25600.0", 25600),
        ("2.56e4", 25600),
        ("2.56E+4", 25600),
        ("-0", 0),
        (-0.0, 0),
        (2**63 - 1, 2**63 - 1),
        (str(2**63 - 1), 2**63 - 1),
        (-(2**63), -(2**63)),
    ],
)
def test_integers_in_every_form_become_numbers(value: Any, number: int) -> None:
    """proto3 JSON writes an int64 as a string, some clients as a float; all are one integer."""
    frame = accepted({"setup": {"contextWindowCompression": {"triggerTokens": value}}})
    (tokens,) = frame.body["contextWindowCompression"].values()
    assert (type(tokens), tokens) == (int, number)


@pytest.mark.threat("C7")
@pytest.mark.parametrize(
    ("written", "number"), [("2.56e4", 25600), ("25600.000", 25600), ("256E+2", 25600), ("-0", 0), ("1e-400", 0)]
)
def test_integers_in_every_notation_become_numbers(written: str, number: int) -> None:
    """JSON has many ways to write the same number."""
    payload = f'{{"setup":{{"contextWindowCompression":{{"triggerTokens":{written}}}}}}}'
    frame = client_frame(payload.encode())
    assert isinstance(frame, ClientFrame)
    assert frame.encode() == f'{{"setup":{{"contextWindowCompression":{{"triggerTokens":{number}}}}}}}'.encode()


NO_NUMBERS = ["", " ", "1 ", " 1", "+1", "0x10", "1_000", "٣", "²", "1,5", "--1", "-", "e5", "1e", "NaN", "Infinity"]


@pytest.mark.threat("C7")
@pytest.mark.parametrize(
    "value",
    [*NO_NUMBERS, 0.5, "0.5", 2**63, str(2**63), 2**70, str(2**70), "9" * 33, 1e19, True, False, [], {}, [1]],
    ids=repr,
)
def test_what_is_no_integer_of_64_bits_is_refused(value: Any) -> None:
    """Fractions, overflows, booleans and everything that only looks like a number are refused."""
    refusal = refused({"setup": {"contextWindowCompression": {"triggerTokens": value}}})
    path = "setup.contextWindowCompression.triggerTokens"
    assert refusal == Refusal(Rule.WRONG_TYPE, path, "must be an integer of 64 bits")


@pytest.mark.threat("C7")
@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, "2147483648", 1e10], ids=repr)
def test_a_field_of_32_bits_takes_no_more(value: Any) -> None:
    """An int32 has its own bound."""
    assert refused(generation({"topK": value})).words == "must be an integer of 32 bits"


@pytest.mark.threat("C7")
@pytest.mark.parametrize(("value", "number"), [(0.7, 0.7), (1, 1), ("0.7", 0.7), ("1", 1), ("-1e-3", -0.001)])
def test_floats_in_every_form_become_numbers(value: Any, number: float) -> None:
    """A float may come as an integer or as a string."""
    assert generation_of({"temperature": value}) == {"temperature": number}


@pytest.mark.threat("C7")
@pytest.mark.parametrize("value", [*NO_NUMBERS, "-Infinity", "1e999", True, [], {}], ids=repr)
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    """Not even the words that proto3 JSON has for the infinite are passed on."""
    refusal = refused(generation({"temperature": value}))
    assert refusal == Refusal(Rule.WRONG_TYPE, "setup.generationConfig.temperature", "must be a finite number")


@pytest.mark.parametrize("value", ["true", "", 0, 1, [], {}], ids=repr)
def test_only_true_and_false_are_booleans(value: Any) -> None:
    """A string or a number is no boolean."""
    assert refused({"setup": {"explicitVadSignal": value}}) == Refusal(
        Rule.WRONG_TYPE, "setup.explicitVadSignal", "must be true or false"
    )


@pytest.mark.parametrize("value", [1, True, [], {}, ["x"]], ids=repr)
def test_only_a_string_is_a_string(value: Any) -> None:
    """Nothing is turned into a string."""
    assert refused({"setup": {"model": value}}) == Refusal(Rule.WRONG_TYPE, "setup.model", "must be a string")


@pytest.mark.parametrize("value", ["", "\x00", "\u202e", "\U0001f600", "a" * 100_000, "__proto__"], ids=ascii)
def test_a_string_passes_unchanged(value: str) -> None:
    """Whatever valid text a client says is passed on as it is."""
    frame = accepted({"realtimeInput": {"text": value}})
    assert orjson.loads(frame.encode()) == {"realtimeInput": {"text": value}}


@pytest.mark.threat("C11")
@pytest.mark.parametrize(
    ("given", "standard"),
    [
        ("", ""),
        ("AAAA", "AAAA"),
        ("+/+/", "+/+/"),
        ("-_-_", "+/+/"),
        ("-/-_", "+/+/"),
        ("AA==", "AA=="),
        ("AA", "AA=="),
        ("AAA", "AAA="),
        ("AA=", "AA=="),
        ("AA=====", "AA=="),
        ("AAAA====", "AAAA"),
        ("AA AA", "AAAA"),
        (" A\nA\tA\r\nA ", "AAAA"),
        ("-_", "+/=="),
        ("=", ""),
    ],
)
def test_base64_in_every_form_becomes_standard(given: str, standard: str) -> None:
    """URL-safe, unpadded, over-padded and spaced base64 goes to Gemini in the one standard form."""
    assert audio_of(given) == standard


@pytest.mark.threat("C11")
@pytest.mark.parametrize(
    "value", ["A", "AAAAA", "A===", "A=AA", "AA==AA==", "AA=A=", "A*AA", "AAé=", "AA:A", "٣٣٣٣", 1, False, []]
)
def test_what_is_no_base64_is_refused(value: Any) -> None:
    """Wrong lengths, misplaced padding and characters outside the alphabets are refused."""
    refusal = refused({"realtimeInput": {"mediaChunks": [{"data": value}]}})
    assert refusal == Refusal(Rule.WRONG_TYPE, "realtimeInput.mediaChunks.data", "must be base64")


def mcp_timeout(value: Any) -> Any:
    """A setup with this duration in it."""
    return {"setup": {"tools": [{"mcpServers": [{"streamableHttpTransport": {"timeout": value}}]}]}}


def test_durations_pass() -> None:
    """Seconds with a fraction are a duration."""
    assert accepted(mcp_timeout("1.500s"))


@pytest.mark.parametrize("value", ["1.5", "s", "1m", "", 5, {"seconds": 1}], ids=repr)
def test_what_is_no_duration_is_refused(value: Any) -> None:
    """A duration is written as protobuf writes it."""
    assert refused(mcp_timeout(value)).words == 'must be a duration such as "1.5s"'


def search_since(value: Any) -> Any:
    """A setup with this time in it."""
    return {"setup": {"tools": [{"googleSearch": {"timeRangeFilter": {"startTime": value}}}]}}


@pytest.mark.parametrize("value", ["2026-11-22T00:00:00Z", "2026-11-22T23:59:59.123456789+01:00"])
def test_times_pass(value: str) -> None:
    """A time with its zone, as RFC 3339 has it, is passed on as it is."""
    assert value.encode() in accepted(search_since(value)).encode()


@pytest.mark.parametrize(
    "value", ["", "now", "2026-11-22", "2026-11-22T00:00:00", "2026-11-22 00:00:00Z", "2026-11-22T00:00:00.Z", 0, {}]
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    """A date alone, or a time without its zone, would close the session at Google."""
    assert refused(search_since(value)).words == 'must be a time such as "2026-11-22T09:30:00Z"'


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        ({"tools": {}}, "setup.tools", "must be a list"),
        ({"tools": "x"}, "setup.tools", "must be a list"),
        ({"tools": [[]]}, "setup.tools", "must be an object"),
        ({"labels": []}, "setup.labels", "must be an object"),
        ({"labels": {"a": 1}}, "setup.labels", "must be a string"),
        ({"systemInstruction": "be brief"}, "setup.systemInstruction", "must be an object"),
    ],
    ids=lambda value: str(value),
)
def test_the_wrong_shape_is_refused(body: Any, path: str, words: str) -> None:
    """An object is no list, a list no object, and a bare string no Content."""
    assert refused({"setup": body}) == Refusal(Rule.WRONG_TYPE, path, words)


@pytest.mark.parametrize("value", [[], "x", 1, True], ids=repr)
def test_a_struct_must_be_an_object(value: Any) -> None:
    """Gemini closes the session over a tool response that is no object."""
    refusal = refused({"toolResponse": {"functionResponses": [{"response": value}]}})
    assert refusal == Refusal(Rule.WRONG_TYPE, "toolResponse.functionResponses.response", "must be an object")


# The operator's own setups -------------------------------------------------------------------------------------------


def test_partial_setups_are_rewritten_like_messages() -> None:
    """What an operator writes in snake_case or lower case is enforced in canonical form."""
    written = {"generation_config": {"responseModalities": ["audio"], "top_k": "3"}}
    assert canonical("Setup", written, "") == {"generationConfig": {"responseModalities": ["AUDIO"], "topK": 3}}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("x", "enforce"),
        ({"foo": 1}, "enforce.foo"),
        ({1: 2}, "enforce"),
        ({"generationConfig": {"temperature": 2**70}}, "enforce"),
        ({"generationConfig": {"temperature": float("inf")}}, "enforce.generationConfig.temperature"),
        ({"generationConfig": {"responseJsonSchema": [float("nan")]}}, "enforce.generationConfig.responseJsonSchema"),
        ({"generationConfig": {"responseJsonSchema": {1}}}, "enforce"),
        ({"model": "\ud800"}, "enforce"),
    ],
    ids=ascii,
)
def test_what_yaml_can_say_and_json_can_not_is_refused(value: Any, path: str) -> None:
    """A setup that could never be sent is found when the configuration is read, by its path."""
    refusal = canonical("Setup", value, "enforce")
    assert isinstance(refusal, Refusal)
    assert refusal.path == path
