"""Two counts of the same tokens that share no code with the relay's meter: the simulator's reports, and the store."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from proof.servers import RedisServer
from relay.sim import Simulator

REPORTS = "reports"
_PARTS = (
    ("prompt", ("promptTokenCount",), ("promptTokensDetails",)),
    ("response", ("responseTokenCount", "candidatesTokenCount"), ("responseTokensDetails", "candidatesTokensDetails")),
)
"""Kind, and its count's and its details' names in either spelling."""


def counted(report: Mapping[str, Any]) -> Counter[str]:
    """The tokens of one report by kind and modality, as `prompt.audio`; what details leave over is `unattributed`."""
    found: Counter[str] = Counter({REPORTS: 1})
    for kind, counts, details in _PARTS:
        left = sum(report.get(name, 0) for name in counts)
        for entry in (entry for name in details for entry in report.get(name, ())):
            found[f"{kind}.{entry['modality'].lower()}"] += entry["tokenCount"]
            left -= entry["tokenCount"]
        found[f"{kind}.unattributed"] += left
    found["thoughts.text"] += report.get("thoughtsTokenCount", 0)
    return +found


class SimulatorTally:
    """All that a simulator has reported so far, and what it had at moments before."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._read: dict[str, int] = {}
        self._total: Counter[str] = Counter()
        self._history: list[tuple[float, Counter[str]]] = []

    def now(self) -> Counter[str]:
        """What it has reported."""
        for session in self._simulator.archive:
            begin = self._read.get(session.id, 0)
            for report in session.usage[begin:]:
                self._total += counted(report)
            self._read[session.id] = len(session.usage)
        return self._total.copy()

    async def watch(self) -> None:
        """Keep a history, until the task is cancelled."""
        while True:
            self._history.append((asyncio.get_running_loop().time(), self.now()))
            del self._history[:-500]
            await asyncio.sleep(0.02)

    def at(self, moment: float) -> Counter[str]:
        """What it had reported by then: a little less, never more."""
        return next((count for at, count in reversed(self._history) if at <= moment), Counter[str]())


def sqlite_tally(path: Path) -> Counter[str]:
    """What a ledger's file says all sessions have used."""
    found: Counter[str] = Counter()
    with closing(sqlite3.connect(path)) as database:
        for (amounts,) in database.execute("SELECT amounts FROM days"):
            found.update(json.loads(amounts))
    return tokens_of(found)


async def redis_tally(server: RedisServer) -> Counter[str]:
    """What a ledger in Redis says all sessions have used."""
    found: Counter[str] = Counter()
    async with server.client() as client:
        async for key in client.scan_iter(match="relay:*:day:*", count=1000):
            found.update({name: int(amount) for name, amount in (await client.hgetall(key)).items()})
    return tokens_of(found)


def tokens_of(amounts: Mapping[str, int]) -> Counter[str]:
    """The amounts that are tokens by kind and modality, and the number of reports."""
    return Counter({name: amount for name, amount in amounts.items() if amount and ("." in name or name == REPORTS)})
