"""Labels of a backend: kept when they fit, refused by name when they don't, and nowhere but in the usage record."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.net.conftest import PATH, TENANT_KEY, WAIT_S, Origin, Running, Start
from tests.net.continuing import Client, gone, simulator

KEY = {"x-goog-api-key": TENANT_KEY}
USER = "user-canary-17"


async def records_of(running: Running, headers: dict[str, str]) -> list[Any]:
    """The usage records of one short session with these headers."""
    with capture_logs() as logs:
        socket = await running.connect(headers=KEY | headers)
        await socket.send_json({"setup": {}})
        async with asyncio.timeout(WAIT_S):
            await socket.receive()
        await socket.close()
        await gone(running)
    assert all(USER not in repr(line) for line in logs if line["event"] != "usage")
    return [line for line in logs if line["event"] == "usage"]


async def answer(running: Running, headers: dict[str, str], path: str = PATH, **options: Any) -> tuple[int, str]:
    """Status and words of a handshake that is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        await running.connect(path, headers=headers, **options)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    offers = {"Sec-WebSocket-Protocol": ",".join(options["protocols"])} if options else {}
    handshake = {**headers, **upgrade, **offers, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    async with running.http.get(running.addresses["listen"] + path, headers=handshake) as response:
        assert response.status == raised.value.status
        return response.status, (await response.json())["error"]["message"]


async def test_labels_come_back_in_the_record(start: Start, origin: Origin) -> None:
    """As they were given, and neither the handshake to Google nor a metric has them."""
    running = await start()
    labels = {"plan": "gold", "größe": "ä € 😀", "a" * 64: "b" * 64}
    text = json.dumps(labels)
    (record,) = await records_of(running, {"x-relay-end-user": USER, "x-relay-labels": text})
    assert (record["end_user"], record["labels"]) == (USER, labels)
    assert USER not in await running.metrics()
    (request,) = origin.requests
    assert not any(name.lower().startswith("x-relay") or USER in value for name, value in request.headers.items())
    assert USER not in str(request.rel_url)


async def test_a_session_without_labels_has_none(start: Start) -> None:
    """Both fields are there all the same."""
    running = await start()
    (record,) = await records_of(running, {})
    assert (record["end_user"], record["labels"]) == (None, {})


@pytest.mark.parametrize(
    "headers",
    [
        {"x-relay-end-user": ""},
        {"x-relay-end-user": "a" * 65},
        {"x-relay-end-user": "a\tb"},
        {"x-relay-labels": ""},
        {"x-relay-labels": "gold"},
        {"x-relay-labels": "[]"},
        {"x-relay-labels": "[" * 3000},
        {"x-relay-labels": '{"a": 1}'},
        {"x-relay-labels": '{"a": {"b": "c"}}'},
        {"x-relay-labels": '{"a": ""}'},
        {"x-relay-labels": '{"": "a"}'},
        {"x-relay-labels": '{"a": "\\u001b[31m"}'},
        {"x-relay-labels": '{"a": "\\ud800"}'},
        {"x-relay-labels": json.dumps({"a" * 65: "b"})},
        {"x-relay-labels": json.dumps({"a": "b" * 65})},
        {"x-relay-labels": json.dumps({str(number): "a" for number in range(9)})},
    ],
)
async def test_labels_that_break_a_rule_are_refused(start: Start, origin: Origin, headers: dict[str, str]) -> None:
    """With 400 and the name of the header, before anything is dialled."""
    running = await start()
    status, words = await answer(running, KEY | headers)
    assert status == 400
    assert words.startswith(f"{next(iter(headers))}: ")
    assert origin.requests == []
    assert 'relay_handshakes_refused_total{cause="labels",status="400"} 2.0' in await running.metrics()


async def test_only_a_backend_may_label(start: Start) -> None:
    """No web page, and nobody whose key stands in an address or a subprotocol."""
    running = await start(tenant={"origins": ["https://app.example"], "keys_in_url": True})
    user = {"x-relay-end-user": USER}
    assert await answer(running, KEY | user | {"Origin": "https://app.example"}) == (
        400,
        "x-relay-end-user and x-relay-labels are for app backends, not for web pages",
    )
    words = "x-relay-end-user and x-relay-labels need the key in a header"
    assert await answer(running, user, f"{PATH}?key={TENANT_KEY}") == (400, words)
    assert await answer(running, user, protocols=("relay.v1", f"relay.key.{TENANT_KEY}")) == (400, words)
    (record,) = await records_of(running, user)
    assert record["end_user"] == USER


async def test_a_session_keeps_the_labels_it_began_with(start: Start) -> None:
    """A client that comes back to it does not change whom it is billed to."""
    async with simulator() as gemini:
        running = await start(upstream={"base_url": gemini.url})
        with capture_logs() as logs:
            client = Client(running, labels={"x-relay-end-user": USER})
            await client.begin_parked()
            client.labels = {"x-relay-end-user": "somebody else"}
            await client.come_back()
            await client.socket.close()
            await gone(running)
    assert [line["end_user"] for line in logs if line["event"] == "usage"] == [USER]
