"""The run: repetitions in which every measurement goes round all subjects before the next one begins.

Whatever else the machine does then hits neighbours alike, and a ratio taken within one repetition survives it.
"""

import asyncio
import contextlib
import gc
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench import measure
from bench.measure import Bench, Figures
from bench.session import BenchError
from bench.stage import Stage
from bench.subjects import SUBJECTS, Place, forwarded

Repetition = dict[str, dict[str, Figures]]
"""By measurement, then by subject."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    subjects: tuple[str, ...]
    repetitions: int = 5
    sessions: int = 100
    """Of the voice load."""
    warmup_s: float = 2.0
    voice_s: float = 8.0
    """Two turns of every session."""
    loop_sessions: int = 16
    loop_in_flight: int = 8
    """Frames under way in each session of a closed loop."""
    loop_s: float = 2.0
    setups: int = 320
    setups_at_once: int = 16
    ladder: tuple[int, ...] = (300,)
    """Numbers of sessions at which latency is looked at again."""
    ladder_s: float = 4.0
    subject_core: int = 0
    only: tuple[str, ...] = ()
    """Measurements to take; all when empty."""

    @property
    def deadline_s(self) -> float:
        """When a repetition has gone wrong: a generous multiple of what its windows add up to."""
        voices = self.warmup_s + self.voice_s + len(self.ladder) * (self.warmup_s + self.ladder_s)
        return 60.0 + 4.0 * len(self.subjects) * (voices + 2 * self.loop_s + self.setups * 0.03)


def measurements(plan: Plan) -> dict[str, Callable[[Bench], Awaitable[Figures]]]:
    """What is measured, in this order; `voice` comes first because it needs a fresh process to tell its memory."""

    def ladder(sessions: int) -> Callable[[Bench], Awaitable[Figures]]:
        return lambda bench: measure.voice(bench, sessions, plan.warmup_s, plan.ladder_s)

    def loop(bench: Bench, up: bool) -> Awaitable[Figures]:
        return measure.closed_loop(bench, plan.loop_sessions, plan.loop_in_flight, plan.loop_s, up=up)

    every: dict[str, Callable[[Bench], Awaitable[Figures]]] = {
        "voice": lambda bench: measure.voice(bench, plan.sessions, plan.warmup_s, plan.voice_s),
        "up": lambda bench: loop(bench, True),
        "down": lambda bench: loop(bench, False),
        "setup": lambda bench: measure.setups(bench, plan.setups, plan.setups_at_once),
        **{f"voice {sessions}": ladder(sessions) for sessions in plan.ladder},
    }
    return {name: work for name, work in every.items() if not plan.only or name.partition(" ")[0] in plan.only}


async def run(plan: Plan, tell: Callable[[str], None]) -> list[Repetition]:
    """All repetitions. Raises BenchError as soon as anything is not as it has to be."""
    repetitions = []
    for number in range(plan.repetitions):
        try:
            async with asyncio.timeout(plan.deadline_s):
                repetitions.append(await _repetition(plan, number, tell))
        except TimeoutError:
            raise BenchError(f"repetition {number + 1} took longer than {plan.deadline_s:.0f} s") from None
    return repetitions


async def _repetition(plan: Plan, number: int, tell: Callable[[str], None]) -> Repetition:
    turned = number % len(plan.subjects)  # nobody is always first
    order = plan.subjects[turned:] + plan.subjects[:turned]
    results: Repetition = {}
    async with contextlib.AsyncExitStack() as stack:
        stage = Stage()
        await stage.start()
        stack.callback(stage.stop)
        benches = {name: await _start(stage, name, plan, stack) for name in order}
        for measurement, work in measurements(plan).items():
            results[measurement] = {}
            for name in order:
                gc.collect()  # of the load's own garbage, before rather than during the window
                try:
                    results[measurement][name] = await work(benches[name])
                except BenchError as error:
                    raise BenchError(f"{measurement}, {name}: {error}") from None
            tell(f"repetition {number + 1}/{plan.repetitions}: {measurement} {_brief(results[measurement])}")
        for bench in benches.values():
            await _check(bench)
    return results


async def _start(stage: Stage, name: str, plan: Plan, stack: contextlib.AsyncExitStack) -> Bench:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-bench-")))
    running = await SUBJECTS[name](Place(stage.port, plan.subject_core, folder))
    if running.process is not None:
        stack.push_async_callback(running.process.stop)
    return Bench(stage, running)


async def _check(bench: Bench) -> None:
    """The subject is what it was, and where it keeps count itself, it counted what we did."""
    running = bench.running
    if running.process is not None:
        running.process.check()
    if running.admin_port is not None:
        counted = await forwarded(running)
        # setupComplete and the first handle are frames to the relay; here they are part of opening a session
        ours = {"up": bench.frames_up, "down": bench.frames_down + 2 * bench.sessions}
        if counted != ours:
            raise BenchError(f"{running.name} counted {counted}, the two ends {ours}")


def _brief(figures: dict[str, Figures]) -> str:
    def one(found: Figures) -> float:
        return found["setup_us"] if "setup_us" in found else found["frame_us"]

    return ", ".join(f"{name} {one(found):.1f}" for name, found in figures.items() if one(found)) + " µs"


def to_stderr(line: str) -> None:
    """Progress, where it does not mix with the table."""
    print(line, file=sys.stderr, flush=True)
