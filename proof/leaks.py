"""`python -m proof leaks`: many short lives and many handovers, and what the relay's process holds afterwards."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from proof.client import ProofError
from proof.figures import note, table
from proof.handovers import converse
from proof.records import Journals
from proof.stage import Plan, Stage, Vitals, stage

AT_ONCE = 20
HANDED_OVER = 50
"""Sessions that share the handovers."""
DROPPED_EVERY = 20
"""Every so many short sessions end by a cut instead of a close, so that they are parked."""
SLOPE_KIB = 1.0
"""Resident memory per short session, after the first thousand."""
_WARM = 1000
_QUIET_S = 30.0
_RESUMABLE: dict[str, Any] = {"sessionResumption": {}}


@dataclass(slots=True)
class Result:
    """What was held before, in between and after."""

    sessions: int
    handovers: int
    moments: list[tuple[str, int, Vitals]] = field(default_factory=list)
    """What had happened, how many sessions there were by then, what was held."""
    failures: list[str] = field(default_factory=list)

    @property
    def slope_kib(self) -> float | None:
        """Growth per short session, first wave left out; None without a second wave."""
        waves = [(count, vitals.resident_kib) for name, count, vitals in self.moments if name.endswith("sessions")]
        if len(waves) < 2:
            return None
        (first, before), (last, after) = waves[0], waves[-1]
        return (after - before) / (last - first)

    def broken(self) -> list[str]:
        """The promises this run broke, in words."""
        base = self.moments[0][2]
        wrong = [
            f"after {name}: tasks, timers, files {vitals.held}, at first {base.held}"
            for name, _, vitals in self.moments
            if vitals.held != base.held
        ]
        slope = self.slope_kib
        if slope is not None and slope > SLOPE_KIB:
            wrong.append(f"memory grows by {slope:.2f} KiB a session, promised {SLOPE_KIB:g}")
        return wrong + self.failures[:5]

    def table(self) -> str:
        """For people."""
        rows = [(name, v.tasks, v.timers, v.files, f"{v.resident_kib / 1024:.1f}") for name, _, v in self.moments]
        slope = self.slope_kib
        words = "not measured" if slope is None else f"{slope:.3f} KiB per session after the first wave"
        return f"{table(('after', 'tasks', 'timers', 'files', 'RSS MiB'), rows)}\n\nmemory slope: {words}"

    def json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "sessions": self.sessions,
            "handovers": self.handovers,
            "slope_kib_per_session": self.slope_kib,
            "moments": [
                {"after": name, **{part: getattr(v, part) for part in Vitals.__dataclass_fields__}}
                for name, _, v in self.moments
            ],
            "broken": self.broken(),
        }


async def run(sessions: int, handovers: int) -> Result:
    """Run it all. Raises ProofError when the relay can't be watched."""
    plan = Plan(
        watched=True,
        knobs={"recorded_messages": 0, "recorded_connections": 100, "burst": 2.0, "playback_wait": True},
        sections={
            "handover": {"dials_per_minute": 100_000, "rotate_after": "1h"},
            "parking": {"window": "1s"},
        },
    )
    result = Result(sessions, handovers)
    async with stage(plan, Journals()) as made:
        await _wave(made, result, AT_ONCE)  # what is made once and kept is there from now on
        await _calm(made, result, "warm-up")
        done = 0
        while done < sessions:
            count = min(_WARM, sessions - done)
            await _wave(made, result, count)
            done += count
            await _calm(made, result, f"{done} sessions", done)
            note(f"proof: {done} sessions")
        if handovers:
            outcomes = await converse(made, HANDED_OVER, handovers, 1)
            made_it = sum(one.handed_over for one in outcomes)
            if made_it != handovers:
                result.failures.append(f"only {made_it} of {handovers} handovers happened")
            await _calm(made, result, f"{made_it} handovers")
    return result


async def _wave(made: Stage, result: Result, count: int) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def life(number: int) -> None:
        async with places:
            try:
                async with made.client(_RESUMABLE) as client:
                    await client.chunk()
                    if number % DROPPED_EVERY == 0:
                        client.drop()
            except* ProofError as group:
                result.failures += [str(error) for error in group.exceptions]

    await asyncio.gather(*(life(number) for number in range(count)))


async def _calm(made: Stage, result: Result, name: str, sessions: int = 0) -> None:
    """Wait until the relay holds what it held at first, or as long as anything may take to go; note what it holds."""
    base = result.moments[0][2].held if result.moments else None
    deadline = asyncio.get_running_loop().time() + _QUIET_S
    vitals, before = await made.vitals(), None
    while vitals.held != base and asyncio.get_running_loop().time() < deadline:
        if base is None and before == vitals.held:
            break
        before = vitals.held
        await asyncio.sleep(0.5 if base else 12.0)  # handshakes that linger are kept for 10 s
        vitals = await made.vitals()
    result.moments.append((name, sessions, vitals))
