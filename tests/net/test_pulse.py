"""The pulse: a loop that is held up is noticed, and by how much."""

import asyncio
import time

import pytest

from relay.net.pulse import Pulse
from tests.net.conftest import Start


@pytest.mark.parametrize("held_up_s", [0.05, 0.2])
async def test_a_loop_that_is_held_up_is_noticed(held_up_s: float) -> None:
    """The one look that was due meanwhile comes that much too late, and the looks go on."""
    seen: list[float] = []
    pulse = Pulse(seen.append, interval_s=0.001)
    pulse.start()
    async with asyncio.timeout(10.0):
        while not seen:
            await asyncio.sleep(0)
        seen.clear()
        time.sleep(held_up_s)
        while len(seen) < 3:
            await asyncio.sleep(0)
    pulse.stop()
    looks = len(seen)
    await asyncio.sleep(0.01)

    assert held_up_s - 0.001 <= max(seen) < held_up_s + 5
    assert len(seen) == looks, "it has stopped"


async def test_operators_see_it(start: Start) -> None:
    """The histogram fills while the relay runs."""
    running = await start()
    async with asyncio.timeout(10.0):
        while "relay_event_loop_lag_seconds_count 0.0" in (metrics := await running.metrics()):
            await asyncio.sleep(0.02)

    assert 'relay_event_loop_lag_seconds_bucket{le="0.02"}' in metrics
