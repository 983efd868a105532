"""Which pages' browsers are let in: an exact list, and nothing that a browser adds by itself counts as a credential."""

import aiohttp
import pytest

from tests.net.conftest import TENANT_KEY, Origin, Start
from tests.net.raw import exchange, port_of, responses, upgrade

LISTED = ["https://app.example", "http://localhost:3000", "https://xn--bcher-kva.example"]
FOREIGN = [
    "null",
    "",
    "*",
    "https://",
    "app.example",
    "//app.example",
    "https:app.example",
    "http://app.example",
    "wss://app.example",
    "file://",
    "chrome-extension://app.example",
    "HTTPS://app.example",
    "https://APP.example",
    "https://App.Example",
    "https://app.example.",
    "https://app.example/",
    "https://app.example/page",
    "https://app.example:443",
    "https://app.example:8443",
    "https://app.example:",
    "https://app.example.evil",
    "https://app.example.evil.example",
    "https://evil-app.example",
    "https://evilapp.example",
    "https://a.app.example",
    "https://app.exampl",
    "https://app.example@evil.example",
    "https://evil.example#https://app.example",
    "https://evil.example?https://app.example",
    "https://app.example, https://evil.example",
    "https://evil.example https://app.example",
    "https://app.example%00.evil.example",
    "https://app%2eexample",
    "https://аpp.example",  # a Cyrillic letter
    "https://bücher.example",
    "https://ａpp.example",  # a full-width letter
    "http://localhost",
    "http://localhost:3001",
    "https://localhost:3000",
    "http://127.0.0.1:3000",
    "http://[::1]:3000",
]


@pytest.mark.threat("B2")
async def test_only_listed_origins_get_in(start: Start, origin: Origin) -> None:
    """Every variant is a 403 of its own, before anything is dialled, and repeats nothing."""
    running = await start(tenant={"origins": LISTED})
    port = port_of(running.addresses["listen"])
    for name in FOREIGN:
        sent = upgrade().replace(b"\r\n\r\n", f"\r\nOrigin: {name}\r\n\r\n".encode())
        (answer,) = responses(await exchange(port, sent))
        assert answer.status == answer.error["code"] == 403, name
        assert b"app" not in answer.body
    for name in LISTED:
        socket = await running.connect(headers={"x-goog-api-key": TENANT_KEY, "Origin": name})
        await socket.close()

    assert len(FOREIGN) > 30
    assert not origin.requests
    assert f'relay_handshakes_refused_total{{cause="origin",status="403"}} {len(FOREIGN)}.0' in await running.metrics()


@pytest.mark.threat("B2")
async def test_a_client_without_an_origin_is_no_browser(start: Start) -> None:
    """It is let in by its credential alone; a tenant without a list has no pages at all, one with a star has all."""
    none = await start()
    anywhere = await start(tenant={"origins": ["*"]})
    await (await none.connect()).close()
    await (await anywhere.connect()).close()
    for page in ("https://app.example", "null"):
        headers = {"x-goog-api-key": TENANT_KEY, "Origin": page}
        await (await anywhere.connect(headers=headers)).close()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await none.connect(headers=headers)
        assert refused.value.status == 403


@pytest.mark.threat("B2")
async def test_a_second_origin_header_changes_nothing(start: Start, origin: Origin) -> None:
    """Whichever of the two is listed."""
    running = await start(tenant={"origins": LISTED})
    for pair in (("https://evil.example", LISTED[0]), (LISTED[0], "https://evil.example")):
        lines = "".join(f"\r\nOrigin: {name}" for name in pair)
        sent = upgrade().replace(b"\r\n\r\n", f"{lines}\r\n\r\n".encode())
        (answer,) = responses(await exchange(port_of(running.addresses["listen"]), sent))
        assert answer.status == 403

    assert not origin.requests


@pytest.mark.threat("B3")
@pytest.mark.parametrize("name", ["key", "access_token", "x-goog-api-key", "Authorization", "relay.key", "session"])
async def test_cookies_never_authenticate(start: Start, origin: Origin, name: str) -> None:
    """No name and form of one is looked at, on any endpoint, of a listed page or none; nor do they get in the way."""
    running = await start(tenant={"origins": LISTED}, admin={"token": TENANT_KEY}, demo={"tenant": "acme"})
    cookies = f"{name}={TENANT_KEY}; {name}=Bearer {TENANT_KEY}; {TENANT_KEY}"
    listen, admin = running.addresses["listen"], running.addresses["admin"]
    for page in ({}, {"Origin": LISTED[0]}):
        headers = {"Cookie": cookies, **page}
        for path in ("/v1/live", "/v1beta/auth_tokens", "/v1/auth_tokens:revoke"):
            upgraded = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
            method, more = ("GET", upgraded) if path == "/v1/live" else ("POST", {})
            async with running.http.request(method, listen + path, headers=headers | more) as response:
                assert response.status == 401, path
                assert "Set-Cookie" not in response.headers
        async with running.http.get(f"{admin}/admin/sessions", headers=headers) as response:
            assert response.status == 401
            assert "Set-Cookie" not in response.headers
    socket = await running.connect(headers={"x-goog-api-key": TENANT_KEY, "Cookie": f"{name}=other"})
    await socket.close()

    assert not origin.requests
