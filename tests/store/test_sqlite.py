"""What only the embedded ledger has: a file, a thread, and a process that may be killed."""

import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.core.ledger import Allowance, Ask, Cause, Charge, LedgerError, Measure, Query, Spent
from relay.core.windows import Window
from relay.store.sqlite import SqliteLedger
from tests.store.conftest import KEEP_S, NOON, Clock

DAY_S = 86_400.0


@pytest.fixture
async def ledger(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteLedger]:
    """A ledger on a new file."""
    made = SqliteLedger(tmp_path / "ledger.db", KEEP_S, clock)
    await made.start()
    yield made
    await made.stop()


def charge(
    sequence: int = 1, tenant: str = "acme", session: str = "s1", started_at: float = NOON, tokens: int = 5
) -> Charge:
    """Running totals of a session."""
    return Charge(tenant, session, "live", sequence, {"tokens": tokens}, started_at)


async def test_the_file_is_for_its_owner_only(ledger: SqliteLedger, tmp_path: Path) -> None:
    """What customers use is nobody else's business."""
    assert (tmp_path / "ledger.db").stat().st_mode & 0o777 == 0o600


async def test_a_place_that_can_t_be_written_is_told_at_the_start(tmp_path: Path, clock: Clock) -> None:
    """Better than to lose usage later; the same for a file that is something else."""
    (tmp_path / "other.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    for path in (tmp_path / "no" / "such" / "folder.db", tmp_path / "other.db"):
        ledger = SqliteLedger(path, KEEP_S, clock)
        with pytest.raises(LedgerError):
            await ledger.start()


async def test_windows_follow_the_clock(ledger: SqliteLedger, clock: Clock) -> None:
    """A new day has a budget of its own, a new month too; what a session used before midnight stays there."""
    await ledger.settle([charge(1, tokens=10)], {})
    clock.unix_s += DAY_S
    used = await ledger.settle([charge(2, tokens=14)], {})
    assert (used["acme"].day, used["acme"].month) == (Spent(4), Spent(14))
    clock.unix_s += 7 * DAY_S  # December
    used = await ledger.settle([charge(3, tokens=15)], {})
    assert (used["acme"].day, used["acme"].month) == (Spent(1), Spent(1))
    rows = await ledger.usage(Query("2026-11-01", "2026-12-31"))
    assert [(row.key, row.amounts["tokens"]) for row in rows] == [
        ("2026-11-25", 10),
        ("2026-11-26", 4),
        ("2026-12-03", 1),
    ]


async def test_a_refusal_says_when_to_come_back(ledger: SqliteLedger, clock: Clock) -> None:
    """To the second: when the oldest start is a minute old, when the day is over, when the month is."""
    await ledger.settle([charge(tokens=100)], {})
    day = await ledger.admit(Ask("acme", "s", allowances=(Allowance(Window.DAY, Measure.TOKENS, 100),)))
    month = await ledger.admit(Ask("acme", "s", allowances=(Allowance(Window.MONTH, Measure.TOKENS, 100),)))
    assert (day.retry_after_s, month.retry_after_s) == (DAY_S / 2, 5.5 * DAY_S)
    await ledger.admit(Ask("acme", "s2", starts_per_minute=1))
    clock.unix_s += 20
    verdict = await ledger.admit(Ask("acme", "s3", starts_per_minute=1))
    assert (verdict.refused, verdict.retry_after_s) == (Cause.STARTS_PER_MINUTE, 40.0)
    clock.unix_s += 40
    assert (await ledger.admit(Ask("acme", "s3", starts_per_minute=1))).refused is None


async def test_old_usage_is_forgotten(ledger: SqliteLedger, clock: Clock) -> None:
    """After `keep`, sessions and days alike; what is younger stays."""
    await ledger.settle([charge(session="old")], {})
    clock.unix_s += KEEP_S - DAY_S
    await ledger.settle([charge(session="young", started_at=clock.unix_s)], {})
    clock.unix_s += 2 * DAY_S
    await ledger.settle([charge(session="new", started_at=clock.unix_s)], {})
    sessions = await ledger.usage(Query("2026-01-01", "2028-01-01", "session"))
    assert [row.key for row in sessions] == ["new", "young"]
    assert len(await ledger.usage(Query("2026-01-01", "2028-01-01"))) == 2


async def test_a_locked_file_is_an_error_and_then_catches_up(ledger: SqliteLedger, tmp_path: Path) -> None:
    """Somebody holds the write lock for longer than we wait: nothing is taken, and later everything is."""
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError):
            await ledger.settle([charge()], {})
        assert (await ledger.admit(Ask("acme", "s2", concurrent_sessions=1))).refused is None  # reading goes on
        other.execute("ROLLBACK")
    assert (await ledger.settle([charge()], {}))["acme"].day == Spent(5)


