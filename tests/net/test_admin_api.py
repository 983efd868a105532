"""The operator's API: who may ask, what is answered, and that the OpenAPI document says exactly that."""

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate as validate_openapi
from referencing import Registry, Resource
from structlog.testing import capture_logs

from relay import __version__
from relay.core.secret import Secret
from relay.web import admin_description
from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, Running, Start, end_of
from tests.net.continuing import Client, simulator
from tests.net.test_budgets import heard, report, says, speak

TOKEN = "operator-token-0123456789"
DAY = re.compile(r"\d{4}-\d\d-\d\d")
DOCUMENT = admin_description(__version__)

Answer = tuple[int, Any]


async def ask(running: Running, path: str, method: str = "GET", token: str | None = TOKEN, **headers: str) -> Answer:
    """Status and JSON of one request, held against the OpenAPI document and against what every answer must have."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with running.http.request(method, running.addresses["admin"] + path, headers=headers) as response:
        body = await response.json()
        assert response.headers["Cache-Control"] == "no-store"
        assert not [name for name in response.headers if name.lower().startswith("access-control-")]
        conforms(method, path.partition("?")[0], response.status, body)
        return response.status, body


def conforms(method: str, path: str, status: int, body: Any) -> None:
    """The answer has the form that the document promises for this operation and status."""
    templates = {template: re.sub(r"\{\w+\}", "[^/]+", template) for template in DOCUMENT["paths"]}
    template = next((name for name, pattern in templates.items() if re.fullmatch(pattern, path)), None)
    operation = DOCUMENT["paths"].get(template, {}).get(method.lower())
    if operation is None:
        schema: Mapping[str, Any] = {"$ref": "#/components/schemas/Error"}
    else:
        answers = operation["responses"]
        assert str(status) in answers, f"{method} {path} answered {status}, of which the document knows nothing"
        answer = answers[str(status)]
        if "$ref" in answer:
            answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        schema = answer["content"]["application/json"]["schema"]
    absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:api#/'))
    everything = json.loads(json.dumps(DOCUMENT).replace('"#/', '"urn:api#/'))
    registry: Registry[Any] = Registry().with_resource("urn:api", Resource.opaque(everything))
    Draft202012Validator(absolute, registry=registry).validate(body)


def operator(**more: Any) -> dict[str, Any]:
    """An admin section with a token."""
    return {"port": 0, "token": TOKEN, **more}


async def test_the_document_is_openapi_and_has_every_route(start: Start) -> None:
    """Paths and methods of the document are those that are served, and it is served itself."""
    validate_openapi(DOCUMENT)
    running = await start(admin=operator())
    status, served = await ask(running, "/admin/openapi.json")
    assert (status, served) == (200, DOCUMENT)
    api = running.relay._admin_api(Secret(TOKEN))
    documented = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert documented == set(api.routes)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", f"/admin/{name}") for name in ("sessions", "usage", "tenants", "tenants/acme", "activity")),
        ("GET", "/admin/openapi.json"),
        ("DELETE", "/admin/sessions/0123456789abcdef"),
        ("GET", "/admin/nothing"),
        ("POST", "/admin/sessions"),
    ],
)
async def test_nothing_is_said_without_the_token(start: Start, method: str, path: str) -> None:
    """A missing, a wrong, a longer and a non-ASCII token, and a token in the wrong place, are all answered with 401."""
    running = await start(admin=operator())
    for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1], TOKEN.upper()):
        status, body = await ask(running, path, method, token)
        assert (status, body["error"]["status"]) == (401, "UNAUTHENTICATED")
        assert TOKEN not in json.dumps(body)
    for headers in ({"Authorization": f"Basic {TOKEN}"}, {"x-goog-api-key": TOKEN}, {"Cookie": f"token={TOKEN}"}):
        assert (await ask(running, path, method, None, **headers))[0] == 401
    assert (await ask(running, f"{path}?token={TOKEN}", method, None))[0] == 401
    assert 'relay_handshakes_refused_total{cause="admin_token",status="401"}' in await running.metrics()


async def test_without_a_token_in_the_configuration_there_is_no_api(start: Start) -> None:
    """Only health, readiness and metrics are open then, and with a token they stay so."""
    closed, opened = await start(), await start(admin=operator())
    for path in ("/admin", "/admin/", "/admin/sessions", "/admin/openapi.json"):
        async with closed.http.get(closed.addresses["admin"] + path) as response:
            assert response.status == 404
    for path in ("/healthz", "/readyz", "/metrics"):
        for running in (closed, opened):
            async with running.http.get(running.addresses["admin"] + path) as response:
                assert response.status == 200


async def test_the_public_listener_knows_nothing_of_it(start: Start) -> None:
    """The operator's address is another port, whatever token is sent."""
    running = await start(admin=operator())
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/admin/", "/admin/sessions"):
        async with running.http.get(running.addresses["listen"] + path, headers=headers) as response:
            assert response.status == 404


