"""One SQLite file with a thread and a connection of its own: whatever blocks does so off the event loop."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from relay.core.ledger import LedgerError

MEMORY = Path(":memory:")
"""Instead of a file: what is kept ends with the process."""
PATIENCE_S = 2.0
"""How long a caller waits for the thread; a disk that hangs must not keep it for ever."""

T = TypeVar("T")


class SqliteFile:
    """A file, its thread and its connection; only work that is handed in may touch `db`."""

    def __init__(self, path: Path, schema: str, *, lock_wait_s: float, called: str) -> None:
        """`lock_wait_s` is how long a statement waits for another's lock; `called` names the file in errors."""
        self._path = path
        self._schema = schema
        self._lock_wait_s = lock_wait_s
        self._called = called
        self._thread = ThreadPoolExecutor(1, called)
        self._connection: sqlite3.Connection | None = None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection, for work on the thread."""
        assert self._connection is not None, "start() comes first"
        return self._connection

    async def start(self) -> None:
        """Open the file, and make it when there is none. Raises LedgerError."""
        await self.ask(self._open)

    async def stop(self) -> None:
        """Close the file, if it is open. Raises LedgerError."""
        if self._connection is None:
            return
        try:
            await self.ask(self._connection.close)
        finally:
            self._connection = None
            self._thread.shutdown(wait=False)

    async def ask(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something on the thread; whatever goes wrong with the file is a LedgerError."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        except (sqlite3.Error, OSError, ValueError) as error:  # TimeoutError is an OSError; ValueError: not our JSON
            raise LedgerError(f"{type(error).__name__} in the {self._called}'s file") from None

    def submit(self, work: Callable[..., object], *arguments: Any) -> None:
        """Have something done after everything else, without waiting for it."""
        self._thread.submit(work, *arguments)

    def _open(self) -> None:
        if self._path != MEMORY:
            self._path.touch(mode=0o600)
        self._connection = sqlite3.connect(
            self._path, timeout=self._lock_wait_s, isolation_level=None, check_same_thread=False
        )
        # With WAL a reader never waits for a writer; FULL makes a commit survive a loss of power too.
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(self._schema)
