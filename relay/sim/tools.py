"""The functions a setup declares, when the simulated model calls them, and with which arguments."""

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from relay.sim.conversation import Call
from relay.sim.families import CallId, Family

_SAMPLES: dict[str, Any] = {
    "STRING": "example",
    "INTEGER": 1,
    "NUMBER": 1.5,
    "BOOLEAN": True,
    "ARRAY": [],
    "OBJECT": {},
}


@dataclass(frozen=True, slots=True)
class Function:
    """One declared function."""

    name: str
    parameters: Mapping[str, Any]
    blocking: bool


def declared(tools: Iterable[Mapping[str, Any]], family: Family) -> dict[str, Function]:
    """The functions of a setup's or a contextUpdate's tools, by name."""
    functions: dict[str, Function] = {}
    for tool in tools:
        for declaration in tool.get("functionDeclarations", []):
            name = declaration.get("name", "")
            behavior = declaration.get("behavior", "UNSPECIFIED")
            blocking = behavior == "BLOCKING" or (behavior != "NON_BLOCKING" and not family.async_by_default)
            schema = declaration.get("parameters") or declaration.get("parametersJsonSchema") or {}
            functions[name] = Function(name, schema if isinstance(schema, Mapping) else {}, blocking)
    return functions


def asked_for(text: str, functions: Mapping[str, Function]) -> list[Function]:
    """The declared functions that a text names, in the order of their appearance."""
    found = [(match.start(), name) for name in functions if name and (match := _word(name).search(text))]
    return [functions[name] for _, name in sorted(found)]


def arguments_for(function: Function, text: str) -> dict[str, Any]:
    """Arguments for a call: a JSON object behind the name in the text, the words behind "in" or "for", or samples."""
    behind = text[match.end() :] if (match := _word(function.name).search(text)) else ""
    given = behind.strip().removeprefix("(").removesuffix(")")
    if given.startswith("{"):
        try:
            parsed, _ = json.JSONDecoder().raw_decode(given)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
    properties = function.parameters.get("properties", {})
    if not isinstance(properties, Mapping):
        return {}
    place = re.search(r"\b(?:in|for|of|about)\s+([\w' -]+)", behind)
    named = place[1].strip().removesuffix("please").strip() if place else ""
    return {name: _sample(schema, named) for name, schema in properties.items()}


def call_id(style: CallId, random: Random) -> str:
    """A fresh id in the family's style."""
    if style is CallId.UUID:
        return str(uuid.UUID(int=random.getrandbits(128), version=4))
    template: str = style.value
    return template.format(random.getrandbits(62))


def function_call(call: Call) -> dict[str, Any]:
    """The entry of a toolCall message."""
    return {"id": call.id, "name": call.name, "args": dict(call.arguments)}


def outcome(response: Mapping[str, Any]) -> str:
    """A function's answer in words, for the model's reply."""
    value = response.get("output", response.get("result", response))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)[:200]


def _sample(schema: Any, place: str) -> Any:
    if not isinstance(schema, Mapping):
        return "example"
    if schema.get("enum"):
        return schema["enum"][0]
    kind = str(schema.get("type", "STRING")).upper()
    return place if kind == "STRING" and place else _SAMPLES.get(kind, "example")


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w]){re.escape(name)}(?![\w])", re.IGNORECASE)
