"""What reaches Gemini is what the policy says, whichever way a client spells its attempt to change it.

Every leaf of the schema table below `setup` is tried in every smuggling form, through a real relay: either the
simulator received the policy's value there, or it received nothing.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from relay import config
from relay.app import Relay
from relay.core import schema
from relay.core.schema import Field, Kind
from relay.sim import Simulator
from relay.sim.profile import preset

SPECIAL = ("model", "sessionResumption")  # ruled by their own keys of relay.yaml, tested in tests/core
AT_ONCE = 25
WAIT_S = 30.0
STOPPED = "nothing was sent"

VALUES: dict[Kind, tuple[Any, Any]] = {  # the policy's, the client's
    Kind.STRING: ("policy", "client"),
    Kind.BOOL: (True, False),
    Kind.INT32: (7, 8),
    Kind.INT64: (7, 8),
    Kind.FLOAT: (0.25, 0.75),
    Kind.BYTES: ("cG9saWN5", "Y2xpZW50"),
    Kind.STRUCT: ({"by": "policy"}, {"by": "client"}),
    Kind.VALUE: ({"by": "policy"}, {"by": "client"}),
    Kind.DURATION: ("1s", "2s"),
    Kind.TIMESTAMP: ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    Kind.MESSAGE: ({}, {}),
}


def _leaves() -> list[tuple[str, Field]]:
    return [
        (path, field)
        for path, field in schema.setup_paths()
        if field.kind is not Kind.MESSAGE and path.split(".")[0] not in SPECIAL
    ]


def _values(field: Field) -> tuple[Any, Any]:
    if field.kind is Kind.ENUM:
        names = [name for number, name in schema.ENUMS[field.enum].items() if number]
        names = names or list(schema.ENUMS[field.enum].values())
        pair: tuple[Any, Any] = (names[0], names[-1])
    else:
        pair = VALUES[field.kind]
    if field.mapped:
        return {"k": pair[0]}, {"k": pair[1]}
    return ([pair[0]], [pair[1]]) if field.repeated else pair


def _fields(path: str) -> list[Field]:
    fields, message = [], "Setup"
    for step in path.split("."):
        field = schema.MESSAGES[message][step]
        fields.append(field)
        message = field.message
    return fields


def _nested(path: str, innermost: str, *, snake: bool = False) -> str:
    """JSON text of a setup with `innermost` (members of the last object) at the path's parent."""
    text = "{" + innermost + "}"
    for field in reversed(_fields(path)[:-1]):
        name = schema.snake(field.name) if snake else field.name
        if field.repeated:
            text = f"[{text}]"
        elif field.mapped:
            text = f'{{"k":{text}}}'
        text = f'{{"{name}":{text}}}'
    return text


def _forms(path: str, field: Field, value: Any) -> Iterator[str]:
    """Setups, as JSON text, that try to bring `value` in at `path`."""
    camel, snake, given = field.name, schema.snake(field.name), json.dumps(value)
    policys = json.dumps(_values(field)[0])
    escaped = "".join(f"\\u{ord(character):04x}" for character in camel)
    yield _nested(path, f'"{camel}":{given}')
    yield _nested(path, f'"{snake}":{given}', snake=True)
    yield _nested(path, f'"{escaped}":{given}')
    yield _nested(path, f'"{camel}":{policys},"{escaped}":{given}')
    yield _nested(path, f'"{camel}":{policys},"{camel}":{given}')
    yield _nested(
        path, f'"{camel}":null,"{snake}":{given}' if camel != snake else f'"{camel}":null,"{escaped}":{given}'
    )
    if camel != snake:
        yield _nested(path, f'"{camel}":{policys},"{snake}":{given}')
        yield _nested(path, f'"{snake}":{given},"{camel}":{policys}')
    yield _nested(path, f'"{camel.upper()}":{given},"{camel}":{policys}') if camel.upper() != camel else "{}"
    if field.kind is Kind.ENUM and not field.mapped:
        name = value[0] if field.repeated else value
        number = next(number for number, known in schema.ENUMS[field.enum].items() if known == name)
        for form in (number, name.lower()):
            yield _nested(path, f'"{camel}":{json.dumps([form] if field.repeated else form)}')
    if field.kind in {Kind.INT32, Kind.INT64, Kind.FLOAT} and not field.repeated:
        yield _nested(path, f'"{camel}":"{value}"')


def _enforced(path: str, value: Any) -> dict[str, Any]:
    setup: Any = json.loads(_nested(path, f'"{path.split(".")[-1]}":{json.dumps(value)}'))
    return dict(setup)


