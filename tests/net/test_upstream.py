"""Dialling Gemini: what goes wrong there is retried or mapped, and none of it leaks the key."""

import asyncio
import gc
import socket as sockets
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from relay.core.secret import Secret
from relay.net.credentials import ApiKey
from relay.net.upstream import DialError, Target, Upstream
from tests.net.conftest import KEY, PATH, WAIT_S, Origin, Start, end_of


def _upstream(url: str, timeout_s: float = 5.0) -> Upstream:
    return Upstream(Target(url + PATH, timeout_s, 1024 * 1024), ApiKey(Secret(KEY)))


async def _dial(url: str, timeout_s: float = 5.0) -> aiohttp.ClientWebSocketResponse[bool]:
    upstream = _upstream(url, timeout_s)
    await upstream.start()
    try:
        return await upstream.dial()
    finally:
        await upstream.stop()


def test_what_was_stopped_holds_no_files() -> None:
    """Each event loop's resolver has four: pipes, and what tells it of news. They are given back in the background."""

    async def live() -> None:
        upstream = _upstream("ws://127.0.0.1:1")
        await upstream.start()
        await upstream.stop()

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    for _ in range(20):
        asyncio.run(live())
    deadline = time.monotonic() + WAIT_S
    while open_files() > before + 8 and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)
    assert open_files() <= before + 8


@pytest.mark.threat("A2", "A4")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
async def test_a_refused_upgrade_is_its_status_and_nothing_else(origin: Origin, status: int) -> None:
    """aiohttp's exceptions print URL and headers; ours carries a number and one word."""
    origin.refuse = lambda request: web.Response(status=status, text=str(request.headers))
    with pytest.raises(DialError) as failed:
        await _dial(origin.url)

    assert failed.value.status == status
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
    assert KEY not in repr(failed.value)


async def test_a_dial_that_is_never_answered_ends_in_time() -> None:
    """TCP accepts, nobody upgrades: the deadline is ours."""
    server = sockets.create_server(("127.0.0.1", 0))
    with server, pytest.raises(DialError) as failed:
        await _dial(f"ws://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.2)

    assert failed.value.status == 0
    assert str(failed.value) == "TimeoutError"


async def test_an_unreachable_gemini_is_retried_within_the_deadline_then_1013(start: Start) -> None:
    """Nobody listens: several dials with pauses, then a close that says when to come back."""
    with sockets.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    running = await start(upstream={"base_url": f"ws://127.0.0.1:{port}", "setup_deadline": "1s"})
    socket = await running.connect()
    await socket.send_str('{"setup":{}}')

    assert await end_of(socket) == (1013, "Gemini can't be reached, try again later")
    dials = next(
        line for line in (await running.metrics()).splitlines() if 'outcome="unreachable"' in line and "total" in line
    )
    assert float(dials.rpartition(" ")[2]) >= 2


async def test_gemini_coming_back_within_the_deadline_goes_unnoticed(start: Start, origin: Origin) -> None:
    """Two refused upgrades, then a good one: the client only waited."""
    refusals = [503, 500]

    def refuse(_request: web.Request) -> web.StreamResponse:
        status = refusals.pop()
        if not refusals:
            origin.refuse = None
        return web.Response(status=status)

    origin.refuse = refuse
    running = await start()
    socket = await running.conversation()
    await socket.close()

    assert len(origin.requests) == 3


@pytest.mark.parametrize(
    ("code", "reason", "seen", "dials"),
    [
        (1007, "API key not valid. Please pass a valid API key.", (1011, "Gemini refused the relay's credentials"), 1),
        (1008, "models/x is not found for API version v1beta", (1008, "Gemini does not serve this model here"), 1),
        (1007, "Request contains an invalid argument.", (1007, "Gemini refused the setup or a message as invalid"), 1),
        (1011, "You exceeded your current quota, please", (1013, "Gemini's quota is used up, try again later"), 1),
        (1011, "Your prepayment credits are depleted.", (1011, "the operator's account at Google is out of credit"), 1),
    ],
)
async def test_what_gemini_refuses_is_mapped_for_the_client(
    start: Start, origin: Origin, code: int, reason: str, seen: tuple[int, str], dials: int
) -> None:
    """The client gets our words, never Google's; hopeless refusals are not retried."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.close(code=code, message=reason.encode())

    origin.script = script
    running = await start()
    socket = await running.connect()
    await socket.send_str('{"setup":{}}')

    assert await end_of(socket) == seen
    assert len(origin.requests) == dials


async def test_a_gemini_that_never_answers_the_setup_is_given_up(start: Start, origin: Origin) -> None:
    """No SDK has a time limit of its own for setupComplete, so the relay needs one."""

    async def script(socket: web.WebSocketResponse) -> None:
        async for _ in socket:
            pass

    origin.script = script
    running = await start(upstream={"setup_deadline": "300ms"})
    socket = await running.connect()
    await socket.send_str('{"setup":{}}')

    assert await end_of(socket) == (1013, "Gemini did not answer the setup, try again later")


@pytest.mark.parametrize("payload", [b"not json", b"[]", b"\xff"])
async def test_nonsense_from_gemini_ends_the_session(start: Start, origin: Origin, payload: bytes) -> None:
    """What can't be read can't be metered, so it is not passed on."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        await socket.send_bytes(payload)
        await socket.receive()

    origin.script = script
    running = await start()
    socket = await running.conversation()

    assert await end_of(socket) == (1011, "Gemini sent something the relay can't read")


async def test_a_cut_that_can_t_be_mended_ends_the_session_with_a_reason(start: Start, origin: Origin) -> None:
    """An end of file without a close frame is not taken for a goodbye; where no dial is left, the session ends."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(b'{"setupComplete": {}}')
        await socket.receive()
        transport = origin.requests[0].transport
        assert transport is not None
        transport.abort()

    origin.script = script
    running = await start(handover={"dials_per_minute": 1, "deadline": "200ms"})
    socket = await running.conversation()
    await socket.send_str('{"realtimeInput":{"text":"cut"}}')

    assert await end_of(socket) == (1011, "Gemini's connection failed")