async def test_a_full_disk_is_an_error_and_then_catches_up(ledger: SqliteLedger, tmp_path: Path) -> None:
    """The system refuses to let the file grow: no half of a transaction is seen, then, or later."""
    await ledger.settle([charge()], {})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = {f"amount{name}": 1 for name in range(500)}
    grown = [Charge("acme", f"s{number}", "live", 1, many, NOON) for number in range(2, 60)]
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, hard))
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(LedgerError):
            await ledger.settle([*grown, charge(2, tokens=7)], {})
        assert (await ledger.used("acme")).day == Spent(5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    used = await ledger.settle([*grown, charge(2, tokens=7)], {})
    assert used["acme"].day == Spent(7)
    assert len(await ledger.usage(Query("2026-11-25", "2026-11-25", "session"))) == 59


@pytest.mark.parametrize("text", ["x", "[]", '{"tokens": "5"}', '{"tokens": 1.5}', "{"])
async def test_a_tampered_row_harms_its_tenant_only(ledger: SqliteLedger, tmp_path: Path, text: str) -> None:
    """Nothing crashes; the tenant's sessions are refused, and other tenants are settled with the same call."""
    await ledger.settle([charge()], {})
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other, other:
        other.execute("UPDATE days SET amounts = ?", (text,))
    with pytest.raises(LedgerError):
        await ledger.admit(Ask("acme", "s2"))
    settled = await ledger.settle([charge(2, tokens=6), charge(tenant="other")], {})
    assert settled.keys() == {"other"}


WRITER = """
import asyncio, sys
from pathlib import Path
from relay.core.ledger import Charge
from relay.store.sqlite import SqliteLedger

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]), 1e7, lambda: 1_795_608_000.0)
    await ledger.start()
    for sequence in range(1, 1_000_000):
        amounts = {"tokens": sequence * 3, "nanos": sequence, "prompt.text": sequence * 2, "response.audio": sequence}
        await ledger.settle([Charge("acme", sys.argv[2], "live", sequence, amounts, 1_795_608_000.0)], {})
        print(sequence, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 7, 40])
async def test_what_was_settled_survives_a_kill(tmp_path: Path, clock: Clock, after: int) -> None:
    """Killed in the middle of writing, twice: all that was answered is there, in every amount, and nothing else."""
    path = tmp_path / "ledger.db"
    answered = []
    for session in ("first", "second"):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), session], stdout=subprocess.PIPE)
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(after)]
        process.kill()
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        answered.append(max(int(line) for line in lines if line.endswith(b"\n")))
    ledger = SqliteLedger(path, KEEP_S, clock)
    await ledger.start()
    rows = await ledger.usage(Query("2026-11-25", "2026-11-25", "session"))
    (day,) = await ledger.usage(Query("2026-11-25", "2026-11-25"))
    await ledger.stop()
    for row, sequence in zip(rows, answered, strict=True):
        found = row.amounts["nanos"]
        assert sequence <= found <= sequence + 1  # one more may have been committed and not yet answered
        assert row.amounts == {
            "tokens": found * 3,
            "nanos": found,
            "prompt.text": found * 2,
            "response.audio": found,
        }
    assert day.amounts == {name: sum(row.amounts[name] for row in rows) for name in rows[0].amounts}
