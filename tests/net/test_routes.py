"""Every address of both listeners, with every kind of credential: one table, and nothing beside it."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from relay import web as pages
from relay.net import faults, server
from relay.net.minting import MINT_PATHS, REVOKE_PATHS
from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, Running, Start
from tests.net.raw import Answer, port_of, responses, upgrade

OPERATOR = "operator-token-0123456789"
CREDENTIALS = {"none": "", "wrong": "wrong-key-0123456789", "tenant": TENANT_KEY, "operator": OPERATOR}
"""In the order of each row's four statuses."""
OTHER_METHODS = ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
OVERRIDES = (
    "X-HTTP-Method-Override: {method}",
    "X-HTTP-Method: {method}",
    "X-Method-Override: {method}",
    "X-Original-URL: /admin/sessions",
    "X-Rewrite-URL: /admin/sessions",
    "X-Forwarded-Host: localhost",
    "X-Forwarded-Prefix: /admin",
)

Row = tuple[str, str, tuple[int, int, int, int]]


def everybody(status: int) -> tuple[int, int, int, int]:
    """The same answer for all four."""
    return (status, status, status, status)


DEMO = {*pages.demo(), "/demo/config.json"}
PUBLIC_PATHS = server.ENDPOINTS | MINT_PATHS | REVOKE_PATHS | {faults.PATH} | DEMO
CHECKS = ("/healthz", "/readyz", "/metrics")
API = (
    "/admin/sessions",
    "/admin/usage",
    "/admin/tenants",
    "/admin/tenants/acme",
    "/admin/activity",
    "/admin/openapi.json",
)


def public() -> Iterator[Row]:
    """What the public listener answers."""
    for path in sorted(server.ENDPOINTS):
        yield "UPGRADE", path, (401, 401, 101, 401)
        yield "GET", path, everybody(426)
        for method in ("POST", "HEAD", *OTHER_METHODS):
            yield method, path, everybody(405)
    for path in sorted(MINT_PATHS):
        yield "POST", path, (401, 401, 200, 401)
    for path in sorted(REVOKE_PATHS):
        yield "POST", path, (401, 401, 400, 401)
    yield "POST", faults.PATH, (401, 401, 403, 401)
    for path in sorted(MINT_PATHS | REVOKE_PATHS | {faults.PATH}):
        for method in ("GET", "UPGRADE", "HEAD", *OTHER_METHODS):
            yield method, path, everybody(405)
    for path in sorted(DEMO):
        yield "GET", path, everybody(200)
        yield "HEAD", path, everybody(200)
        yield "UPGRADE", path, everybody(200)
        for method in ("POST", *OTHER_METHODS):
            yield method, path, everybody(405)


def operators() -> Iterator[Row]:
    """What the operator's listener answers."""
    for path in CHECKS:
        yield "GET", path, everybody(200)
        yield "HEAD", path, everybody(200)
        yield "UPGRADE", path, everybody(200)
        for method in ("POST", *OTHER_METHODS):
            yield method, path, everybody(405)
    yield "GET", "/admin", everybody(308)
    for path in sorted(pages.operator()):
        yield "GET", path, everybody(200)
        for method in ("POST", *OTHER_METHODS):
            yield method, path, everybody(405)
    for path in API:
        yield "GET", path, (401, 401, 401, 200)
        yield "UPGRADE", path, (401, 401, 401, 200)
        for method in ("POST", *OTHER_METHODS):
            yield method, path, (401, 401, 401, 405)
    yield "DELETE", "/admin/sessions/1", (401, 401, 401, 404)
    yield "POST", "/admin/sessions/1", (401, 401, 401, 405)
    yield "GET", "/admin/nothing", (401, 401, 401, 404)


ELSEWHERE = {
    "listen": [
        *CHECKS,
        "/admin",
        "/admin/",
        *API,
        "//metrics",
        "/demo",
        "/demo/",
        "/favicon.ico",
        "/robots.txt",
        "/.env",
    ],
    "admin": [*(PUBLIC_PATHS - {"/"}), "/", "/demo/", "//healthz", "/favicon.ico", "/.env"],
}
"""Addresses that only the other listener has, or none."""
SPELLINGS = {
    "listen": ["/v1/live", "/v1beta/auth_tokens", "/demo/config.json", "/demo/demo.js"],
    "admin": ["/metrics", "/healthz", "/admin/openapi.json", "/admin/usage"],
}


