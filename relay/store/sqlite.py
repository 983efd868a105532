"""The embedded ledger: one SQLite file, one thread, one transaction for all charges of a moment.

Usage is durable, places and recent starts are not: a session does not outlive the process that has its sockets. The
file belongs to one process; a second one that reads it (a backup, a report) is no harm.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from relay.core.ledger import (
    START_WINDOW_S,
    Ask,
    Cause,
    Charge,
    LedgerError,
    Query,
    Row,
    Spent,
    Used,
    Verdict,
)
from relay.core.windows import DAY_S, day_of, window_end
from relay.store.answers import first_spent, spent_of, summed
from relay.store.sqlite_file import SqliteFile

LOCK_WAIT_S = 0.25
"""How long a statement waits for another process's lock."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    tenant TEXT NOT NULL, session TEXT NOT NULL, model TEXT NOT NULL, sequence INTEGER NOT NULL,
    started_at REAL NOT NULL, amounts TEXT NOT NULL, PRIMARY KEY (tenant, session)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sessions_by_start ON sessions (started_at);
CREATE TABLE IF NOT EXISTS days (
    day TEXT NOT NULL, tenant TEXT NOT NULL, model TEXT NOT NULL, amounts TEXT NOT NULL,
    PRIMARY KEY (tenant, day, model)
) WITHOUT ROWID;
"""


class SqliteLedger:
    """See `relay.core.ledger.Ledger`."""

    def __init__(self, path: Path, keep_s: float, clock: Callable[[], float]) -> None:
        """`keep_s` is how long usage is kept; `clock` gives Unix seconds."""
        self._file = SqliteFile(path, _SCHEMA, lock_wait_s=LOCK_WAIT_S, called="ledger")
        self._keep_s = keep_s
        self._clock = clock
        # From here on for the thread only.
        self._places: defaultdict[str, set[str]] = defaultdict(set)
        self._starts: defaultdict[str, deque[float]] = defaultdict(deque)
        self._pruned_at = 0.0

    async def start(self) -> None:
        """Open the file, and make it when there is none. Raises LedgerError."""
        await self._file.start()

    async def stop(self) -> None:
        """Close the file, if it is open. Raises LedgerError."""
        await self._file.stop()

    async def admit(self, ask: Ask) -> Verdict:
        """Decide and take a place. Raises LedgerError."""
        try:
            return await self._file.ask(self._admit, ask)
        except LedgerError:
            self._file.submit(self._release, ask.tenant, ask.session)  # a slow disk may still have admitted it
            raise

    async def release(self, tenant: str, session: str) -> None:
        """Give a place back. Raises LedgerError."""
        await self._file.ask(self._release, tenant, session)

    async def settle(self, charges: Sequence[Charge], live: Mapping[str, Sequence[str]]) -> dict[str, Used]:
        """Take charges in one transaction. Raises LedgerError, and then has most likely taken none."""
        return await self._file.ask(self._settle, charges, tuple(live))

    async def used(self, tenant: str) -> Used:
        """What a tenant has used. Raises LedgerError."""
        return await self._file.ask(self._used, tenant)

    async def usage(self, query: Query) -> list[Row]:
        """What was used. Raises LedgerError."""
        return await self._file.ask(self._usage, query)

    # On the thread ---------------------------------------------------------------------------------------------------

    def _admit(self, ask: Ask) -> Verdict:
        used = self._used(ask.tenant)
        places, starts = self._places[ask.tenant], self._starts[ask.tenant]
        while starts and starts[0] <= used.at - START_WINDOW_S:
            starts.popleft()
        if ask.session in places:
            return Verdict(None, used)
        if ask.concurrent_sessions is not None and len(places) >= ask.concurrent_sessions:
            return Verdict(Cause.CONCURRENT_SESSIONS, used)
        if ask.starts_per_minute is not None and len(starts) >= ask.starts_per_minute:
            return Verdict(Cause.STARTS_PER_MINUTE, used, starts[0] + START_WINDOW_S - used.at)
        spent = first_spent(ask.allowances, used)
        if spent is not None:
            return Verdict(Cause.BUDGET, used, window_end(spent.window, used.at) - used.at)
        places.add(ask.session)
        if ask.starts_per_minute is not None:
            starts.append(used.at)
        return Verdict(None, used)

    def _release(self, tenant: str, session: str) -> None:
        self._places[tenant].discard(session)

    def _settle(self, charges: Sequence[Charge], tenants: tuple[str, ...]) -> dict[str, Used]:
        settled = dict.fromkeys((*tenants, *(charge.tenant for charge in charges)))
        if charges:
            self._file.db.execute("BEGIN IMMEDIATE")
            try:
                broken = {tenant for tenant in settled if not self._take_all(tenant, charges)}
                self._prune()
                self._file.db.execute("COMMIT")
            except BaseException:
                if self._file.db.in_transaction:  # some errors, a full disk among them, have rolled back already
                    self._file.db.execute("ROLLBACK")
                raise
            settled = dict.fromkeys(tenant for tenant in settled if tenant not in broken)
        return {tenant: self._used(tenant) for tenant in settled}

    def _take_all(self, tenant: str, charges: Sequence[Charge]) -> bool:
        """Take one tenant's charges; False, and none taken, when what is stored of it can't be read."""
        self._file.db.execute("SAVEPOINT tenant")
        day, totals = day_of(self._clock()), dict[str, dict[str, int]]()
        try:
            for charge in charges:
                if charge.tenant == tenant:
                    if charge.model not in totals:
                        totals[charge.model] = self._total(tenant, day, charge.model)
                    self._take(charge, totals[charge.model])
            for model, total in totals.items():
                self._file.db.execute(
                    "INSERT OR REPLACE INTO days VALUES (?, ?, ?, ?)", (day, tenant, model, json.dumps(total))
                )
        except ValueError:
            self._file.db.execute("ROLLBACK TO tenant")
            return False
        finally:
            if self._file.db.in_transaction:
                self._file.db.execute("RELEASE tenant")
        return True

    def _total(self, tenant: str, day: str, model: str) -> dict[str, int]:
        row = self._row("SELECT amounts FROM days WHERE tenant = ? AND day = ? AND model = ?", tenant, day, model)
        return _amounts(row[0]) if row else {}

    def _take(self, charge: Charge, total: dict[str, int]) -> None:
        """Add what a charge says, beyond what is known of its session, to the day's total."""
        known = self._row(
            "SELECT sequence, amounts FROM sessions WHERE tenant = ? AND session = ?", charge.tenant, charge.session
        )
        sequence, amounts = (known[0], _amounts(known[1])) if known else (0, {})
        if charge.sequence <= sequence:
            return
        for name, amount in charge.amounts.items():
            added = amount - amounts.get(name, 0)
            if added > 0:  # nothing ever makes a total smaller
                total[name] = total.get(name, 0) + added
                amounts[name] = amount
        self._file.db.execute(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
            (charge.tenant, charge.session, charge.model, charge.sequence, charge.started_at, json.dumps(amounts)),
        )

    def _prune(self) -> None:
        """Forget what is older than `keep_s`, once a day."""
        now = self._clock()
        if now - self._pruned_at < DAY_S:
            return
        self._pruned_at = now
        self._file.db.execute("DELETE FROM sessions WHERE started_at < ?", (now - self._keep_s,))
        self._file.db.execute("DELETE FROM days WHERE day < ?", (day_of(now - self._keep_s),))

    def _used(self, tenant: str) -> Used:
        now = self._clock()
        today = day_of(now)
        day, month = Spent(), Spent()
        for row_day, amounts in self._rows(
            "SELECT day, amounts FROM days WHERE tenant = ? AND day BETWEEN ? AND ?", tenant, today[:8] + "01", today
        ):
            spent = spent_of(_amounts(amounts))
            month += spent
            if row_day == today:
                day += spent
        return Used(day, month, now)

    def _usage(self, query: Query) -> list[Row]:
        if query.by == "session":
            # A session that began on a day of the query, in whole; days are compared as their names.
            found = self._rows(
                "SELECT tenant, session, amounts FROM sessions"
                " WHERE date(started_at, 'unixepoch') BETWEEN ? AND ? AND (?3 IS NULL OR tenant = ?3)",
                query.first,
                query.last,
                query.tenant,
            )
        else:
            key = {"day": "day", "model": "model"}[query.by]
            found = self._rows(
                f"SELECT tenant, {key}, amounts FROM days"  # noqa: S608 - one of two words of ours
                " WHERE day BETWEEN ? AND ? AND (?3 IS NULL OR tenant = ?3)",
                query.first,
                query.last,
                query.tenant,
            )
        return summed((tenant, key, _amounts(amounts)) for tenant, key, amounts in found)

    def _row(self, statement: str, *values: Any) -> Any:
        with closing(self._file.db.execute(statement, values)) as cursor:
            return cursor.fetchone()

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with closing(self._file.db.execute(statement, values)) as cursor:
            return cursor.fetchall()


def _amounts(text: str) -> dict[str, int]:
    """Amounts as they were written; raises ValueError for anything else, which may be in a file of another origin."""
    amounts = json.loads(text)
    if type(amounts) is not dict or any(type(amount) is not int for amount in amounts.values()):
        raise ValueError("not amounts")
    return amounts
