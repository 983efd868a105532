"""`python -m proof matrix`: every row of the fault matrix, played and judged, in one table."""

import asyncio
from collections.abc import Sequence
from typing import Any

from proof import netns
from proof.figures import ms, note, table
from proof.records import captured
from proof.rows import ROWS
from proof.scene import Row
from proof.verdict import Verdict, play

AT_ONCE = 8
"""Rows played side by side: most of them wait most of the time."""


def chosen(names: Sequence[str]) -> list[Row]:
    """The rows whose names begin like one of these; all without any. Raises ValueError when there are none."""
    rows = [row for row in ROWS if not names or any(row.name.startswith(name) for name in names)]
    if not rows:
        raise ValueError(f"no such row; there are: {'; '.join(row.name for row in ROWS)}")
    return rows


async def run(rows: Sequence[Row]) -> list[Verdict]:
    """Play them, most of them side by side; the verdicts in the order of the rows."""
    lacking = netns.unavailable() if any(row.cable for row in rows) else ""
    if lacking:
        note(f"proof: NOT PLAYED: rows that drop packets, because here is {lacking}")
    verdicts: dict[str, Verdict] = {}
    with captured() as journals:
        places, quiet = asyncio.Semaphore(AT_ONCE), asyncio.Lock()

        async def one(row: Row) -> None:
            if row.cable and lacking:
                verdicts[row.name] = Verdict(row.name, skipped=lacking)
                return
            async with places:
                verdicts[row.name] = await play(row, journals, quiet)
            note(f"proof: {_result(verdicts[row.name])} {row.name}")

        await asyncio.gather(*(one(row) for row in rows if not row.alone))
        for row in rows:
            if row.alone:
                await one(row)
    return [verdicts[row.name] for row in rows]


def broken(verdicts: Sequence[Verdict]) -> list[str]:
    """Everything that was promised and not kept."""
    return [f"{verdict.name}: {words}" for verdict in verdicts for words in verdict.broken]


def shown(verdicts: Sequence[Verdict]) -> str:
    """The table."""
    head = (
        *("fault", "verdict", "noticed ms", "back after ms", "client saw", "lost ↑", "dropped", "doubled ↑"),
        *("uncertain", "lost ↓", "doubled ↓", "reordered", "how", "how we know"),
    )
    return table(head, [_cells(verdict) for verdict in verdicts])


def json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Everything, for machines."""
    return {"rows": [verdict.json() for verdict in verdicts]}


def _cells(verdict: Verdict) -> list[Any]:
    reports = verdict.handovers
    up, down = verdict.up, verdict.down
    return [
        *(verdict.name, _result(verdict), ms(verdict.detected_s), ms(verdict.recovered_s), verdict.seen or "–"),
        *(up.lost, sum(h.dropped for h in reports), up.duplicated, sum(h.uncertain for h in reports)),
        *(down.lost, down.duplicated, up.reordered + down.reordered),
        ", ".join(f"{h.cause}→{h.outcome}" for h in reports) or "–",
        verdict.evidence or verdict.skipped or "–",
    ]


def _result(verdict: Verdict) -> str:
    return "NOT PLAYED" if verdict.skipped else "FAILED" if verdict.broken else "ok"
