"""Whoever answers in Gemini's place: it gets the key only if it is Gemini, and can give it to nobody."""

import asyncio
import base64
import datetime
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import trustme
from aiohttp import web

from relay.core.secret import Secret
from relay.net.credentials import ApiKey
from relay.net.upstream import DialError, Target, Upstream
from tests.net.conftest import KEY, PATH, WAIT_S, Origin, Start, end_of

# TLS ------------------------------------------------------------------------------------------------------------------

PAST = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that the relay trusts beside none other."""
    made = trustme.CA()
    trusting = ssl.create_default_context()
    made.configure_trust(trusting)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)
    return made


@asynccontextmanager
async def listening(certificate: trustme.LeafCert | None = None) -> AsyncIterator[tuple[int, list[web.BaseRequest]]]:
    """A server that notes what reaches it, and refuses it."""
    asked: list[web.BaseRequest] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(status=418)

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1], asked
    finally:
        await runner.cleanup()


async def refusal(url: str) -> DialError:
    """How a dial fails."""
    upstream = Upstream(Target(url + PATH, WAIT_S, 1024), ApiKey(Secret(KEY)))
    await upstream.start()
    try:
        with pytest.raises(DialError) as failed:
            await upstream.dial()
    finally:
        await upstream.stop()
    return failed.value


CERTIFICATES: dict[str, Callable[[trustme.CA], trustme.LeafCert]] = {
    "another name": lambda authority: authority.issue_cert("elsewhere.example"),
    "an address that is not its own": lambda authority: authority.issue_cert("127.0.0.2"),
    "expired": lambda authority: authority.issue_cert("127.0.0.1", not_before=PAST, not_after=PAST.replace(year=2021)),
    "not valid yet": lambda authority: authority.issue_cert("127.0.0.1", not_before=PAST.replace(year=2090)),
    "of an authority nobody knows": lambda _authority: trustme.CA().issue_cert("127.0.0.1"),
}


@pytest.mark.threat("A7")
@pytest.mark.parametrize("issue", CERTIFICATES.values(), ids=CERTIFICATES.keys())
async def test_a_certificate_that_does_not_fit_gets_no_key(
    authority: trustme.CA, issue: Callable[[trustme.CA], trustme.LeafCert]
) -> None:
    """Nothing of the request is sent."""
    async with listening(issue(authority)) as (port, asked):
        failed = await refusal(f"wss://127.0.0.1:{port}")

    assert (failed.status, str(failed)) == (0, "certificate")
    assert asked == []


@pytest.mark.threat("A7")
async def test_one_that_fits_does(authority: trustme.CA) -> None:
    """The counter-test: with it, the same server is asked."""
    async with listening(authority.issue_cert("127.0.0.1")) as (port, asked):
        failed = await refusal(f"wss://127.0.0.1:{port}")

    assert failed.status == 418
    assert asked[0].headers["x-goog-api-key"] == KEY


@pytest.mark.threat("A7")
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_proxy_of_the_environment_sees_nothing(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """It would see the key, or where the relay goes."""
    async with listening() as (port, asked), listening() as (target, reached):
        for name in ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        await refusal(f"{scheme}://127.0.0.1:{target}")

    assert asked == []
    assert len(reached) == (scheme == "ws")


# Redirects ------------------------------------------------------------------------------------------------------------


@pytest.mark.threat("A6", "F6")
@pytest.mark.parametrize("status", [300, 301, 302, 303, 305, 307, 308])
@pytest.mark.parametrize("target", ["http", "ws", "same"])
async def test_a_redirect_takes_the_key_nowhere(start: Start, origin: Origin, status: int, target: str) -> None:
    """Neither to another port nor to the same one again; the client learns that Gemini is out of reach."""
    async with listening() as (port, asked):
        location = {"same": origin.url + PATH, "http": f"http://127.0.0.1:{port}/", "ws": f"ws://127.0.0.1:{port}/"}
        origin.refuse = lambda _request: web.Response(status=status, headers={"Location": location[target]})
        running = await start(handover={"dials_per_minute": 1}, upstream={"setup_deadline": "300ms"})
        socket = await running.connect()
        await socket.send_str('{"setup":{}}')
        code, reason = await end_of(socket)

    assert asked == []
    assert len(origin.requests) == 1
    assert (code, reason) == (1013, "Gemini can't be reached, try again later")


# Echoes ---------------------------------------------------------------------------------------------------------------

ECHOES = [
    f"API key {KEY} not valid. Please pass a valid API key.",
    KEY,
    f"Internal error: header x-goog-api-key={KEY}",
    f"{'é' * 40}{KEY}",
    base64.b64encode(KEY.encode()).decode(),
    KEY.encode().hex(),
    quote(f"?key={KEY}", safe=""),
    f"\r\n\x1b[31m{KEY}",
    "models/" + KEY,
]


def hidden(text: str) -> bool:
    """Whether nothing of the key is in a text, in any spelling."""
    forms = (KEY, KEY.encode().hex(), base64.b64encode(KEY.encode()).decode(), quote(KEY, safe=""))
    return not any(form[:12] in text for form in forms)


@pytest.mark.threat("A2", "A1")
@pytest.mark.parametrize("early", [True, False], ids=["before the setup's answer", "later"])
@pytest.mark.parametrize("code", [1000, 1007, 1008, 1011])
async def test_an_echo_in_a_close_reason_reaches_nobody(
    start: Start, origin: Origin, capsys: pytest.CaptureFixture[str], code: int, early: bool
) -> None:
    """The client gets words of ours, of at most 123 bytes; the log gets Google's without the key."""
    for echo in ECHOES:
        message = echo.encode()[:123].decode("utf-8", "ignore").encode()

        async def script(socket: web.WebSocketResponse, message: bytes = message) -> None:
            await socket.receive()
            if not early:
                await socket.send_bytes(b'{"setupComplete": {}}')
            await socket.close(code=code, message=message)

        origin.script = script
        running = await start(handover={"dials_per_minute": 1, "deadline": "50ms"}, upstream={"setup_deadline": "50ms"})
        socket = await running.connect()
        await socket.send_str('{"setup":{}}')
        _, reason = await end_of(socket)

        assert reason.startswith("Gemini")
        assert hidden(reason)
        assert len(reason.encode()) <= 123
        await running.relay.stop()
    printed = capsys.readouterr().out
    assert "upstream_reason" in printed
    assert hidden(printed)


