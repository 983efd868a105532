"""One measurement of one subject. Every one of them ends with all frames accounted for, or with a BenchError."""

import asyncio
import time
from dataclasses import dataclass, field

from bench import payloads
from bench.session import BenchError, Flow, Session
from bench.stage import Stage
from bench.subjects import Running
from bench.voice import Voice

Figures = dict[str, float]
"""Results by name; the unit is the end of the name."""

_SETTLE_TIMEOUT_S = 10.0
_LEAST_DELIVERED = 0.85
"""Part of the planned load that has to go through within the window; less, and the machine was busy elsewhere."""

UP_FRAME, UP_BYTES = payloads.up_frame(), len(payloads.audio_up())
DOWN_FRAME, DOWN_BYTES = payloads.down_frame(), len(payloads.audio_down())


@dataclass(slots=True)
class Bench:
    """A subject on the stage, and what it has forwarded so far."""

    stage: Stage
    running: Running
    sessions: int = 0
    frames_up: int = 0
    frames_down: int = 0
    _live: list[Session] = field(default_factory=list)

    async def open(self, count: int) -> list[Session]:
        """Open sessions through the subject."""
        self._live = await self.stage.open_many(count, self.running.port, self.running.key, self.running.enforces)
        self.sessions += count
        return self._live

    async def close(self) -> None:
        """Close them, and add up what went through."""
        await self.stage.close_many(self._live)
        self.frames_up += sum(session.up.received for session in self._live)
        self.frames_down += sum(session.down.received for session in self._live)
        self._live = []
        self.stage.check()

    async def setups(self, count: int) -> None:
        """Open and close sessions, one after the other."""
        for _ in range(count):
            session = await self.stage.open(self.running.port, self.running.key, self.running.enforces)
            await self.stage.close(session)
        self.sessions += count

    def cpu_s(self) -> float:
        """CPU time of the process under test; none is used by none."""
        return self.running.process.cpu_s() if self.running.process is not None else 0.0

    def resident_kib(self) -> float:
        """Resident memory of the process under test."""
        return self.running.process.resident_bytes() / 1024 if self.running.process is not None else 0.0


@dataclass(slots=True)
class _Window:
    """What CPU time and frames were at its beginning."""

    bench: Bench
    flows: list[Flow]
    began_at: float = field(default_factory=time.perf_counter)
    cpu_s: float = 0.0
    load_cpu_s: float = 0.0
    frames: int = 0

    def __post_init__(self) -> None:
        self.cpu_s, self.load_cpu_s, self.frames = self._read()

    def _read(self) -> tuple[float, float, int]:
        return self.bench.cpu_s(), time.process_time(), sum(flow.received for flow in self.flows)

    def figures(self) -> Figures:
        """CPU per forwarded frame, and how busy both sides of the measurement were."""
        cpu_s, load_cpu_s, frames = self._read()
        took_s, forwarded = time.perf_counter() - self.began_at, frames - self.frames
        if not forwarded:
            raise BenchError("not one frame was forwarded")
        return {
            "frame_us": (cpu_s - self.cpu_s) / forwarded * 1e6,
            "frames": forwarded,
            "frames_per_s": forwarded / took_s,
            "busy_percent": (cpu_s - self.cpu_s) / took_s * 100,
            "load_busy_percent": (load_cpu_s - self.load_cpu_s) / took_s * 100,
        }


async def voice(bench: Bench, sessions: int, warmup_s: float, window_s: float) -> Figures:
    """Sessions that talk in real time: memory while idle and while talking, CPU per frame, latency each way."""
    await _warm_up(bench)
    empty_kib = bench.resident_kib()
    opened = await bench.open(sessions)
    await asyncio.sleep(1.0)
    idle_kib = bench.resident_kib()
    ups, downs = [session.up for session in opened], [session.down for session in opened]
    talk = Voice(opened)
    talk.start()
    await asyncio.sleep(warmup_s)
    up_s, down_s = _collect(ups), _collect(downs)
    window = _Window(bench, ups + downs)
    await asyncio.sleep(window_s)
    figures = window.figures()
    talk.stop()
    active_kib = bench.resident_kib()
    await _settle(bench, ups + downs)
    await bench.close()
    delivered = figures["frames"] / (sessions * payloads.FRAMES_PER_SECOND * window_s)
    if delivered < _LEAST_DELIVERED:
        raise BenchError(f"only {delivered:.0%} of the load went through: too much else runs on this machine")
    return {
        **figures,
        "delivered_percent": delivered * 100,
        **_percentiles("up", up_s),
        **_percentiles("down", down_s),
        "idle_kib": (idle_kib - empty_kib) / sessions,
        "active_kib": (active_kib - empty_kib) / sessions,
    }


async def closed_loop(bench: Bench, sessions: int, in_flight: int, window_s: float, *, up: bool) -> Figures:
    """As many frames one way as fit through, with a fixed number under way in each session."""
    opened = await bench.open(sessions)
    flows = [session.up if up else session.down for session in opened]
    frame, length = (UP_FRAME, UP_BYTES) if up else (DOWN_FRAME, DOWN_BYTES)
    for flow in flows:
        flow.refill, flow.refill_bytes = frame, length
        for _ in range(in_flight):
            flow.send(frame)
    await asyncio.sleep(min(0.5, window_s))
    window = _Window(bench, flows)
    await asyncio.sleep(window_s)
    figures = window.figures()
    for flow in flows:
        flow.refill = None
    await _settle(bench, flows)
    await bench.close()
    return figures


async def setups(bench: Bench, count: int, at_once: int) -> Figures:
    """Sessions opened up to setupComplete and closed again, a fixed number at a time."""
    await bench.setups(5)
    each = count // at_once
    cpu_s, began_at = bench.cpu_s(), time.perf_counter()
    await asyncio.gather(*(bench.setups(each) for _ in range(at_once)))
    took_s = time.perf_counter() - began_at
    bench.stage.check()
    return {
        "setup_us": (bench.cpu_s() - cpu_s) / (each * at_once) * 1e6,
        "setups_per_s": each * at_once / took_s,
    }


async def _warm_up(bench: Bench) -> None:
    """A few frames both ways, so that what a process loads or allocates once is not counted as a session's."""
    for session in await bench.open(4):
        session.up.send(UP_FRAME)
        session.down.send(DOWN_FRAME)
    await asyncio.sleep(0.3)
    await bench.close()


async def _settle(bench: Bench, flows: list[Flow]) -> None:
    """Wait until all that was sent has arrived; then nothing was lost and no session cut."""
    deadline = time.perf_counter() + _SETTLE_TIMEOUT_S
    while any(flow.received != flow.sent for flow in flows):
        bench.stage.check()
        if time.perf_counter() > deadline:
            lost = sum(flow.sent - flow.received for flow in flows)
            raise BenchError(f"{bench.running.name}: {lost} frames were sent and never arrived")
        await asyncio.sleep(0.02)
    bench.stage.check()
    if bench.running.process is not None:
        bench.running.process.check()


def _collect(flows: list[Flow]) -> list[float]:
    latencies_s: list[float] = []
    for flow in flows:
        flow.latencies_s = latencies_s
    return latencies_s


def _percentiles(name: str, latencies_s: list[float]) -> Figures:
    ordered = sorted(latencies_s)
    return {
        f"{name}_p{percent}_ms": ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1000
        for percent in (50, 99)
    }
