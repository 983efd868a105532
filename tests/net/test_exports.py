"""Usage records on their way: never in a session's way, at least once, in bounded memory, and back alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from relay.metrics import Metrics
from relay.net import exports as module
from relay.net.exports import Exports, Lane
from relay.net.spool import Item, Spool
from relay.net.usage_file import RefusedError, SinkError
from tests.net.conftest import WAIT_S, Origin, Running, Start
from tests.net.receiver import SECRET, receiver
from tests.net.test_budgets import heard, report, says, speak


@dataclass
class Fake:
    """A place that takes records, fails or hangs as a test says."""

    name: str = "fake"
    batch: int = 2
    error: Exception | None = None
    poison: str = ""
    """A record that is always refused, and with it whatever comes beside it."""
    hangs: asyncio.Event | None = None
    attempts: list[list[str]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    running: bool = False

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def deliver(self, items: Sequence[Item]) -> None:
        self.attempts.append([item.id for item in items])
        if self.hangs is not None:
            await self.hangs.wait()
        if self.error is not None:
            raise self.error
        if self.poison in self.attempts[-1]:
            raise RefusedError("it answered 400")
        self.taken += [item.id for item in items]


@asynccontextmanager
async def exporting(*fakes: Fake, spool_bytes: int = 100_000) -> AsyncIterator[tuple[Exports, Metrics]]:
    """Exports to these places, with pauses of no length."""
    metrics = Metrics(CollectorRegistry())
    exports = Exports([Lane(fake, Spool(spool_bytes), 1.0) for fake in fakes], metrics, lambda: 0.0)
    await exports.start()
    try:
        yield exports, metrics
    finally:
        await exports.stop()


def put(exports: Exports, *ids: str) -> None:
    """Hand in records, each about something else."""
    for name in ids:
        exports.put(name, name, {"id": name})


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.005)


def sample(metrics: Metrics, name: str, sink: str = "fake") -> float | None:
    """The value of one series."""
    return metrics.registry.get_sample_value(f"relay_export_{name}", {"sink": sink})


async def test_every_place_gets_every_record_in_order() -> None:
    """In batches of its own size."""
    one, other = Fake("one", 2), Fake("other", 10)
    async with exporting(one, other) as (exports, metrics):
        put(exports, "a", "b", "c")
        await until(lambda: len(one.taken) == len(other.taken) == 3)
        assert (one.taken, other.taken) == (["a", "b", "c"], ["a", "b", "c"])
        assert one.attempts == [["a", "b"], ["c"]]
        assert sample(metrics, "records_total", "one") == 3
    assert not one.running


async def test_a_failure_is_repeated_until_it_is_none() -> None:
    """Told once, seen in health and metrics meanwhile, and over without anybody doing anything."""
    fake = Fake(error=SinkError("it answered 500"))
    with capture_logs() as logs:
        async with exporting(fake) as (exports, metrics):
            put(exports, "a", "b", "c")
            await until(lambda: len(fake.attempts) > 5)
            assert exports.degraded
            assert (sample(metrics, "degraded"), sample(metrics, "waiting_records")) == (1, 3)
            fake.error = None
            await until(lambda: not exports.degraded and len(fake.taken) == 3)
            assert (sample(metrics, "degraded"), sample(metrics, "waiting_records")) == (0, 0)
    assert fake.taken == ["a", "b", "c"]
    assert [line["log_level"] for line in logs] == ["error", "info"]


async def test_a_bug_in_a_place_does_not_end_its_task() -> None:
    """Later records would wait for ever."""
    fake = Fake(error=RuntimeError("a bug"))
    with capture_logs() as logs:
        async with exporting(fake) as (exports, _):
            put(exports, "a")
            await until(lambda: len(fake.attempts) > 1)
            fake.error = None
            await until(lambda: fake.taken == ["a"])
    assert any(line["event"] == "export crashed" for line in logs)


async def test_a_place_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as degraded as soon as it takes too long; records of the same session are not piled up."""
    monkeypatch.setattr(module, "SLOW_S", 0.02)
    slow, quick = Fake("slow", hangs=asyncio.Event()), Fake("quick")
    async with exporting(slow, quick) as (exports, metrics):
        put(exports, "a")
        await until(lambda: exports.degraded)
        for number in range(100):
            exports.put("session", f"session.{number}", {})
            await asyncio.sleep(0)
        await until(lambda: quick.taken[-1:] == ["session.99"])
        assert sample(metrics, "waiting_records", "slow") == 2
        assert slow.hangs is not None
        slow.hangs.set()
        await until(lambda: slow.taken == ["a", "session.99"] and not exports.degraded)