def misspelt(path: str) -> list[str]:
    """The same path in spellings that some servers take for it."""
    first, last, rest = path[1], path[-1], path[1:]
    found = [
        path + "/",
        path + "/.",
        path + "%20",
        path + "%00",
        path + ";a=b",
        path + ".",
        path[:-1] + last.upper(),
        path[:-1] + f"%{ord(last):02x}",
        f"/%{ord(first):02x}{path[2:]}",
        "/." + path,
        "/%2e" + path,
        "/x/.." + path,
        "/x/%2e%2e" + path,
        "/%2e%2e" + path,
        "/" + rest.replace("/", "%2f"),
        "/" + rest.replace("/", "%2F"),
        "/%2f" + rest,
        "/" + rest.replace("/", "\\"),
        path.replace("/", "/./"),
    ]
    return [variant for variant in found if variant != path]


STRICT = {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"}


async def ask(running: Running, listener: str, method: str, path: str, key: str, *lines: str) -> Answer:
    """One request on a connection of its own; of an upgrade only the answer's head."""
    credentials = [f"x-goog-api-key: {key}", f"Authorization: Bearer {key}"] if key else []
    if method == "UPGRADE":
        sent = upgrade(*credentials, *lines, target=path, x_goog_api_key="")
    else:
        ends = ["Host: localhost", "Connection: close", "Content-Length: 2", *credentials, *lines, "", ""]
        sent = "\r\n".join([f"{method} {path} HTTP/1.1", *ends]).encode() + b"{}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running.addresses[listener]))
    writer.write(sent)
    async with asyncio.timeout(WAIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        body = b"" if b" 101 " in head[:14] or method == "UPGRADE" else await reader.read()
    writer.close()
    if method == "HEAD":
        head = head.replace(b"Content-Length: ", b"X-Length: ")
        assert body == b""
    if method == "UPGRADE":
        head = head.replace(b"Content-Length: ", b"X-Length: ")
    (answer,) = responses(head + body)
    return answer


@pytest.fixture
async def running(start: Start) -> Running:
    """A relay with everything it can have: demo page, its faults, the operator's API."""
    return await start(demo={"tenant": "acme"}, demo_faults={"cut": lambda: 1}, admin={"token": OPERATOR})


def assert_plain(answer: Answer, listener: str) -> None:
    """What every answer has, and what none has."""
    assert answer.headers["server"] == "relay"
    assert answer.status == 101 or answer.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("access-control-") or name == "set-cookie"]
    assert TENANT_KEY.encode() not in answer.body
    assert OPERATOR.encode() not in answer.body
    assert b"Traceback" not in answer.body
    if listener == "listen" and answer.status >= 400 and answer.body:
        assert json.loads(answer.body)["error"]["code"] == answer.status


@pytest.mark.threat("F3", "A8")
@pytest.mark.parametrize("listener", ["listen", "admin"])
async def test_the_table_is_what_is_answered(running: Running, origin: Origin, listener: str) -> None:
    """Each address, method and credential; a page's Origin and a wish for another method change nothing."""
    for method, path, statuses in public() if listener == "listen" else operators():
        for (name, key), status in zip(CREDENTIALS.items(), statuses, strict=True):
            answer = await ask(running, listener, method, path, key)
            assert answer.status == status, (method, path, name)
            assert_plain(answer, listener)
    assert not origin.requests


@pytest.mark.threat("F3", "A8")
@pytest.mark.parametrize("listener", ["listen", "admin"])
async def test_no_header_makes_it_another_request(running: Running, listener: str) -> None:
    """Methods and paths are what the request line says; a foreign origin gets no word that lets it read."""
    for method, path, statuses in public() if listener == "listen" else operators():
        if method not in {"GET", "POST"} or (path in pages.demo() and path != "/"):
            continue
        wish = "DELETE" if method == "GET" else "GET"
        lines = [line.format(method=wish) for line in OVERRIDES]
        if listener == "admin":
            lines += ["Origin: https://evil.example", "Access-Control-Request-Method: GET"]
        for key, status in zip(CREDENTIALS.values(), statuses, strict=True):
            answer = await ask(running, listener, method, path, key, *lines)
            assert answer.status == status, (method, path)
            assert_plain(answer, listener)


@pytest.mark.threat("F3")
@pytest.mark.parametrize("listener", ["listen", "admin"])
async def test_what_is_not_in_the_table_is_not_there(running: Running, origin: Origin, listener: str) -> None:
    """404 for the other listener's addresses and for every other spelling of one's own, whoever asks."""
    spelt = [variant for path in SPELLINGS[listener] for variant in misspelt(path)]
    for path in (*ELSEWHERE[listener], *spelt):
        for method in ("GET", "POST", "UPGRADE"):
            for key in ("", TENANT_KEY, OPERATOR):
                answer = await ask(running, listener, method, path, key)
                a_stranger = listener == "admin" and key != OPERATOR  # hears 401 for all that may be below /admin
                assert answer.status in ({401, 404} if a_stranger else {404}), (method, path)
                assert_plain(answer, listener)
    assert not origin.requests


@pytest.mark.threat("F3")
async def test_without_a_token_there_is_no_operators_api(start: Start) -> None:
    """Not a page, not a path: 404 for everybody."""
    running = await start()
    for path in ("/admin", *pages.operator(), *API):
        for key in CREDENTIALS.values():
            assert (await ask(running, "admin", "GET", path, key)).status == 404


@pytest.mark.threat("F3")
async def test_the_table_is_complete(running: Running) -> None:
    """It has every address that the code knows, of both listeners."""
    (admin,) = (one for one in running.relay._listeners if "/admin/sessions/{id}" in _resources(one))

    assert {path for _, path, _ in public()} == PUBLIC_PATHS
    listed = {path.replace("/acme", "/{id}").replace("/1", "/{id}") for _, path, _ in operators()} - {"/admin/nothing"}
    assert listed == _resources(admin)


def _resources(listener: object) -> set[str]:
    runner = listener._runner  # type: ignore[attr-defined]
    return {resource.canonical for resource in runner.app.router.resources()}


@pytest.mark.threat("F4")
async def test_pages_come_from_memory(running: Running) -> None:
    """A fixed list: no path leads to a file, no query and no range changes what comes, and no site may frame it."""
    listed = {
        "listen": {**{path: asset.body for path, asset in pages.demo().items()}},
        "admin": {path: asset.body for path, asset in pages.operator().items()},
    }
    outside = (
        "../relay.yaml",
        "..%2frelay.yaml",
        "%2e%2e/%2e%2e/etc/passwd",
        "..\\..\\etc\\passwd",
        "....//....//etc/passwd",
        "%252e%252e%252fetc%252fpasswd",
        "/etc/passwd",
        "demo.js%00.html",
        "demo.js%00",
        "%00",
        "~root/.ssh/id_rsa",
        "index.html",
        "__init__.py",
        "demo.js.map",
        "con",
        "C:%5cwindows",
        "file:///etc/passwd",
    )
    for listener, assets in listed.items():
        root = "/demo/" if listener == "listen" else "/admin/"
        for path, body in assets.items():
            for request, lines in ((path, ()), (path, ("Range: bytes=0-3", "If-Range: x"))):
                answer = await ask(running, listener, "GET", request, "", *lines)
                assert (answer.status, answer.body) == (200, body)
                assert answer.headers["cache-control"] == "no-store"
                assert answer.headers["referrer-policy"] == "no-referrer"
                policy = answer.headers["content-security-policy"].split("; ")
                assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= {
                    *policy
                }
                assert "unsafe" not in str(policy)
        page = "/" if listener == "listen" else "/admin/"
        script = "?q=%3Cscript%3Ealert(1)%3C/script%3E&key=%22onload=%22"
        assert (await ask(running, listener, "GET", page + script, "")).body == assets[page], (
            "nothing of it is repeated"
        )
        for name in outside:
            answer = await ask(running, listener, "GET", root + name, OPERATOR)
            assert answer.status == 404, name
            assert b"root:" not in answer.body
