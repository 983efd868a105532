"""Figures into words: medians over the repetitions, ratios within each of them, one Markdown table."""

import os
import platform
import re
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import DOWN_BYTES, UP_BYTES
from bench.run import Plan, Repetition
from bench.subjects import nginx

TARGET_RATIO = 1.0
"""CPU per frame under the voice load, relay to naive pump."""
TARGET_IDLE_KIB = 64.0
"""Per idle session, both legs."""

_LABELS = {
    "direct": "direct (nothing between)",
    "relay": "**relay** (uvloop; parsing, policy, metering)",
    "naive": 'aiohttp pump, asyncio ("naive")',
    "naive-uvloop": "aiohttp pump, uvloop",
    "nginx": "nginx, one worker",
}


class Summary:
    """What the repetitions say together."""

    def __init__(self, plan: Plan, repetitions: list[Repetition]) -> None:
        self._plan = plan
        self._repetitions = repetitions

    def figure(self, measurement: str, subject: str, name: str) -> float | None:
        """The median of one figure; None where it was not measured."""
        return self._median(lambda found: found[measurement][subject][name])

    def ratio(self, measurement: str, subject: str, other: str, name: str = "frame_us") -> float | None:
        """The median of the ratios taken in each repetition."""
        return self._median(lambda found: found[measurement][subject][name] / found[measurement][other][name])

    def added(self, subject: str, name: str, measurement: str = "voice") -> float | None:
        """The median of what a figure is above that of a direct connection in the same repetition."""
        return self._median(lambda found: found[measurement][subject][name] - found[measurement]["direct"][name])

    def _median(self, of: Callable[[Repetition], float]) -> float | None:
        try:
            return median(of(found) for found in self._repetitions)
        except (KeyError, ZeroDivisionError):
            return None

    def targets(self) -> dict[str, bool]:
        """The promises of the relay, each kept or not; empty where they were not measured."""
        ratio = self.ratio("voice", "relay", "naive")
        idle_kib = self.figure("voice", "relay", "idle_kib")
        kept = {}
        if ratio is not None:
            kept[f"CPU per frame ≤ {TARGET_RATIO:g} × naive pump (measured {ratio:.2f})"] = ratio <= TARGET_RATIO
        if idle_kib is not None:
            kept[f"idle session ≤ {TARGET_IDLE_KIB:g} KiB (measured {idle_kib:.0f})"] = idle_kib <= TARGET_IDLE_KIB
        return kept

    def markdown(self) -> str:
        """Machine, tables and targets."""
        plan = self._plan
        parts = [
            f"{machine_line()}; medians of {plan.repetitions} interleaved repetitions.",
            f"CPU of the process under test, {plan.sessions} voice sessions; frames of {UP_BYTES:,} bytes up and "
            f"{DOWN_BYTES:,} bytes down:",
            self._cost_table(),
            "Added latency at the same load, against a direct connection:",
            self._latency_table(),
            self._load_line(),
        ]
        if plan.ladder:
            parts += ["With more sessions (frames of both directions; busy = share of its core):", self._ladder_table()]
        verdicts = {True: "met", False: "**MISSED**"}
        parts.append("\n".join(f"- {verdicts[kept]}: {words}" for words, kept in self.targets().items()))
        return "\n\n".join(part for part in parts if part) + "\n"

    def _cost_table(self) -> str:
        head = (
            "voice µs/frame", "× naive", "× nginx", "down 10 KB loop µs", "up 1.8 KB loop µs",
            "set-up µs", "set-ups/s", "idle KiB", "active KiB",
        )  # fmt: skip
        rows = {}
        for name in self._processes():
            rows[name] = [
                _shown(self.figure("voice", name, "frame_us")),
                _shown(self.ratio("voice", name, "naive"), 2),
                _shown(self.ratio("voice", name, "nginx"), 2),
                _shown(self.figure("down", name, "frame_us")),
                _shown(self.figure("up", name, "frame_us")),
                _shown(self.figure("setup", name, "setup_us"), 0),
                _shown(self.figure("setup", name, "setups_per_s"), 0),
                _shown(self.figure("voice", name, "idle_kib"), 0),
                _shown(self.figure("voice", name, "active_kib"), 0),
            ]
        return _table(head, rows)

    def _latency_table(self) -> str:
        head = ("up p50 ms", "up p99 ms", "down p50 ms", "down p99 ms")
        names = ("up_p50_ms", "up_p99_ms", "down_p50_ms", "down_p99_ms")
        rows = {name: [_shown(self.added(name, figure), 2) for figure in names] for name in self._processes()}
        if "direct" in self._plan.subjects:
            absolute = [_shown(self.figure("voice", "direct", figure), 2) for figure in names]
            rows = {"direct": [f"({cell})" for cell in absolute], **rows}
        return _table(head, rows)

    def _ladder_table(self) -> str:
        steps = self._plan.ladder
        head = tuple(f"{count} sessions: {what}" for count in steps for what in ("up p99 ms", "down p99 ms", "busy %"))
        rows = {}
        for name in self._processes():
            rows[name] = [
                _shown(self.figure(f"voice {count}", name, figure), digits)
                for count in steps
                for figure, digits in (("up_p99_ms", 1), ("down_p99_ms", 1), ("busy_percent", 0))
            ]
        return _table(head, rows)

    def _load_line(self) -> str:
        """How far the figures can be trusted."""
        voices = [found["voice"][name] for found in self._repetitions for name in found.get("voice", {})]
        if not voices:
            return ""
        delivered = min(one["delivered_percent"] for one in voices)
        busy = max(one["load_busy_percent"] for one in voices)
        return f"The load process was busy at most {busy:.0f} %; at least {delivered:.0f} % of the load came in time."

    def _processes(self) -> list[str]:
        return [name for name in self._plan.subjects if name != "direct"]

    def json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "machine": machine(),
            "plan": {name: getattr(self._plan, name) for name in self._plan.__dataclass_fields__},
            "targets": self.targets(),
            "ratios": {
                f"{name}/{other}": self.ratio("voice", name, other)
                for name in self._processes()
                for other in ("naive", "nginx")
            },
            "repetitions": self._repetitions,
        }


def _table(head: tuple[str, ...], rows: dict[str, list[str]]) -> str:
    lines = [f"| | {' | '.join(head)} |", "|---" + "|---:" * len(head) + "|"]
    measured = {name: cells for name, cells in rows.items() if set(cells) != {"–"}}
    lines += [f"| {_LABELS[name]} | {' | '.join(cells)} |" for name, cells in measured.items()]
    return "\n".join(lines) if measured else ""


def _shown(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def machine() -> dict[str, str]:
    """What a figure depends on; nothing that names the machine."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    facts = {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "linux": re.match(r"[\d.]*\d", platform.release())[0],  # type: ignore[index]
        "python": platform.python_version(),
        **{package: version(package) for package in ("aiohttp", "uvloop", "orjson")},
    }
    program = nginx()
    if program is not None:
        shown = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
        facts["nginx"] = shown.strip().rpartition("/")[2]
    return facts


def machine_line() -> str:
    """The same in one line."""
    return ", ".join(f"{name} {value}" for name, value in machine().items())
