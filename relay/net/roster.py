"""The live sessions of all replicas: this one's as they are, the others' as they said a moment ago.

A replica that shares its store tells the others every few seconds what it has, in a task that no frame waits for, and
hears which of its sessions the operator wants to end. What others said is taken for what it is: text out of a store.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from relay.core.ledger import LedgerError
from relay.core.roster import RosterStore
from relay.net import admin_views as views
from relay.net.registry import Registry
from relay.net.server import Admitted

PUBLISH_S = 2.0
"""How often others are told."""
KEEP_S = 4 * PUBLISH_S
"""How long they remember a replica that says nothing more."""
MOST = 500
"""Sessions of one replica that others are told: half a megabyte. The rest is only counted."""
PART = 20
"""Sessions that are put into words before others have a turn: about a millisecond."""

_log = structlog.get_logger()


@dataclass(slots=True)
class Listing:
    """Live sessions in the form of the admin API."""

    rows: list[dict[str, Any]]
    unlisted: int = 0
    """Sessions of other replicas that are too many to be told, or told in the form of another version."""
    current: bool = True
    """Whether the other replicas could be asked."""


class Roster:
    """Who is talking, anywhere."""

    def __init__(
        self,
        registry: Registry,
        tenants: Mapping[str, Admitted],
        store: RosterStore | None,
        replica: str,
        version: str,
    ) -> None:
        """Without a store there is only this process; `replica` is its name among the others."""
        self._registry = registry
        self._tenants = tenants
        self._store = store
        self._replica = replica
        self._version = version
        self._published_at = 0.0
        self._failing = False

    async def own(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """The sessions of this process, of one tenant or of all."""
        clocks = views.Clocks(asyncio.get_running_loop().time(), time.time())
        found = []
        for number, live in enumerate(self._registry, start=1):
            if live.driver is not None and live.driver.close is None and tenant in (None, live.tenant):
                policy = self._tenants[live.tenant].policy.name
                found.append(views.session_view(live, live.driver, policy, clocks))
            if number % PART == 0:
                await asyncio.sleep(0)
        return found

    async def all(self, tenant: str | None = None) -> Listing:
        """The sessions of all replicas; only this one's where the others can't be asked."""
        listing = Listing(await self.own(tenant))
        if self._store is None:
            return listing
        try:
            sheets = await self._store.sheets()
        except LedgerError:
            listing.current = False
            return listing
        known = {row["id"] for row in listing.rows}
        for replica, sheet in sheets.items():
            if replica == self._replica:
                continue
            told = self._read(sheet)
            listing.unlisted += told.unlisted
            listing.rows += [row for row in told.rows if row["id"] not in known and tenant in (None, row["tenant"])]
        return listing

    async def dismiss(self, session: str) -> bool:
        """Have another replica end a session within `PUBLISH_S`; False when none has it. Raises LedgerError."""
        if self._store is None or not re.fullmatch("[0-9a-f]{16}", session):
            return False
        sheets = await self._store.sheets()
        told = [self._read(sheet) for replica, sheet in sheets.items() if replica != self._replica]
        if not any(each.unlisted or any(row["id"] == session for row in each.rows) for each in told):
            return False
        await self._store.dismiss(session)
        return True

    async def look(self) -> None:
        """Tell the others, every `PUBLISH_S`, and end what was dismissed elsewhere."""
        now = asyncio.get_running_loop().time()
        if self._store is None or now - self._published_at < PUBLISH_S:
            return
        self._published_at = now
        rows = await self.own()
        sheet = {"version": self._version, "rows": rows[:MOST], "unlisted": max(len(rows) - MOST, 0)}
        try:
            dismissed = await self._store.publish(self._replica, orjson.dumps(sheet).decode(), KEEP_S)
        except LedgerError as error:
            if not self._failing:
                _log.error("the store failed; other replicas don't see this one's sessions", cause=str(error))
            self._failing = True
            return
        self._failing = False
        for session in dismissed:
            self.end(session)

    def end(self, session: str) -> bool:
        """End a session of this process at once; whether there is one."""
        driver = self._registry.find(session)
        if driver is None or driver.close is not None:
            return False
        driver.dismiss()
        _log.info("session ended by the operator", session=session)
        return True

    def _read(self, sheet: str) -> Listing:
        """What another replica said; nothing where that is not in the form in which this one says it."""
        try:
            told = orjson.loads(sheet)
            rows, unlisted = told["rows"], told["unlisted"]
            if told["version"] != self._version:
                return Listing([], unlisted + len(rows))
            fits = all(type(row["id"]) is str and row["tenant"] in self._tenants for row in rows)
        except (ValueError, TypeError, KeyError):
            return Listing([])
        return Listing(rows, unlisted) if fits and type(unlisted) is int else Listing([])
