"""Declared functions and calls to them."""

import re
from random import Random
from typing import Any

import pytest

from relay.sim import tools
from relay.sim.families import Backend, CallId, family_of
from relay.sim.tools import Function

V31 = family_of("models/gemini-3.1-flash-live-preview", Backend.DEV)
V38 = family_of("models/gemini-3.8-live", Backend.DEV)
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "parameters": {
        "type": "OBJECT",
        "properties": {
            "city": {"type": "STRING"},
            "days": {"type": "INTEGER"},
            "unit": {"type": "STRING", "enum": ["C", "F"]},
        },
    },
}


def functions(*declarations: dict[str, Any]) -> dict[str, Function]:
    """The functions of one tool, as 3.1 sees them."""
    assert V31 is not None
    return tools.declared([{"googleSearch": {}}, {"functionDeclarations": list(declarations)}], V31)


def test_a_function_is_asked_for_by_its_name() -> None:
    """A text that names functions asks for them, in its own order; a part of a word is not a name."""
    known = functions(WEATHER, {"name": "book"})

    asked = tools.asked_for("Book a table and call GET_WEATHER", known)

    assert [function.name for function in asked] == ["book", "get_weather"]
    assert tools.asked_for("my facebook, get_weather2", known) == []


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("call get_weather in New York please", {"city": "New York", "days": 1, "unit": "C"}),
        ("get_weather", {"city": "example", "days": 1, "unit": "C"}),
        ('get_weather {"city": "Oslo"} now', {"city": "Oslo"}),
        ("get_weather({bad json)", {"city": "example", "days": 1, "unit": "C"}),
    ],
)
def test_arguments_come_from_the_text_or_the_schema(text: str, arguments: dict[str, Any]) -> None:
    """JSON behind the name, else the place that is named, else samples of the declared types."""
    assert tools.arguments_for(functions(WEATHER)["get_weather"], text) == arguments


def test_functions_block_unless_declared_or_by_default_otherwise() -> None:
    """3.1 blocks by default, 3.8 does not; the declaration decides over both."""
    assert V38 is not None
    plain, slow = {"name": "a"}, {"name": "b", "behavior": "BLOCKING"}

    by_default = tools.declared([{"functionDeclarations": [plain, slow]}], V38)

    assert functions(plain)["a"].blocking
    assert (by_default["a"].blocking, by_default["b"].blocking) == (False, True)


@pytest.mark.parametrize(
    ("style", "pattern"),
    [
        (CallId.FUNCTION_CALL, r"function-call-\d+"),
        (CallId.FC, r"fc_\d+"),
        (CallId.UUID, r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"),
    ],
)
def test_call_ids_look_like_the_familys(style: CallId, pattern: str) -> None:
    """Each family has its own form of ids, each id is new."""
    random = Random(1)
    ids = [tools.call_id(style, random) for _ in range(10)]

    assert len(set(ids)) == 10
    assert all(re.fullmatch(pattern, one) for one in ids)


def test_the_outcome_is_put_into_words() -> None:
    """`output` and `result` are taken as they are, anything else as JSON."""
    assert tools.outcome({"output": "fog"}) == "fog"
    assert tools.outcome({"result": {"t": 1}}) == '{"t": 1}'
    assert tools.outcome({"t": 1}) == '{"t": 1}'