async def test_a_live_session_is_listed_with_what_it_used(start: Start, origin: Origin) -> None:
    """Tokens, cost and counts so far, in the state it is in; nothing that was said, no key and no handle."""
    origin.script = says(report(1_000, modelTurn={"parts": [{"text": "a secret answer"}]}, turnComplete=True))
    running = await start(admin=operator())
    socket = await running.conversation()
    await speak(socket, "a secret question")
    await heard(socket)
    status, body = await ask(running, "/admin/sessions")
    (session,) = body["sessions"]
    await socket.close()

    assert (status, body["currency"]) == (200, "USD")
    assert (session["tenant"], session["policy"], session["state"]) == ("acme", "under-test", "relaying")
    assert session["model"] == "models/gemini-3.8-live"
    assert (session["tokens"], session["tokens_by_kind"]) == (1_000, {"prompt.unattributed": 1_000})
    assert session["cost"] == "0.00075000"
    assert (session["frames_up"], session["frames_down"], session["turns"]) == (1, 2, 1)
    assert 0 <= session["age_s"] < WAIT_S
    assert "secret" not in json.dumps(body)
    assert TENANT_KEY not in json.dumps(body)


async def test_a_listed_session_says_for_whom_it_is(start: Start) -> None:
    """In the backend's own words, whatever they are; without any, both fields are there and empty."""
    running = await start(admin=operator())
    user, labels = '"><b>user</b>', {"plan": "gold", "größe": "=1+1"}
    headers = {"x-goog-api-key": TENANT_KEY, "x-relay-end-user": user, "x-relay-labels": json.dumps(labels)}
    sockets = [await running.connect(headers=headers), await running.conversation()]
    sessions = (await ask(running, "/admin/sessions"))[1]["sessions"]
    for socket in sockets:
        await socket.close()
    assert [(session["end_user"], session["labels"]) for session in sessions] == [(user, labels), (None, {})]


async def test_sessions_can_be_asked_for_by_tenant(start: Start) -> None:
    """One tenant's, another one's, nobody's."""
    other = {"id": "other", "keys": ["another-tenant-key-0123"], "policy": "under-test"}
    running = await start(admin=operator(), tenants=[other])
    sockets = [await running.conversation(), await running.conversation(key="another-tenant-key-0123")]
    counts = [
        len((await ask(running, f"/admin/sessions{query}"))[1]["sessions"])
        for query in ("", "?tenant=acme", "?tenant=other", "?tenant=nobody")
    ]
    for socket in sockets:
        await socket.close()
    assert counts == [2, 1, 1, 0]


async def test_a_session_can_be_ended(start: Start) -> None:
    """Its client gets a code and words of its own, its log line says whose doing it was, and it is gone at once."""
    running = await start(admin=operator())
    socket = await running.conversation()
    (session,) = (await ask(running, "/admin/sessions"))[1]["sessions"]
    with capture_logs() as logs:
        status, body = await ask(running, f"/admin/sessions/{session['id']}", "DELETE")
        assert await end_of(socket) == (1008, "ended by the operator")
        async with asyncio.timeout(WAIT_S):
            while len(running.relay.registry):
                await asyncio.sleep(0.01)
    assert (status, body) == (200, {"id": session["id"], "reason": "ended_by_operator", "code": 1008, "state": "ended"})
    line = next(line for line in logs if line["event"] == "session")
    assert (line["reason"], line["blame"]) == ("ended_by_operator", "relay")
    assert (await ask(running, "/admin/sessions"))[1]["sessions"] == []
    assert (await ask(running, f"/admin/sessions/{session['id']}", "DELETE"))[0] == 404


async def test_a_parked_session_is_shown_as_such_and_can_be_ended(start: Start) -> None:
    """Its client is gone, so nobody else could end it; the client then finds nothing to come back to."""
    async with simulator() as google:
        running = await start(admin=operator(), upstream={"base_url": google.url})
        client = Client(running)
        await client.begin()
        client.socket._response.connection.transport.abort()  # type: ignore[union-attr]
        session: dict[str, Any] = {}
        async with asyncio.timeout(WAIT_S):
            while session.get("state") != "parked":
                await asyncio.sleep(0.01)
                (session,) = (await ask(running, "/admin/sessions"))[1]["sessions"]
        tenant = (await ask(running, "/admin/tenants/acme"))[1]
        assert (tenant["sessions"], tenant["parked"]) == (1, 1)
        assert client.handle not in json.dumps(session)
        assert (await ask(running, f"/admin/sessions/{session['id']}", "DELETE"))[0] == 200
        async with asyncio.timeout(WAIT_S):
            while len(running.relay.registry):
                await asyncio.sleep(0.01)


