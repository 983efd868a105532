"""Requests that no client sends by accident: refused, answered once, and repeated to nobody."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, Running, Start
from tests.net.proxies import haproxy, nginx
from tests.net.raw import exchange, opened, port_of, responses, upgrade

HEAD = b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/live HTTP/1.1\r\nHost: localhost\r\n"
SECOND = b"GET /canary-second HTTP/1.1\r\nHost: localhost\r\n\r\n"

MALFORMED = {
    "null byte": HEAD + b"X-A: canary\0b\r\n\r\n",
    "bare CR": HEAD + b"X-A: canary\rb\r\n\r\n",
    "folded header": HEAD + b"X-A: canary\r\n b\r\n\r\n",
    "bare LF in the request line": b"GET /v1/live HTTP/1.1\nHost: localhost\n\n",
    "bare LF in a header": HEAD + b"X-A: canary\nX-B: b\r\n\r\n",
    "space before the colon": HEAD + b"X-A : canary\r\n\r\n",
    "no name": HEAD + b": canary\r\n\r\n",
    "control character in the target": b"GET /v1/\x01canary HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "raw byte in the target": b"GET /v1/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde" + SECOND,
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde" + SECOND,
    "signed length": POST + b"Content-Length: +5\r\n\r\nabcde" + SECOND,
    "list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nabcde" + SECOND,
    "odd transfer encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "chunked twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "two hosts": HEAD + b"Host: evil.example\r\n\r\n",
    "no host": b"GET /v1/live HTTP/1.1\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/2.0 in text": b"GET /v1/live HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "HTTP/0.9": b"GET /v1/live\r\n\r\n",
    "HTTP/1.9": b"GET /v1/live HTTP/1.9\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    "noise": bytes(range(256)) * 4,
}
TOO_LARGE = {
    "a header of 64 KiB": HEAD + b"X-A: canary" + b"a" * 65536 + b"\r\n\r\n",
    "a name of 64 KiB": HEAD + b"X-canary" + b"a" * 65536 + b": a\r\n\r\n",
    "a target of 64 KiB": b"GET /canary" + b"a" * 65536 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "200 headers": HEAD + b"".join(b"X-canary-%d: a\r\n" % number for number in range(200)) + b"\r\n",
    "10,000 headers": HEAD + b"".join(b"X-canary-%d: a\r\n" % number for number in range(10_000)) + b"\r\n",
    "a subprotocol list of 10,000": upgrade(
        "Sec-WebSocket-Protocol: " + ", ".join(f"canary-{number}" for number in range(10_000))
    ),
}

NO_HANDSHAKE = {
    "POST": (upgrade().replace(b"GET", b"POST"), 405),
    "PUT": (upgrade().replace(b"GET", b"PUT"), 405),
    "TRACE": (upgrade().replace(b"GET", b"TRACE"), 405),
    "POST with a body": (upgrade("Content-Length: 5").replace(b"GET", b"POST") + b"hello", 405),
    "version 8": (upgrade(Sec_WebSocket_Version="8"), 426),
    "version 99999": (upgrade(Sec_WebSocket_Version="99999"), 426),
    "no version": (upgrade(Sec_WebSocket_Version=""), 426),
    "two versions": (upgrade(Sec_WebSocket_Version="13, 8"), 426),
    "no key": (upgrade(Sec_WebSocket_Key=""), 400),
    "a key that is no base64": (upgrade(Sec_WebSocket_Key="canary!"), 400),
    "a key of 15 bytes": (upgrade(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25j"), 400),
    "h2c": (upgrade("HTTP2-Settings: AAMAAABkAAQAAP__", Upgrade="h2c"), 426),
    "h2c and websocket": (upgrade(Upgrade="h2c, websocket"), 426),
    "no upgrade": (upgrade(Upgrade=""), 426),
    "no connection": (upgrade(Connection="keep-alive"), 400),
    "an empty body in chunks": (upgrade("Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "a body in chunks": (upgrade("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n", 400),
    "a body": (upgrade("Content-Length: 5") + b"hello", 400),
    "a request for a body": (upgrade(f"Content-Length: {len(SECOND)}") + SECOND, 400),
}

SMUGGLED = {
    "behind a refused handshake": (upgrade(x_goog_api_key="wrong") + SECOND, 401),
    "behind a handshake of version 8": (upgrade(Sec_WebSocket_Version="8") + SECOND, 426),
    "behind an unknown path": (upgrade(target="/nothing") + SECOND, 404),
    "behind h2c": (upgrade(Upgrade="h2c") + SECOND, 426),
    "20 handshakes at once": (upgrade(x_goog_api_key="wrong") * 20, 401),
}


async def _counted(running: Running) -> float:
    """How many refusals the relay has counted."""
    lines = [line for line in (await running.metrics()).splitlines() if line.startswith("relay_handshakes_refused")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def _refused(running: Running, origin: Origin, sent: bytes) -> int:
    """Send, and hold the relay to one answer of its own that repeats nothing; its status."""
    received = await exchange(port_of(running.addresses["listen"]), sent)
    (answer,) = responses(received)

    assert answer.error["code"] == answer.status
    assert set(answer.error) == {"code", "message", "status"}
    assert answer.headers["server"] == "relay"
    assert answer.headers.get("connection") == "close" or not received.startswith(b"HTTP/1.1")
    assert b"canary" not in received
    assert not origin.requests
    assert await _counted(running) == 1
    return answer.status


@pytest.mark.parametrize("name", MALFORMED)
@pytest.mark.threat("B10")
async def test_what_is_not_http_is_400(start: Start, origin: Origin, name: str) -> None:
    """One answer with our own words, and nothing behind it is taken for a second request."""
    assert await _refused(await start(), origin, MALFORMED[name]) == 400


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.threat("B10", "B11")
async def test_what_is_too_large_is_431(start: Start, origin: Origin, name: str) -> None:
    """The parser stops at 8 KiB for a line and 128 headers, and what it read is not repeated."""
    assert await _refused(await start(), origin, TOO_LARGE[name]) == 431


@pytest.mark.parametrize("name", NO_HANDSHAKE)
@pytest.mark.threat("B10", "B11")
async def test_what_is_no_handshake_is_refused(start: Start, origin: Origin, name: str) -> None:
    """Though its key is valid: 400, 405 or 426, once."""
    sent, status = NO_HANDSHAKE[name]

    assert await _refused(await start(), origin, sent) == status


@pytest.mark.parametrize("name", SMUGGLED)
@pytest.mark.threat("B10")
async def test_nothing_is_answered_behind_a_refusal(start: Start, origin: Origin, name: str) -> None:
    """A refused request is the last one of its connection."""
    sent, status = SMUGGLED[name]

    assert await _refused(await start(), origin, sent) == status


@pytest.mark.threat("B10")
async def test_a_request_behind_a_handshake_is_taken_for_frames(start: Start, origin: Origin) -> None:
    """Once it is a WebSocket, HTTP in it is a protocol error: one answer, one close frame with 1002."""
    running = await start()
    received = await exchange(port_of(running.addresses["listen"]), upgrade() + SECOND)
    (answer,) = responses(received)

    assert answer.status == 101
    assert answer.body[0] == 0x88
    assert answer.body[2:4] == (1002).to_bytes(2, "big")
    assert not origin.requests


@pytest.mark.threat("B11")
async def test_the_longest_subprotocol_list_that_fits_is_read(start: Start) -> None:
    """1,000 offers in one header: ours is among them, and no other is selected."""
    running = await start()
    offers = ",".join(f"a{number}" for number in range(1_000))
    reader, writer = await opened(running)
    writer.write(upgrade(f"Sec-WebSocket-Protocol: {offers}, relay.v1"))
    async with asyncio.timeout(WAIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Protocol: relay.v1\r\n" in head


# Through proxies ------------------------------------------------------------------------------------------------------

Front = Callable[[int], Awaitable[int]]
CORPUS = {
    **MALFORMED,
    **TOO_LARGE,
    **{name: sent for name, (sent, _) in (NO_HANDSHAKE | SMUGGLED).items()},
}
for own in ("HTTP/0.9", "HTTP/2 preface"):  # proxies speak these themselves, or answer without a head
    del CORPUS[own]


@pytest.fixture(params=["nginx", "haproxy"])
async def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """Starts a proxy in front of a port, and returns the proxy's own."""
    folder = tmp_path_factory.mktemp("proxy")
    front = {"nginx": nginx, "haproxy": haproxy}[request.param]
    contexts = []

    async def run(port: int) -> int:
        context = front(folder, port)
        contexts.append(context)
        return await context.__aenter__()

    yield run
    for context in contexts:
        await context.__aexit__(None, None, None)


