"""A client of the relay that comes and goes, in front of a relay that stands before the simulator."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from relay.sim import Simulator
from relay.sim.profile import preset
from tests.net.conftest import TENANT_KEY, WAIT_S, Running

MODEL = "models/gemini-2.5-flash-native-audio-latest"
SETUP: dict[str, Any] = {"sessionResumption": {}, "outputAudioTranscription": {}}


@asynccontextmanager
async def simulator(**knobs: Any) -> AsyncIterator[Simulator]:
    """A running simulator that waits for nothing."""
    running = Simulator(preset("instant", **knobs))
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


class Client:
    """One client, over as many sockets as it takes; it keeps what it got, and its newest handle."""

    def __init__(
        self,
        running: Running,
        setup: dict[str, Any] | None = None,
        key: str = TENANT_KEY,
        labels: dict[str, str] | None = None,
    ) -> None:
        self.setup = setup or SETUP
        self.labels = labels or {}
        """Headers that say whom the session is for."""
        self.got: list[dict[str, Any]] = []
        """Every message, in order, over all sockets."""
        self.handle = ""
        self.since = 0
        """Messages since the one that brought the handle."""
        self.socket: aiohttp.ClientWebSocketResponse
        self._running = running
        self._key = key

    async def connect(self, handle: str = "") -> None:
        """Open a socket and send the setup, with a handle if one is given."""
        self.socket = await self._running.connect(headers={"x-goog-api-key": self._key, **self.labels})
        resumption = {"handle": handle} if handle else {}
        await self.socket.send_json({"setup": {**self.setup, "sessionResumption": resumption}})

    async def begin(self) -> None:
        """Connect, and wait for the first handle."""
        await self.connect()
        await self.until("sessionResumptionUpdate")

    async def come_back(self, *, exact: bool = True) -> None:
        """Connect again with the newest handle, and with the count of what came since unless not `exact`."""
        await self.connect(f"{self.handle}.{self.since}" if exact else self.handle)
        await self.until("sessionResumptionUpdate")

    async def begin_parked(self, text: str = "") -> None:
        """Begin, take a turn if there is something to say, and drop: back when the relay has parked the session."""
        await self.begin()
        if text:
            await self.turn(text)
        self.vanish()
        await parked(self._running)

    async def say(self, text: str) -> None:
        """A typed turn."""
        turns = [{"role": "user", "parts": [{"text": text}]}]
        await self.socket.send_json({"clientContent": {"turns": turns, "turnComplete": True}})

    async def receive(self) -> dict[str, Any]:
        """The next message; fails where there is none."""
        message = await self.socket.receive(timeout=WAIT_S)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), (message, self.socket.close_code)
        parsed: dict[str, Any] = json.loads(message.data)
        self.got.append(parsed)
        self.since += 1
        if "sessionResumptionUpdate" in parsed:
            self.handle, self.since = parsed["sessionResumptionUpdate"]["newHandle"], 0
        return parsed

    async def until(self, key: str) -> list[dict[str, Any]]:
        """All messages up to the first that has this key at its top, in its serverContent or in what the relay says."""
        got = [await self.receive()]
        while not any(key in part for part in (got[-1], got[-1].get("serverContent", {}), got[-1].get("relay", {}))):
            got.append(await self.receive())
        return got

    async def turn(self, text: str) -> list[dict[str, Any]]:
        """A typed turn and its answer, up to the handle that follows it."""
        await self.say(text)
        got = await self.until("turnComplete")
        return got + await self.until("sessionResumptionUpdate")

    def vanish(self) -> None:
        """Drop the connection as a lost network does."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


def said(messages: list[dict[str, Any]]) -> str:
    """The transcript in messages."""
    texts = (message.get("serverContent", {}).get("outputTranscription", {}).get("text", "") for message in messages)
    return "".join(texts)


def told(messages: list[dict[str, Any]], what: str) -> dict[str, Any]:
    """What the relay itself said, once."""
    (found,) = [message["relay"][what] for message in messages if what in message.get("relay", {})]
    assert isinstance(found, dict)
    return found


async def parked(running: Running, count: int = 1) -> None:
    """Wait until so many sessions are parked."""
    async with asyncio.timeout(WAIT_S):
        while running.relay.registry.parked() != count:
            await asyncio.sleep(0.005)


async def gone(running: Running, count: int = 0) -> None:
    """Wait until only so many sessions are left."""
    async with asyncio.timeout(WAIT_S):
        while len(running.relay.registry) != count:
            await asyncio.sleep(0.005)