async def test_usage_is_listed_by_day_model_and_session(start: Start, origin: Origin) -> None:
    """The same tokens under three keys, exact in money, with everything that was counted beside it."""
    origin.script = says(report(1_000, turnComplete=True))
    running = await start(admin=operator())
    socket = await running.conversation()
    await speak(socket)
    await heard(socket)
    await socket.close()
    keys = {}
    async with asyncio.timeout(WAIT_S):
        for by in ("day", "model", "session"):
            rows: list[dict[str, Any]] = []
            while not rows or not rows[0]["amounts"].get("session_ms"):  # which is charged at the end
                rows = (await ask(running, f"/admin/usage?by={by}"))[1]["rows"]
            (row,) = rows
            keys[by] = row[by]
            assert (row["tenant"], row["sessions"], row["tokens"], row["cost"]) == ("acme", 1, 1_000, "0.00075")
            assert row["amounts"]["prompt.unattributed"] == 1_000
    assert DAY.fullmatch(keys["day"])
    assert keys["model"] == "gemini-3.8-live"
    assert re.fullmatch(r"[0-9a-f]{16}", keys["session"])
    assert (await ask(running, "/admin/usage?tenant=other"))[1]["rows"] == []
    assert (await ask(running, "/admin/usage?from=2020-01-01&to=2020-01-31"))[1]["rows"] == []


async def test_usage_comes_in_pages(start: Start) -> None:
    """Every row once, and a place to go on from while there is one."""
    running = await start(admin=operator())
    for _ in range(3):
        await (await running.conversation()).close()
    found: list[str] = []
    async with asyncio.timeout(WAIT_S):
        while len((await ask(running, "/admin/usage?by=session"))[1]["rows"]) < 3:
            await asyncio.sleep(0.05)
    offset: int | None = 0
    while offset is not None:
        _, body = await ask(running, f"/admin/usage?by=session&limit=2&offset={offset}")
        found += [row["session"] for row in body["rows"]]
        offset = body["next_offset"]
    assert len(set(found)) == len(found) == 3


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/admin/usage?by=hour", "by"),
        ("/admin/usage?by=", "by"),
        ("/admin/usage?from=yesterday", "from"),
        ("/admin/usage?from=20261125", "from"),
        ("/admin/usage?to=2026-02-30", "to"),
        ("/admin/usage?to=0001-01-01", "to"),
        ("/admin/usage?from=2026-11-25&to=2026-11-24", "from"),
        ("/admin/usage?from=2024-01-01&to=2026-01-01", "from"),
        ("/admin/usage?limit=0", "limit"),
        ("/admin/usage?limit=2001", "limit"),
        ("/admin/usage?limit=%C2%B2", "limit"),
        ("/admin/usage?offset=-1", "offset"),
        ("/admin/usage?offset=1e3", "offset"),
        ("/admin/usage?offset=99999999999999999999999", "offset"),
        ("/admin/usage?tenant=", "tenant"),
        ("/admin/usage?tenant=" + "x" * 201, "tenant"),
        ("/admin/usage?form=2026-11-25", "form"),
        ("/admin/sessions?state=parked", "state"),
        ("/admin/tenants?id=acme", "id"),
        ("/admin/tenants/acme?by=day", "by"),
        ("/admin/activity?since=1", "since"),
        ("/admin/openapi.json?x=1", "x"),
    ],
)
async def test_a_bad_parameter_is_named(start: Start, path: str, parameter: str) -> None:
    """Unreadable, out of bounds, contradictory or misspelt: 400 that says which one and why."""
    running = await start(admin=operator())
    status, body = await ask(running, path)
    assert (status, body["error"]["parameter"]) == (400, parameter)
    assert body["error"]["message"].startswith(f"{parameter}: ")


async def test_what_is_not_there_is_said_to_be_not_there(start: Start) -> None:
    """Addresses, sessions, tenants and methods; names of any characters."""
    running = await start(admin=operator())
    for path in ("/admin/nothing", "/admin/tenants/nobody", "/admin/tenants/%00%0A%7B%7D", "/admin/sessions/x/y"):
        assert (await ask(running, path))[0] == 404
    assert (await ask(running, "/admin/sessions/..%2Fx", "DELETE"))[0] == 404
    assert (await ask(running, "/admin/sessions", "DELETE"))[0] == 405
    assert (await ask(running, "/admin/usage", "POST"))[0] == 405