async def _attempt(http: aiohttp.ClientSession, url: str, setup: str) -> None:
    async with http.ws_connect(url) as socket:
        await socket.send_str(f'{{"setup":{setup}}}')
        await socket.receive()


async def _run(policies: dict[str, Any], attempts: list[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """Each (policy, setup text) through one relay; what the simulator got of it, or STOPPED."""
    simulator = Simulator(preset("instant", recorded_connections=100_000))
    await simulator.start()
    settings = {
        "listen": {"port": 0},
        "admin": {"port": 0},
        "upstream": {"base_url": simulator.url, "api_key": "google-key"},
        "policies": policies,
        "tenants": [
            {"id": f"t-{name}", "keys": [f"key-{name}"], "policy": name, "keys_in_url": True} for name in policies
        ],
    }
    relay = Relay(config.build(settings))
    results: dict[tuple[str, str], Any] = {}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(simulator.stop)
        listen = (await relay.start())["listen"]
        stack.push_async_callback(relay.stop)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        for start in range(0, len(attempts), AT_ONCE):
            # One after the other per policy would be slow; the marker tells the connections apart.
            batch = attempts[start : start + AT_ONCE]
            before = len(simulator.connections)
            async with asyncio.timeout(WAIT_S):
                await asyncio.gather(
                    *(_attempt(http, f"{listen}/v1/live?key=key-{name}", text) for name, text in batch)
                )
                while len(relay.registry):
                    await asyncio.sleep(0)
            received = [connection.messages for connection in simulator.connections[before:]]
            assert all(len(messages) == 1 for messages in received), "exactly one setup per connection"
            setups = [messages[0].parsed["setup"] for messages in received]
            by_marker = {setup["labels"]["marker"]: setup for setup in setups}
            assert len(by_marker) == len(setups)
            for name, text in batch:
                results[name, text] = by_marker.get(name, STOPPED)
    return results


@pytest.mark.threat("C1", "C2", "C3", "C4")
async def test_no_form_of_any_field_gets_past_an_enforced_value() -> None:
    """The client may set anything, but each field in turn is enforced: Gemini reads the policy's value or nothing."""
    leaves = [(path, field) for path, field in _leaves() if path != "labels"]
    policies: dict[str, Any] = {}
    attempts: list[tuple[str, str]] = []
    expected: dict[str, dict[str, Any]] = {}
    for number, (path, field) in enumerate(leaves):
        for form, text in enumerate(_forms(path, field, _values(field)[1])):
            name = f"p{number}-{form}"
            enforced = _enforced(path, _values(field)[0])
            policies[name] = {"model": "m", "allow": ["*"], "enforce": {**enforced, "labels": {"marker": name}}}
            expected[name] = enforced
            attempts.append((name, text))
    results = await _run(policies, attempts)
    stopped = 0
    for (name, text), setup in results.items():
        if setup == STOPPED:
            stopped += 1
            continue
        assert _holds(expected[name], setup), f"{text} made it {setup}"

    assert len(attempts) > 2000
    assert 0 < stopped < len(attempts)


@pytest.mark.threat("C1", "C2", "C3", "C4")
async def test_no_form_of_any_field_passes_a_policy_that_allows_nothing() -> None:
    """Rejected: nothing is sent. Stripped: what is sent has not a trace of the field."""
    policies = {
        "reject": {"model": "m", "enforce": {"labels": {"marker": "reject"}}},
    }
    attempts = []
    for number, (path, field) in enumerate(_leaves()):
        if path.split(".")[0] in {
            "realtimeInputConfig",
            "labels",
        }:  # the one passes everywhere, the other is the marker
            continue
        for form, text in enumerate(_forms(path, field, _values(field)[1])):
            attempts.append(("reject", text))
            if form in {0, 1, 2}:
                name = f"strip{number}-{form}"
                policies[name] = {"model": "m", "enforce": {"labels": {"marker": name}}, "on_violation": "strip"}
                attempts.append((name, text))
    results = await _run(policies, [attempt for attempt in attempts if attempt[1] != "{}"])
    for (name, text), setup in results.items():
        enforced = {"model": "models/m", "labels": {"marker": name}, "sessionResumption": {}}  # the last is the relay's
        expected = STOPPED if name == "reject" else enforced
        assert setup == expected, f"{text} made it {setup}"


def _holds(expected: Any, actual: Any) -> bool:
    """Whether every value of `expected` stands in `actual` unchanged."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(name in actual and _holds(value, actual[name]) for name, value in expected.items())
    return bool(expected == actual)