@pytest.mark.threat("A2")
@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
async def test_an_echo_in_an_error_body_reaches_nobody(
    start: Start, origin: Origin, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    """Nor do its headers and its reason phrase."""

    def refuse(request: web.Request) -> web.Response:
        sent = request.headers["x-goog-api-key"]
        return web.Response(status=status, reason=f"no {sent}", text=f"{request.headers}", headers={"x-echo": sent})

    origin.refuse = refuse
    running = await start(handover={"dials_per_minute": 1}, upstream={"setup_deadline": "300ms"})
    socket = await running.connect()
    await socket.send_str('{"setup":{}}')
    _, reason = await end_of(socket)

    assert origin.requests[0].headers["x-goog-api-key"] == KEY
    assert hidden(reason)
    assert hidden(capsys.readouterr().out + await running.metrics())


@pytest.mark.threat("A2", "C14")
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    "message",
    [
        {"serverContent": {"outputTranscription": {"text": f"your key is {KEY}, {KEY}"}}},
        {"serverContent": {"modelTurn": {"parts": [{"text": KEY}]}}},
        {"toolCall": {"functionCalls": [{"id": "c", "name": "f", "args": {KEY: KEY}}]}},
        {"serverContent": {"turnComplete": True}, "usageMetadata": {"note": KEY}},
    ],
)
async def test_an_echo_in_a_message_is_masked(
    start: Start, origin: Origin, message: dict[str, Any], binary: bool
) -> None:
    """The rest of the message arrives as it came, and so does the one after it."""
    text = json.dumps(message)
    after = '{"serverContent": {"turnComplete": true}}'

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        for each in (text, after):
            await (socket.send_bytes(each.encode()) if binary else socket.send_str(each))
        await socket.receive()

    origin.script = script
    running = await start(policy={"model": "models/gemini-3.8-live", "allow": ["*"], "unknown_fields": "pass"})
    socket = await running.conversation()
    async with asyncio.timeout(WAIT_S):
        got = [await socket.receive() for _ in range(2)]

    assert {each.type for each in got} == {aiohttp.WSMsgType.BINARY if binary else aiohttp.WSMsgType.TEXT}
    texts = [each.data.decode() if binary else each.data for each in got]
    assert texts == [text.replace(KEY, "[secret]"), after]


@pytest.mark.threat("A2", "C14")
async def test_a_renewed_token_is_masked_and_so_is_the_one_before() -> None:
    """A leg lives longer than the token it was dialled with; a short key of a simulator may be a word."""
    upstream = Upstream(Target("ws://127.0.0.1:9", 1.0, 1024), ApiKey(Secret("unused")))
    for number in range(3):
        upstream._remember([Secret(f"Bearer ya29.token-number-{number}")])
    upstream._remember([Secret("simulator")])

    masked = upstream.without_credentials(b"ya29.token-number-0 ya29.token-number-1 ya29.token-number-2 simulator")
    assert masked == b"ya29.token-number-0 [secret] [secret] simulator"