async def test_too_many_push_out_the_oldest_and_are_counted() -> None:
    """Memory is bounded whatever happens elsewhere."""
    fake = Fake(error=SinkError("down"))
    async with exporting(fake, spool_bytes=2_000) as (exports, metrics):
        put(exports, *(f"r{number}" for number in range(100)))
        fake.error = None
        await until(lambda: fake.taken[-1:] == ["r99"])
        lost = sample(metrics, "lost_total")
        assert lost is not None
        assert lost == 100 - len(fake.taken) > 50


async def test_a_record_that_is_always_refused_holds_up_no_other() -> None:
    """Those behind it are taken, each once, in order; it comes again and again, and after many others is given up."""
    fake = Fake(batch=8, poison="bad")
    with capture_logs() as logs:
        async with exporting(fake) as (exports, metrics):
            put(exports, "a", "b", "bad", *"cdefgh")
            await until(lambda: len(fake.taken) == 8)
            assert fake.taken == list("abcdefgh")
            assert sample(metrics, "refused_total") == 0
            number = 0
            while not sample(metrics, "refused_total"):
                number += 1
                assert number < 100
                put(exports, f"r{number}")
                await until(lambda: f"r{number}" in fake.taken)  # noqa: B023 - it is awaited before the next one
            await until(lambda: sample(metrics, "waiting_records") == 0 and not exports.degraded)
    assert number >= module.MOST_REFUSALS - 2, "one refusal counts, however often it is repeated before the next record"
    assert sorted(fake.taken) == sorted({*"abcdefgh", *(f"r{one + 1}" for one in range(number))})
    (told,) = [line for line in logs if line["event"] == "a usage record was given up: it is always refused"]
    assert (told["sink"], told["record"], told["log_level"]) == ("fake", "bad", "error")


async def test_what_refuses_everything_gets_everything_later() -> None:
    """Where nothing else is taken either, it is not the record's fault: a secret is wrong, or an address."""
    fake = Fake(batch=4, error=RefusedError("it answered 401"))
    async with exporting(fake) as (exports, metrics):
        put(exports, *"abcdef")
        await until(lambda: len(fake.attempts) > 10 * module.MOST_REFUSALS)
        assert exports.degraded
        assert len(fake.attempts[-1]) == 1, "the search for the one that is refused ends at single records"
        fake.error = None
        await until(lambda: len(fake.taken) == 6)
        assert sample(metrics, "refused_total") == 0
        put(exports, *"ghijklmn")
        await until(lambda: len(fake.taken) == 14)
        assert max(map(len, fake.attempts)) == 4
        assert len(fake.attempts[-1]) > 1, "and then there are several at once again"
    assert sorted(fake.taken) == list("abcdefghijklmn")


