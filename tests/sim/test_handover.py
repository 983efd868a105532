"""A client that hands itself over again and again: the ledger says that nothing was lost or doubled."""

import asyncio
from collections import deque
from typing import Any

import pytest

from relay.sim import Simulator, stamp
from relay.sim.actions import Action
from tests.sim.client import PATIENCE_S, Client, connected, eventually, simulator, talking
from tests.sim.playing import CASCADE, setup, silence, sound

VERTEX_PATH = "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent"
HANDOVERS = 8


class Streamer:
    """Streams numbered audio in transparent mode, and replays after each handover what the handle does not cover."""

    def __init__(self) -> None:
        self.number = 0
        self.handle = ""
        self.unsure: deque[tuple[int, dict[str, Any]]] = deque()
        """What the newest handle does not cover: place on the present connection, and message."""
        self._place = 0

    async def connection(self, google: Simulator, cut: bool) -> None:
        """One connection: setup, replay, stream until three handles came, end."""
        async with connected(google, VERTEX_PATH) as client:
            wanted = {"handle": self.handle, "transparent": True} if self.handle else {"transparent": True}
            await client.send(setup(CASCADE, sessionResumption=wanted))
            assert "setupComplete" in await client.receive()
            replayed, self.unsure, self._place = list(self.unsure), deque(), 0
            for _, message in replayed:
                await self._send(client, message)
            reading = asyncio.create_task(self._updates(client))
            while not reading.done():
                self.number += 1
                await self._send(client, sound(stamp.put(silence(0.01), self.number, 0.0)))
                await asyncio.sleep(0.002)
            await reading
            if cut:
                google.fault(Action("cut", {"reset": True}))
                await client.closed()

    async def _send(self, client: Client, message: dict[str, Any]) -> None:
        self._place += 1
        self.unsure.append((self._place, message))
        await client.send(message)

    async def _updates(self, client: Client) -> None:
        """Take three handles, and forget what they cover."""
        for _ in range(3):
            update = (await client.receive())["sessionResumptionUpdate"]
            self.handle = update["newHandle"]
            covered = int(update.get("lastConsumedClientMessageIndex", "0"))
            while self.unsure and self.unsure[0][0] <= covered:
                self.unsure.popleft()


@pytest.mark.parametrize("cut", [False, True])
async def test_a_faithful_replay_loses_and_doubles_nothing(cut: bool) -> None:
    """After many handovers, closed or cut, the session's state holds every number exactly once, in order."""
    async with simulator(handles="timer", handle_every_s=0.03, playback_wait=False) as google:
        streamer = Streamer()
        for turn in range(HANDOVERS):
            await streamer.connection(google, cut)
            await eventually(google, turn + 1)
        async with connected(google, VERTEX_PATH) as client:
            await client.send(setup(CASCADE, sessionResumption={"handle": streamer.handle, "transparent": True}))
            await client.receive()
            for _, message in streamer.unsure:
                await client.send(message)
            consumed = 0
            while consumed < len(streamer.unsure):
                update = (await client.receive())["sessionResumptionUpdate"]
                consumed = int(update.get("lastConsumedClientMessageIndex", "0"))

        (session,) = google.archive
        numbers = [entry.number for entry in session.trail.entries()]
        assert numbers == list(range(1, streamer.number + 1))
        assert session.connections == list(range(1, HANDOVERS + 2))


@pytest.mark.parametrize(
    ("replayed", "expected"), [((), [1, 2, 5]), ((3, 4), [1, 2, 3, 4, 5]), ((2, 3, 4), [1, 2, 2, 3, 4, 5])]
)
async def test_a_careless_replay_is_found_out(replayed: tuple[int, ...], expected: list[int]) -> None:
    """With a handle that covers 1 and 2: no replay leaves a hole, too much of it a double."""
    async with simulator(handles="never") as google:
        async with talking(google, sessionResumption={}) as client:
            await stream(client, 1, 2)
            await until_consumed(google, 2)
            google.fault(Action("handle", {"resumable": True}))
            handle = (await client.receive())["sessionResumptionUpdate"]["newHandle"]
            await stream(client, 3, 4)
            await until_consumed(google, 4)
        await eventually(google)
        async with talking(google, sessionResumption={"handle": handle}) as client:
            await stream(client, *replayed, 5)
            await until_consumed(google, 2 + len(replayed) + 1)

        (session,) = google.archive
        assert [entry.number for entry in session.trail.entries()] == expected


async def stream(client: Client, *numbers: int) -> None:
    """Send numbered audio."""
    for number in numbers:
        await client.send(sound(stamp.put(silence(0.01), number, 0.0)))


async def until_consumed(google: Simulator, count: int) -> None:
    """Wait until the only session's state holds so many messages."""
    (session,) = google.archive
    async with asyncio.timeout(PATIENCE_S):
        while session.trail.mark < count:
            await asyncio.sleep(0.002)
