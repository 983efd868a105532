"""The promises of continuity on a small scale: the same commands as `python -m proof`, in seconds."""

import asyncio

import pytest

from proof import handovers, matrix, netns
from proof.netns import cable

QUICK = (
    "close 1000", "close 1006 (cut inside a frame)", "close 1008 goAway ignored", "close 1011 billing", "RST",
    "close 1011 in a model turn", "refused once", "upgrade 503 once", "goAway", "two goAways", "goAway in a tool call",
    "goAway while resuming", "handle expired (1007)", "handle never, nothing answered yet",
)  # fmt: skip


@pytest.mark.parametrize("transparent", [True, False], ids=["transparent", "handles"])
async def test_planned_handovers_lose_nothing(transparent: bool) -> None:
    """Twenty of them over ten streaming sessions in either mode: every message accounted for, every socket open."""
    result = await handovers.run(
        handovers.Options(sessions=10, handovers=20, transparent=transparent, own_process=False)
    )

    assert result.broken() == []


async def test_the_quick_rows_of_the_fault_matrix() -> None:
    """Each by name; the slow ones are left to `python -m proof matrix`."""
    rows = [row for row in matrix.chosen([]) if row.name in QUICK]

    verdicts = await matrix.run(rows)

    assert [verdict.name for verdict in verdicts] == [row.name for row in rows]
    assert len(rows) == len(QUICK)
    assert matrix.broken(verdicts) == []


async def test_packets_are_dropped_or_it_is_said_that_they_can_not_be() -> None:
    """Where there is no namespace, rows that need one are shown as not played, never as passed."""
    reason = netns.unavailable()
    if reason:
        (row,) = matrix.chosen(["2 % packet loss"])
        (verdict,) = await matrix.run([row])
        assert (verdict.skipped, matrix.shown([verdict]).count("NOT PLAYED")) == (reason, 1)
        return
    async with cable() as line:
        accepted = asyncio.Queue[asyncio.StreamWriter]()
        server = await asyncio.start_server(lambda _, writer: accepted.put_nowait(writer), sock=line.listener())
        port = server.sockets[0].getsockname()[1]
        _, near = await asyncio.open_connection(line.there, port)
        far = await asyncio.wait_for(accepted.get(), 5.0)
        assert await line.dropped() == 0
        await line.drop("input", f"tcp sport {near.get_extra_info('sockname')[1]}")
        near.write(b"lost")
        async with asyncio.timeout(5.0):
            while not await line.dropped():
                await asyncio.sleep(0.02)
        await line.mend()
        near.close()
        far.close()
        server.close()