@pytest.mark.threat("B10", "B11")
async def test_through_a_proxy_every_request_has_one_answer(start: Start, origin: Origin, behind: Front) -> None:
    """The relay sees no request that the proxy does not get an answer for: that would be somebody else's next one.

    What a proxy mends (a fold, a missing `Connection`) is no longer what was sent; so it may be a handshake then. What
    stands behind a refused request it may pass on as a request of its own.
    """
    running = await start(limits={"setup_timeout": "200ms"})
    port = await behind(port_of(running.addresses["listen"]))
    reached = 0
    for name, sent in CORPUS.items():
        before = await _counted(running)
        found = responses(await exchange(port, sent))
        refused = await _counted(running) - before
        handshakes = sum(answer.status == 101 for answer in found)
        reached += refused > 0

        assert handshakes + refused <= len(found), (name, found)
        assert len(found) <= (20 if name.startswith("20 ") else 2 if SECOND in sent else 1), (name, found)
        assert all(answer.status == 101 or 400 <= answer.status < 506 for answer in found), (name, found)
        assert not any(b"canary" in answer.body for answer in found), (name, found)
    assert not origin.requests
    assert reached > 15, "the proxy itself refused nearly everything: nothing was tested"


@pytest.mark.threat("B10")
async def test_through_a_proxy_a_conversation_works(start: Start, behind: Front) -> None:
    """After all that: a good handshake is upgraded, and what is piggybacked on it stays inside."""
    running = await start()
    port = await behind(port_of(running.addresses["listen"]))
    received = await exchange(port, upgrade() + SECOND)
    (answer,) = responses(received)

    assert answer.status == 101
    assert answer.body[2:4] == (1002).to_bytes(2, "big")
    async with running.http.ws_connect(
        f"http://127.0.0.1:{port}/v1/live", headers={"x-goog-api-key": TENANT_KEY}
    ) as socket:
        await socket.send_str('{"setup":{}}')
        assert (await socket.receive(timeout=WAIT_S)).data
