"""Tickets of a single relay: tables in the ledger's file, or in memory, with a thread and a connection of their own.

One process, one thread, one transaction for each question: nothing can come between looking and counting.
"""

from collections.abc import Callable
from pathlib import Path

from relay.core.tickets import Allotment, Stub, Use
from relay.store.sqlite_file import SqliteFile

LOCK_WAIT_S = 1.0
"""How long a statement waits while the ledger writes to the file."""
PRUNE_S = 600.0
"""How often what has expired is removed."""
KEEP_REVOCATIONS_S = 7 * 86_400.0
"""Longer than any ticket or token may live."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets (
    id TEXT PRIMARY KEY, record TEXT NOT NULL, uses INTEGER NOT NULL, new_until REAL NOT NULL,
    expires_at REAL NOT NULL, issued_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ticket_uses (
    id TEXT NOT NULL, session TEXT NOT NULL, PRIMARY KEY (id, session)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ticket_spent (
    id TEXT NOT NULL, session TEXT NOT NULL, seconds REAL NOT NULL, tokens INTEGER NOT NULL, nanos INTEGER NOT NULL,
    PRIMARY KEY (id, session)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revocations (mark TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
"""


class SqliteTickets:
    """See `relay.core.tickets.TicketStore`."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._file = SqliteFile(path, _SCHEMA, lock_wait_s=LOCK_WAIT_S, called="ticket store")
        self._clock = clock
        self._pruned_at = 0.0

    async def start(self) -> None:
        """Open the file. Raises LedgerError."""
        await self._file.start()

    async def stop(self) -> None:
        """Close the file, if it is open. Raises LedgerError."""
        await self._file.stop()

    async def now(self) -> float:
        """This process's own time: there is no other."""
        return self._clock()

    async def add(self, ticket_id: str, stub: Stub) -> None:
        """Keep a new ticket. Raises LedgerError."""
        await self._file.ask(self._add, ticket_id, stub)

    async def find(self, ticket_id: str) -> Stub | None:
        """A ticket that is valid. Raises LedgerError."""
        return await self._file.ask(self._find, ticket_id)

    async def use(self, ticket_id: str, session: str) -> Use:
        """Count a session. Raises LedgerError."""
        return await self._file.ask(self._use, ticket_id, session)

    async def spend(self, ticket_id: str, session: str, used: Allotment) -> Allotment:
        """Note what a session has used. Raises LedgerError."""
        return await self._file.ask(self._spend, ticket_id, session, used)

    async def revoke(self, mark: str, ticket_id: str | None = None) -> None:
        """Note a mark, remove a ticket. Raises LedgerError."""
        await self._file.ask(self._revoke, mark, ticket_id)

    async def revocations(self, since: float) -> dict[str, float]:
        """Marks noted since. Raises LedgerError."""
        return await self._file.ask(self._revocations, since)

    # On the thread ---------------------------------------------------------------------------------------------------

    def _add(self, ticket_id: str, stub: Stub) -> None:
        self._prune()
        row = (ticket_id, stub.record, stub.uses, stub.new_until, stub.expires_at, self._clock())
        self._file.db.execute("INSERT OR IGNORE INTO tickets VALUES (?, ?, ?, ?, ?, ?)", row)

    def _find(self, ticket_id: str) -> Stub | None:
        row = self._file.db.execute(
            "SELECT record, uses, new_until, expires_at, issued_at FROM tickets WHERE id = ? AND expires_at > ?",
            (ticket_id, self._clock()),
        ).fetchone()
        return Stub(*row) if row else None

    def _use(self, ticket_id: str, session: str) -> Use:
        stub = self._find(ticket_id)
        if stub is None:
            return Use.GONE
        sessions = {
            row[0] for row in self._file.db.execute("SELECT session FROM ticket_uses WHERE id = ?", (ticket_id,))
        }
        if session in sessions:
            return Use.USED
        if self._clock() >= stub.new_until:
            return Use.LATE
        if stub.uses and len(sessions) >= stub.uses:
            return Use.USED_UP
        if stub.uses:
            self._file.db.execute("INSERT INTO ticket_uses VALUES (?, ?)", (ticket_id, session))
        return Use.USED

    def _spend(self, ticket_id: str, session: str, used: Allotment) -> Allotment:
        row = (ticket_id, session, used.seconds or 0.0, used.tokens or 0, used.nanos or 0)
        self._file.db.execute("INSERT OR REPLACE INTO ticket_spent VALUES (?, ?, ?, ?, ?)", row)
        totals = self._file.db.execute(
            "SELECT sum(seconds), sum(tokens), sum(nanos) FROM ticket_spent WHERE id = ?", (ticket_id,)
        ).fetchone()
        return Allotment(*totals)

    def _revoke(self, mark: str, ticket_id: str | None) -> None:
        self._file.db.execute("INSERT OR REPLACE INTO revocations VALUES (?, ?)", (mark, self._clock()))
        self._file.db.execute("DELETE FROM tickets WHERE id = ?", (ticket_id,))

    def _revocations(self, since: float) -> dict[str, float]:
        return dict(self._file.db.execute("SELECT mark, at FROM revocations WHERE at >= ?", (since,)).fetchall())

    def _prune(self) -> None:
        now = self._clock()
        if now - self._pruned_at < PRUNE_S:
            return
        self._pruned_at = now
        self._file.db.execute("DELETE FROM tickets WHERE expires_at <= ?", (now,))
        self._file.db.execute("DELETE FROM ticket_uses WHERE id NOT IN (SELECT id FROM tickets)")
        self._file.db.execute("DELETE FROM ticket_spent WHERE id NOT IN (SELECT id FROM tickets)")
        self._file.db.execute("DELETE FROM revocations WHERE at < ?", (now - KEEP_REVOCATIONS_S,))