async def test_a_tenant_s_limits_and_what_is_left_of_them(start: Start, origin: Origin) -> None:
    """Budgets in units people read, exact, with the session in progress in them; and the same in the list of all."""
    origin.script = says(report(1_000, turnComplete=True))
    quotas = {
        "concurrent_sessions": 3,
        "starts_per_minute": 60,
        "day": {"tokens": 4_000, "audio": "90s"},
        "month": {"money": "0.0015"},
    }
    running = await start(admin=operator(), tenant={"quotas": quotas})
    socket = await running.conversation()
    await speak(socket)
    await heard(socket)
    status, tenant = await ask(running, "/admin/tenants/acme")
    _, everybody = await ask(running, "/admin/tenants")
    await socket.close()

    budgets = {f"{one['window']} {one['measure']}": one for one in tenant["budgets"]}
    assert (status, tenant["sessions"], tenant["sessions_left"], tenant["current"]) == (200, 1, 2, True)
    assert (tenant["limits"]["concurrent_sessions"], tenant["limits"]["starts_per_minute"]) == (3, 60)
    assert tenant["used"]["month"] == {"tokens": 1_000, "audio_s": 0.0, "cost": "0.00075"}
    money = budgets["month money"]
    assert (money["limit"], money["used"], money["left"], money["used_ratio"]) == ("0.0015", "0.00075", "0.00075", 0.5)
    tokens, audio = budgets["day tokens"], budgets["day audio"]
    assert (tokens["limit"], tokens["used"], tokens["left"]) == ("4000", "1000", "3000")
    assert (audio["unit"], audio["limit"], audio["left"]) == ("seconds", "90", "90")
    assert [one["id"] for one in everybody["tenants"]] == ["acme"]


async def test_what_a_tenant_used_earlier_is_asked_of_the_ledger(start: Start, origin: Origin, tmp_path: Path) -> None:
    """After a restart, before any session began, the account of this process would be empty."""
    origin.script = says(report(1_000, turnComplete=True))
    store = {"path": str(tmp_path / "usage.db")}
    first = await start(admin=operator(), store=store)
    socket = await first.conversation()
    await speak(socket)
    await heard(socket)
    await socket.close()
    await first.relay.stop()
    second = await start(admin=operator(), store=store)
    _, tenant = await ask(second, "/admin/tenants/acme")
    assert tenant["used"]["day"]["tokens"] == 1_000


async def test_a_ledger_that_fails_is_said_to_fail(start: Start, tmp_path: Path) -> None:
    """Usage is answered with 503; tenants with what this process knows, and a word that it is not all."""
    running = await start(admin=operator(), store={"path": str(tmp_path / "usage.db")})
    running.relay._ledger._file._connection.close()  # type: ignore[attr-defined]
    status, body = await ask(running, "/admin/usage")
    assert (status, body["error"]["status"]) == (503, "UNAVAILABLE")
    status, tenant = await ask(running, "/admin/tenants/acme")
    assert (status, tenant["current"]) == (200, False)


async def test_the_last_hour_is_told(start: Start, origin: Origin) -> None:
    """Samples of what was used, and what happened: ends, and refusals of clients that could have been let in."""
    origin.script = says(report(1_000, turnComplete=True))
    running = await start(admin=operator(), tenant={"quotas": {"concurrent_sessions": 1}})
    socket = await running.conversation()
    await speak(socket)
    await heard(socket)
    for _ in range(2):
        with pytest.raises(Exception, match="429"):
            await running.connect()
    running.relay._diary.sample()
    (session,) = (await ask(running, "/admin/sessions"))[1]["sessions"]
    await ask(running, f"/admin/sessions/{session['id']}", "DELETE")
    async with asyncio.timeout(WAIT_S):
        while len(running.relay.registry):
            await asyncio.sleep(0.01)
    _, body = await ask(running, "/admin/activity")
    sample, current = body["samples"]
    assert (sample["tokens"], sample["cost"], sample["sessions"]) == (1_000, "0.00075", 1)
    assert (current["tokens"], current["sessions"]) == (0, 0), "since then"
    refused, ended = body["events"]
    assert (refused["kind"], refused["cause"], refused["count"]) == ("refused", "concurrent_sessions", 2)
    assert (ended["kind"], ended["cause"], ended["bad"]) == ("ended", "ended_by_operator", False)
    assert (await ask(running, "/admin/activity?tenant=other"))[1]["events"] == []


async def test_the_page_is_there_for_everybody_and_has_no_secret(start: Start) -> None:
    """Static, strict about what it may load, and no answer of it has the token in it."""
    running = await start(admin=operator())
    admin = running.addresses["admin"]
    async with running.http.get(f"{admin}/admin", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (308, "/admin/")
    for path in ("/admin/", "/admin/dashboard.js", "/admin/base.css", "/admin/style.css"):
        async with running.http.get(admin + path) as response:
            text = await response.text()
            assert response.status == 200
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert response.headers["Cache-Control"] == "no-store"
            assert TOKEN not in text
