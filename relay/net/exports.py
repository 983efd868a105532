"""Takes usage records to where the operator wants them, one task for each place, never on the way of a frame.

A place that fails is tried again after a random pause that grows; meanwhile records wait in bounded memory, where a
newer record of a session replaces the older one. Records come at least once. One that is refused again and again does
not hold up those behind it: it goes behind them, and is given up when many others were taken meanwhile.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
import structlog

from relay.metrics import Metrics
from relay.net.spool import Item, Spool
from relay.net.usage_file import RefusedError, SinkError

FIRST_PAUSE_S = 0.5
MOST_REFUSALS = 20
"""Of one record, each after others were taken: a receiver that fails half the time does that to one in a million."""
SLOW_S = 5.0
"""A delivery that takes longer counts as a failure already, for health; it is still waited for."""
STOP_S = 2.0
"""For the last records to be taken when the relay stops."""

_log = structlog.get_logger()


class Sink(Protocol):
    """A place that takes records."""

    @property
    def name(self) -> str:
        """In logs and metrics."""
        ...

    @property
    def batch(self) -> int:
        """How many records it takes at once."""
        ...

    async def start(self) -> None:
        """Get ready."""
        ...

    async def stop(self) -> None:
        """Let go of everything."""
        ...

    async def deliver(self, items: Sequence[Item]) -> None:
        """Take records. Raises SinkError; then the same ones come again."""
        ...


@dataclass(slots=True)
class Lane:
    """One place, and what waits for it."""

    sink: Sink
    spool: Spool
    longest_pause_s: float
    degraded: bool = False
    failures: int = 0
    """In a row."""
    under_way: int = 0
    """Records of the delivery that is being tried."""
    lost_counted: int = 0
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    most: int = field(init=False)
    """How many records are tried at once: fewer and fewer while they are refused."""
    _refusals: dict[str, tuple[int, int]] = field(init=False, default_factory=dict)
    """By key: how often a record was refused alone, and the deliveries by then."""
    _deliveries: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.most = self.sink.batch

    def taken(self, items: Sequence[Item]) -> None:
        """These were delivered."""
        self.most = min(self.most * 2, self.sink.batch)
        self._deliveries += 1
        for item in items:
            self._refusals.pop(item.key, None)

    def refused(self, items: list[Item]) -> Item | None:
        """These were refused: try fewer at once, and one that was alone behind all others; it, if it is given up."""
        self.most = max(len(items) // 2, 1)
        if len(items) > 1:
            self.spool.give_back(items)
            return None
        (item,) = items
        times, deliveries = self._refusals.get(item.key, (0, -1))
        if self._deliveries > deliveries:  # where nothing else is taken either, it is not the record's fault
            times += 1
        if times >= MOST_REFUSALS:
            del self._refusals[item.key]
            return item
        self._refusals = {key: found for key, found in self._refusals.items() if key in self.spool}
        self._refusals[item.key] = (times, self._deliveries)
        self.spool.set_aside(item)
        return None


class Exports:
    """Every place that records go to beside the log."""

    def __init__(self, lanes: Sequence[Lane], metrics: Metrics, random: Callable[[], float]) -> None:
        """`random` draws from [0, 1) for the pauses."""
        self._lanes = lanes
        self._metrics = metrics
        self._random = random
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        for lane in lanes:
            metrics.declare_export(lane.sink.name)

    @property
    def degraded(self) -> bool:
        """Whether a place takes no records now."""
        return any(lane.degraded for lane in self._lanes)

    def put(self, key: str, record_id: str, record: Mapping[str, Any]) -> None:
        """Hand a record to every place; it is on its way when this returns, and nothing was waited for."""
        if not self._lanes:
            return
        item = Item(key, record_id, orjson.dumps(record))
        for lane in self._lanes:
            lane.spool.put(item)
            lane.filled.set()
            self._count(lane)

    async def start(self) -> None:
        """Begin to deliver."""
        for lane in self._lanes:
            await lane.sink.start()
            task = asyncio.get_running_loop().create_task(self._run(lane), name=f"export {lane.sink.name}")
            self._tasks.append(task)

    async def stop(self) -> None:
        """Deliver what waits, within `STOP_S`."""
        self._stopping.set()
        for lane in self._lanes:
            lane.filled.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self._lanes:
            left = len(lane.spool) + lane.under_way
            if left:
                _log.error("usage records were not delivered", sink=lane.sink.name, records=left)
            await lane.sink.stop()

    async def _run(self, lane: Lane) -> None:
        while lane.spool or not self._stopping.is_set():
            lane.filled.clear()
            items = lane.spool.take(lane.most)
            if not items:
                await lane.filled.wait()
                continue
            lane.under_way = len(items)
            failure = await self._attempt(lane, items)
            if failure is None:
                lane.taken(items)
            elif isinstance(failure, RefusedError):
                given_up = lane.refused(items)
                if given_up is not None:
                    self._give_up(lane, given_up)
                    failure = None  # the place is well: it has just taken others
            else:
                lane.spool.give_back(items)
            lane.under_way = 0
            self._note(lane, failure)
            if isinstance(failure, RefusedError) and len(items) > 1:
                lane.failures = 1  # the search for the one that is refused should not take minutes
            if failure is not None:
                await self._pause(lane)

    def _give_up(self, lane: Lane, item: Item) -> None:
        self._metrics.export_refused.labels(lane.sink.name).inc()
        _log.error("a usage record was given up: it is always refused", sink=lane.sink.name, record=item.id)

    async def _attempt(self, lane: Lane, items: Sequence[Item]) -> SinkError | None:
        """Deliver once; what went wrong, if anything did."""
        slow = asyncio.get_running_loop().call_later(SLOW_S, self._note_degraded, lane, "it takes too long")
        try:
            await lane.sink.deliver(items)
        except SinkError as error:
            return error
        except Exception as error:  # a bug must not end the task: later records would wait for ever
            _log.error("export crashed", sink=lane.sink.name, exc_info=error)
            return SinkError(type(error).__name__)
        finally:
            slow.cancel()
        self._metrics.export_records.labels(lane.sink.name).inc(len(items))
        return None

    async def _pause(self, lane: Lane) -> None:
        """Full jitter: many replicas that failed together must not come back together."""
        longest_s = FIRST_PAUSE_S if self._stopping.is_set() else lane.longest_pause_s
        ceiling_s = min(longest_s, FIRST_PAUSE_S * 2.0 ** min(lane.failures - 1, 30))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._random() * ceiling_s):
                await (asyncio.Event() if self._stopping.is_set() else self._stopping).wait()

    def _note(self, lane: Lane, failure: SinkError | None) -> None:
        if failure is not None:
            lane.failures += 1
            self._note_degraded(lane, str(failure))
        else:
            if lane.degraded:
                _log.info("usage records are taken again", sink=lane.sink.name, waiting=len(lane.spool))
            lane.failures, lane.degraded = 0, False
        self._count(lane)

    def _note_degraded(self, lane: Lane, cause: str) -> None:
        if not lane.degraded:
            _log.error("usage records are not taken; they wait", sink=lane.sink.name, cause=cause)
        lane.degraded = True
        self._count(lane)

    def _count(self, lane: Lane) -> None:
        name = lane.sink.name
        self._metrics.export_degraded.labels(name).set(lane.degraded)
        self._metrics.export_waiting.labels(name).set(len(lane.spool) + lane.under_way)
        if lane.spool.lost > lane.lost_counted:
            if not lane.lost_counted:
                _log.error("usage records were dropped: too many wait", sink=name)
            self._metrics.export_lost.labels(name).inc(lane.spool.lost - lane.lost_counted)
            lane.lost_counted = lane.spool.lost
