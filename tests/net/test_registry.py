"""Admission by count, and drain."""

import asyncio
import json

import pytest

from relay.net.registry import Live, Registry
from tests.net.conftest import TENANT_KEY, WAIT_S, Start, end_of


async def test_a_place_is_free_again_whatever_happened() -> None:
    """No exception leaks a session's place."""
    registry = Registry(1)

    def crash() -> None:
        with registry.admitted(Live("1", "acme")):
            assert registry.full
            assert registry.of_tenant("acme") == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        crash()

    assert not registry.full
    assert registry.of_tenant("acme") == 0
    assert len(registry) == 0


async def test_drain_refuses_new_sessions_and_ends_the_live_ones(start: Start) -> None:
    """Every client gets notice, and 1001 with the reason if it stays; nobody is let in; nothing is left."""
    running = await start()
    clients = [await running.conversation() for _ in range(5)]
    draining = asyncio.ensure_future(running.relay.registry.drain(WAIT_S, WAIT_S - 0.3))
    notices = [json.loads((await client.receive(timeout=WAIT_S)).data) for client in clients]
    ends = [await end_of(client) for client in clients]
    left = await draining
    url = running.addresses["listen"] + "/v1/live"
    handshake = {"x-goog-api-key": TENANT_KEY, "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    async with running.http.get(url, headers=handshake) as refused:
        assert refused.status == 503
    async with running.http.get(running.addresses["admin"] + "/readyz") as ready:
        assert ready.status == 503
        assert (await ready.json())["cause"] == "draining"

    assert notices == [{"goAway": {"timeLeft": "0.300s"}}] * 5
    assert ends == [(1001, "the relay is shutting down, reconnect")] * 5
    assert left == 0


async def test_drain_has_a_deadline() -> None:
    """What has not ended in time is counted, not waited for."""
    registry = Registry(10)
    with registry.admitted(Live("1", "acme")):
        assert await registry.drain(0.01, 0.0) == 1
