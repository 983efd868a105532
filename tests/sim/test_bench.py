"""Bench mode: the schedule, the bytes, the stamps and the price."""

import asyncio
import json
import time
from itertools import pairwise
from typing import Any

import aiohttp

from relay.sim.bench import FRAME_S, PERIOD_FRAMES, SPEAKING_FRAMES, SUBSLOTS, Wheel
from tests.sim.client import simulator, talking
from tests.sim.playing import handles, silence, sound, stamp_of


class Transport(asyncio.Transport):
    """Collects what is written."""

    def __init__(self, unsent: int = 0) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self._unsent = unsent

    def write(self, data: Any) -> None:
        """Keep it."""
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        """Never."""
        return False

    def get_write_buffer_size(self) -> int:
        """As much as the test says."""
        return self._unsent


def turned(wheel: Wheel, periods: float) -> None:
    """Turn a wheel by hand, without waiting."""
    for _ in range(int(periods * PERIOD_FRAMES * SUBSLOTS)):
        wheel._turn()
        wheel.stop()


async def test_a_speaker_speaks_two_seconds_in_four() -> None:
    """25 audio frames of some 10.4 KB, then the two ends of the turn, then silence; and again."""
    wheel, transport, ended = Wheel(), Transport(), []
    wheel.join(transport, lambda: ended.append(len(transport.written)))
    wheel.stop()
    turned(wheel, 2.0)

    sizes = [len(frame) for frame in transport.written]
    assert len(sizes) == 2 * (SPEAKING_FRAMES + 2)
    assert len(ended) == 2
    assert all(10_400 <= size <= 10_600 for size in sizes if size > 1_000)
    assert FRAME_S * SPEAKING_FRAMES == 2.0


async def test_speakers_are_spread_over_the_time() -> None:
    """With many connections each tick serves its share."""
    wheel = Wheel()
    transports = [Transport() for _ in range(200)]
    for transport in transports:
        wheel.join(transport, lambda: None)
    wheel.stop()
    counts = []
    for _ in range(PERIOD_FRAMES * SUBSLOTS):
        before = sum(len(transport.written) for transport in transports)
        wheel._turn()
        wheel.stop()
        counts.append(sum(len(transport.written) for transport in transports) - before)

    assert max(counts) <= 2 * sum(counts) / len(counts)


async def test_a_client_that_does_not_read_misses_frames() -> None:
    """They are skipped and counted instead of piling up."""
    wheel, transport = Wheel(), Transport(unsent=2 << 20)
    speaker = wheel.join(transport, lambda: None)
    wheel.stop()
    turned(wheel, 1.0)

    assert transport.written == []
    assert speaker.skipped == SPEAKING_FRAMES + 2


async def test_the_wheel_stops_when_nobody_is_on_it() -> None:
    """No timer remains."""
    wheel = Wheel()
    speakers = [wheel.join(Transport(), lambda: None) for _ in range(3)]
    for speaker in speakers:
        wheel.leave(speaker)

    assert wheel._timer is None


async def test_a_client_gets_numbered_parseable_frames_in_real_time() -> None:
    """Over a socket: 12.5 frames a second, each numbered and timed, and a handle after the turn."""
    async with simulator(reply="bench", recorded_messages=0) as google:
        async with talking(google, sessionResumption={}) as client:
            frames, began = [], time.monotonic()
            while time.monotonic() - began < 4.2:
                try:
                    message = await client.ws.receive(0.5)
                except TimeoutError:
                    continue
                assert message.type is aiohttp.WSMsgType.BINARY
                frames.append(json.loads(message.data))
                if len(frames) % 5 == 0:
                    await client.send(sound(silence(0.04)))
        stamps = [found for frame in frames if (found := stamp_of(frame))]

    numbers = [one.number for one in stamps]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert 20 <= len(numbers) <= 30
    assert sum("usageMetadata" in frame for frame in frames) == 1
    assert len(handles(frames)) == 1
    gaps = [later.at - earlier.at for earlier, later in pairwise(stamps)]
    assert sorted(gaps)[len(gaps) // 2] > 0.9 * FRAME_S
    assert google.connections[0].message_count > 3


async def test_a_frame_costs_next_to_nothing() -> None:
    """Less than 100 µs of CPU per frame, stamp and all, so that hundreds of sessions fit beside what is measured."""
    wheel = Wheel()
    transports = [Transport() for _ in range(100)]
    for transport in transports:
        wheel.join(transport, lambda: None)
    wheel.stop()
    turned(wheel, 0.02)
    for transport in transports:
        transport.written.clear()
    began = time.process_time()
    turned(wheel, 0.25)
    took = time.process_time() - began

    frames = sum(len(transport.written) for transport in transports)
    assert frames > 500
    assert took / frames < 100e-6
