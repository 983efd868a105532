"""The schema table's own promises, and recorded client messages read with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.core import schema
from relay.core.schema import ENUMS, MESSAGES, SPELLINGS, Kind

# ---- recorded frames --------------------------------------------------------------------------------------

EXAMPLES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "wire_examples.jsonl").read_text("utf-8").splitlines()
]
CLIENT_EXAMPLES = [example for example in EXAMPLES if example["direction"] == "c2s"]


def unknown_keys(message: str, body: dict[str, Any], path: str = "") -> Iterator[str]:
    """The dotted paths of a body's keys that the table does not spell."""
    for key, value in body.items():
        field = SPELLINGS[message].get(key)
        if field is None:
            yield path + key
        elif field.message:
            below = value.values() if field.mapped else value if field.repeated else [value]
            for item in below:
                yield from unknown_keys(field.message, item, f"{path}{key}.")


@pytest.mark.parametrize(
    "example",
    [e for e in CLIENT_EXAMPLES if not e["type"].startswith(("hostile", "music"))],
    ids=lambda example: example["type"],
)
def test_recorded_client_messages_use_known_spellings(example: dict[str, Any]) -> None:
    """What real clients send, in whatever mixture of spellings, is understood to the last key."""
    assert list(unknown_keys("ClientMessage", example["message"])) == []


def test_music_messages_are_not_known() -> None:
    """The music protocol shares key names with this one, yet its own fields are foreign here."""
    music = [e["message"] for e in CLIENT_EXAMPLES if e["type"].startswith("music")]
    found = [path for message in music for path in unknown_keys("ClientMessage", message)]
    assert found == ["clientContent.weightedPrompts", "playbackControl"]


# ---- the module itself ------------------------------------------------------------------------------------


def test_the_envelope_holds_the_five_client_messages() -> None:
    """A client message is one of exactly these, and each is a single message."""
    envelope = MESSAGES["ClientMessage"]
    assert list(envelope) == ["setup", "clientContent", "realtimeInput", "toolResponse", "contextUpdate"]
    assert all(f.kind is Kind.MESSAGE and not f.repeated and not f.mapped for f in envelope.values())


def test_every_message_and_enum_can_be_reached() -> None:
    """Nothing stands in the tables that no client message leads to."""
    reached, enums, todo = set[str](), set[str](), ["ClientMessage"]
    while todo:
        message = todo.pop()
        if message not in reached:
            reached.add(message)
            todo += [field.message for field in MESSAGES[message].values() if field.message]
            enums |= {field.enum for field in MESSAGES[message].values() if field.enum}
    assert reached == set(MESSAGES)
    assert enums == set(ENUMS)


def test_fields_are_well_formed() -> None:
    """A field is called what its key says and names a message or an enum exactly if its kind asks for one."""
    for fields in MESSAGES.values():
        for name, field in fields.items():
            assert field.name == name
            assert bool(field.message) == (field.kind is Kind.MESSAGE)
            assert bool(field.enum) == (field.kind is Kind.ENUM)
            assert not (field.repeated and field.mapped)


def test_enum_values_are_unique_upper_case_names_from_zero() -> None:
    """Each enum has a default at 0, no name twice, and names that survive upper-casing."""
    for values in ENUMS.values():
        assert 0 in values
        assert len(set(values.values())) == len(values)
        assert all(name == name.upper() for name in values.values())


def camel(name: str) -> str:
    """The inverse that proto3 JSON defines: an underscore goes, the letter after it grows."""
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_two_spellings_are_a_bijection(message: str) -> None:
    """Within a message every snake_case spelling stands for one camelCase name, and leads back to it."""
    names = list(MESSAGES[message])
    assert [camel(schema.snake(name)) for name in names] == names
    assert len({schema.snake(name) for name in names}) == len(names)
    assert SPELLINGS[message].keys() == {*names, *map(schema.snake, names)}
    assert all(SPELLINGS[message][schema.snake(name)] is MESSAGES[message][name] for name in names)


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("model", "model"),
        ("generationConfig", "generation_config"),
        ("topK", "top_k"),
        ("prefixPaddingMs", "prefix_padding_ms"),
        ("initialHistoryInClientContent", "initial_history_in_client_content"),
    ],
)
def test_snake_spells_like_the_proto(name: str, spelt: str) -> None:
    """snake() gives the proto's own name of a field."""
    assert schema.snake(name) == spelt


def test_setup_paths_and_find_agree() -> None:
    """Every path below setup is listed once and found in either spelling; recursion ends."""
    paths = list(schema.setup_paths())
    assert len({path for path, _ in paths}) == len(paths)
    for path, field in paths:
        assert schema.find(path) is field
        assert schema.find(schema.snake(path)) is field
    names = {path for path, _ in paths}
    assert "generationConfig.speechConfig.voiceConfig.prebuiltVoiceConfig.voiceName" in names
    assert "tools.functionDeclarations.parameters.items" in names
    assert "tools.functionDeclarations.parameters.items.type" not in names


def test_setup_paths_reach_every_message_below_setup() -> None:
    """Cutting recursion loses no message: whatever setup can hold is entered somewhere."""
    entered = {field.message for _, field in schema.setup_paths() if field.message}
    later_only = {"ClientMessage", "Setup", "ClientContent", "RealtimeInput", "ToolResponse", "ContextUpdate"}
    later_only |= {"ActivityStart", "ActivityEnd", "ContextUpdateTools"}
    assert entered == set(MESSAGES) - later_only


@pytest.mark.parametrize(
    "path",
    [
        "responseLogprobs",
        "logprobs",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "stopSequences",
        "routingConfig",
        "audioTimestamp",
    ],
)
def test_generation_fields_that_live_does_not_support_are_known(path: str) -> None:
    """What Live ignores or refuses is known nevertheless, for policy to decide."""
    assert schema.find(f"generationConfig.{path}") is not None


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        "setup",
        "setup.model",
        "nonsense",
        "Model",
        "model.name",
        "generationConfig.",
        ".model",
        "labels.team",
        "tools.0",
        "tools.functionDeclarations.parameters.properties.type",
        "tools.functionDeclarations.parametersJsonSchema.type",
        "generation-config",
        "GENERATION_CONFIG",
    ],
)
def test_find_knows_no_other_path(path: str) -> None:
    """A path that is misspelt, empty in a step, or goes below a scalar, a map or free-form JSON is no field."""
    assert schema.find(path) is None


def test_find_follows_recursion_beyond_the_listed_paths() -> None:
    """A schema inside a schema is found at any depth, though it is listed only once."""
    field = schema.find("tools.functionDeclarations.parameters.items.any_of.items.type")
    assert field is SPELLINGS["Schema"]["type"]
