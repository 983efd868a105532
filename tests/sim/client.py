"""A client with a real socket, and a simulator to talk to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import yarl

from relay.sim import Scenario, Simulator
from relay.sim.profile import preset
from tests.sim.playing import MODEL, setup

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
PATIENCE_S = 10.0
"""No wait in these tests is longer."""


@asynccontextmanager
async def simulator(scenario: Scenario | None = None, /, **knobs: Any) -> AsyncIterator[Simulator]:
    """A running simulator: the `instant` preset with some knobs changed."""
    running = Simulator(preset("instant", **knobs), scenario)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


class Client:
    """One WebSocket to a simulator."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def send(self, message: dict[str, Any] | str) -> None:
        """Send a message as one TEXT frame."""
        await self.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """The next frame, parsed; it must be one."""
        message = await asyncio.wait_for(self.ws.receive(), PATIENCE_S)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), (message, self.ws.close_code)
        parsed = json.loads(message.data)
        assert isinstance(parsed, dict)
        return parsed

    async def until(self, key: str) -> list[dict[str, Any]]:
        """All frames up to the first that has this key at its top or in its serverContent."""
        frames = [await self.receive()]
        while key not in frames[-1] and key not in frames[-1].get("serverContent", {}):
            frames.append(await self.receive())
        return frames

    async def turn(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """Send a message and collect everything up to turnComplete."""
        await self.send(message)
        return await self.until("turnComplete")

    async def closed(self) -> tuple[int | None, str]:
        """Wait for the end; the close code seen, 1006 for none, and the reason."""
        while True:
            message = await asyncio.wait_for(self.ws.receive(), PATIENCE_S)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                return self.ws.close_code, ""


@asynccontextmanager
async def connected(running: Simulator, path: str = PATH, **options: Any) -> AsyncIterator[Client]:
    """A client after the upgrade, with the key `canary`."""
    options.setdefault("headers", {"x-goog-api-key": "canary"})
    url = yarl.URL(running.url + path, encoded=True)  # as written: some clients do not quote as aiohttp would
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as ws:
        yield Client(ws)


@asynccontextmanager
async def talking(running: Simulator, model: str = MODEL, /, **fields: Any) -> AsyncIterator[Client]:
    """A client whose setup is complete."""
    async with connected(running) as client:
        await client.send(setup(model, **fields))
        assert "setupComplete" in await client.receive()
        yield client


async def eventually(running: Simulator, connection: int = 1) -> None:
    """Wait until the simulator has seen the end of a connection."""
    async with asyncio.timeout(PATIENCE_S):
        while running.connections[connection - 1].closed_at is None:
            await asyncio.sleep(0.005)


async def inspect(running: Simulator, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
    """Ask the inspection endpoint: GET, or POST if there is a body; status and parsed answer."""
    url = running.url.replace("ws", "http", 1) + path
    async with (
        aiohttp.ClientSession() as session,
        session.request("GET" if body is None else "POST", url, json=body, **options) as response,
    ):
        return response.status, json.loads(await response.read())