async def test_stopping_delivers_what_waits_and_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be delivered in time is told."""
    monkeypatch.setattr(module, "STOP_S", 0.2)
    good, dead, stuck = Fake("good", 1), Fake("dead", error=SinkError("down")), Fake("stuck", hangs=asyncio.Event())
    with capture_logs() as logs:
        async with exporting(good, dead, stuck) as (exports, _):
            put(exports, "a", "b", "c")
    assert good.taken == ["a", "b", "c"]
    undelivered = {
        line["sink"]: line["records"] for line in logs if line["event"] == "usage records were not delivered"
    }
    assert undelivered == {"dead": 3, "stuck": 3}


# With a relay around it ----------------------------------------------------------------------------------------------


async def turn(running: Running) -> None:
    """A short session in which 1,000 tokens are used."""
    socket = await running.conversation()
    await speak(socket)
    await heard(socket)
    await socket.close()


async def is_degraded(running: Running) -> bool:
    """What /readyz says."""
    async with running.http.get(running.addresses["admin"] + "/readyz") as response:
        assert response.status == 200, "sessions may begin"
        degraded: bool = (await response.json())["degraded"]
        return degraded


async def wait_for_health(running: Running, degraded: bool) -> None:
    """Wait until /readyz says so."""
    async with asyncio.timeout(WAIT_S):
        while await is_degraded(running) is not degraded:
            await asyncio.sleep(0.01)


def webhook(url: str, **more: Any) -> dict[str, Any]:
    """A usage section with this webhook."""
    return {"webhook": {"url": url, "secret": SECRET, "longest_pause": "100ms", **more}}


async def test_records_and_budgets_reach_the_webhook(start: Start, origin: Origin) -> None:
    """The final record of a session, and each level of a budget in order, though one turn crossed all three."""
    origin.script = says(report(1_000, turnComplete=True))
    async with receiver() as there:
        running = await start(usage=webhook(there.url), tenant={"quotas": {"day": {"tokens": 1_000}}})
        await turn(running)
        await until(lambda: len(there.records) >= 4)
        usage = next(record for record in there.records if record["event"] == "usage" and record["final"])
        levels = [record for record in there.records if record["event"] == "budget"]
    assert (usage["tenant"], usage["cost"], usage["reason"]) == ("acme", "0.00075000", "budget_spent")
    assert usage["amounts"]["tokens"] == 1_000
    assert usage["id"] == f"{usage['session']}.1"
    assert [(level["tenant"], level["measure"], level["level_percent"]) for level in levels] == [
        ("acme", "tokens", percent) for percent in (80, 95, 100)
    ]
    assert len({level["id"] for level in levels}) == 3
    assert there.forged == 0


async def test_a_webhook_that_is_down_costs_no_session_anything(start: Start, origin: Origin) -> None:
    """Sessions begin and end, health says degraded, and when somebody answers, every record comes exactly as it was."""
    origin.script = says(report(1_000, turnComplete=True))
    async with receiver() as there:
        there.status = 503
        running = await start(usage=webhook(there.url))
        for _ in range(3):
            await turn(running)
        await wait_for_health(running, degraded=True)
        await turn(running)
        there.status = 200
        await wait_for_health(running, degraded=False)
        await until(lambda: len({record["session"] for record in there.records if record["final"]}) == 4)
    assert {record["amounts"]["tokens"] for record in there.records} == {1_000}


async def test_a_file_beside_the_log_or_instead_of_it(start: Start, origin: Origin, tmp_path: Path) -> None:
    """The same record, one whole line; with `log: false` it is not in the log as well."""
    origin.script = says(report(1_000, turnComplete=True))
    path = tmp_path / "usage.jsonl"
    running = await start(usage={"file": {"path": str(path)}, "log": False})
    with capture_logs() as logs:
        await turn(running)
        await until(lambda: path.exists() and path.read_bytes().endswith(b"\n"))
    (record,) = (json.loads(line) for line in path.read_text().splitlines())
    assert (record["event"], record["final"], record["cost"]) == ("usage", True, "0.00075000")
    assert not [line for line in logs if line["event"] == "usage"]


async def test_a_full_disk_costs_no_session_anything(start: Start, origin: Origin, tmp_path: Path) -> None:
    """The records wait, and stand in the file once and whole as soon as it can be written."""
    origin.script = says(report(1_000, turnComplete=True))
    path = tmp_path / "usage.jsonl"
    path.symlink_to("/dev/full")
    running = await start(usage={"file": {"path": str(path)}})
    for _ in range(3):
        await turn(running)
    await wait_for_health(running, degraded=True)
    path.unlink()
    await wait_for_health(running, degraded=False)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({record["session"] for record in records}) == len(records) == 3


async def test_what_ends_with_the_relay_is_still_recorded(start: Start, origin: Origin, tmp_path: Path) -> None:
    """Sessions that a shutdown ends have their last record too."""
    origin.script = says(report(1_000, turnComplete=True))
    path = tmp_path / "usage.jsonl"
    running = await start(usage={"file": {"path": str(path)}}, limits={"drain_timeout": "100ms"})
    socket = await running.conversation()
    await speak(socket)
    await heard(socket)
    stopping = asyncio.ensure_future(running.relay.stop())
    await socket.receive()
    await stopping
    (record,) = (json.loads(line) for line in path.read_text().splitlines())
    assert (record["reason"], record["amounts"]["tokens"]) == ("draining", 1_000)
