"""Upgrades that are refused, redirected, broken or never answered; with real sockets."""

import asyncio
import time

import aiohttp
import pytest

from relay.sim import scenario
from tests.sim.client import PATH, PATIENCE_S, connected, simulator, talking


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "429", "500", "503"])
async def test_upgrades_can_be_refused(status: str) -> None:
    """With that status, and no headers echoed."""
    async with simulator(upgrade=status) as google:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(google):
                pass

        assert refused.value.status == int(status) == google.connections[0].status
        assert "canary" not in str(refused.value.headers)


async def test_a_number_of_upgrades_can_fail_first() -> None:
    """Two failures, then success: what a redial with backoff meets."""
    async with simulator(upgrade="503", upgrade_failures=2) as google:
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with connected(google):
                    pass

        async with talking(google):
            assert [record.status for record in google.connections] == [503, 503, 101]


async def test_a_script_can_refuse_single_upgrades() -> None:
    """`event: connect` with `refuse`."""
    script = scenario.load("steps: [{when: {event: connect, connection: 2}, do: [{refuse: {status: 429}}]}]")
    async with simulator(script) as google, talking(google):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(google):
                pass

        assert refused.value.status == 429


async def test_an_upgrade_can_be_redirected() -> None:
    """302 with the place to go to, as a hostile upstream would."""
    async with (
        simulator(upgrade="redirect", redirect_to="ws://127.0.0.1:1/x") as google,
        aiohttp.ClientSession() as session,
        session.get(google.url.replace("ws", "http") + PATH, allow_redirects=False) as response,
    ):
        assert (response.status, response.headers["Location"]) == (302, "ws://127.0.0.1:1/x")


async def test_an_upgrade_can_hang() -> None:
    """No answer at all; the simulator still stops in time."""
    async with simulator(upgrade="hang") as google:
        with pytest.raises((TimeoutError, aiohttp.ClientError)):
            async with asyncio.timeout(0.3), connected(google):
                pass
        began = time.monotonic()
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize("upgrade", ["bad-accept", "bad-subprotocol"])
async def test_an_upgrade_can_be_broken(upgrade: str) -> None:
    """A wrong Sec-WebSocket-Accept, or a subprotocol nobody offered."""
    async with simulator(upgrade=upgrade) as google, aiohttp.ClientSession() as session:
        if upgrade == "bad-accept":
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(google.url + PATH)
        else:
            async with session.ws_connect(google.url + PATH) as ws:
                assert ws._response.headers["Sec-WebSocket-Protocol"] == "nobody.offered.this"


async def test_secrets_are_echoed_at_the_upgrade_if_wanted() -> None:
    """The body of a refused upgrade holds the request's headers, for canary tests of others."""
    async with simulator(upgrade="403", echo_credentials=True) as google, aiohttp.ClientSession() as session:
        url = google.url.replace("ws", "http") + PATH + "?key=in-the-query"
        async with session.get(url, headers={"x-goog-api-key": "canary"}) as response:
            body = await response.text()

    assert "canary" in body
    assert "in-the-query" in body
