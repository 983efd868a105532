"""`python -m bench`: measure, print the table, save the figures."""

import argparse
import json
import os
import resource
import sys
from dataclasses import replace
from pathlib import Path

import uvloop

from bench.report import Summary
from bench.run import Plan, run, to_stderr
from bench.session import BenchError
from bench.subjects import SUBJECTS, nginx

_QUICK = {
    "repetitions": 2, "sessions": 50, "warmup_s": 1.0, "voice_s": 4.0, "loop_s": 1.0, "setups": 160, "ladder": (),
}  # fmt: skip


def main() -> int:
    """Run the benchmark; 1 when the run is worthless, or with --check when a target is missed."""
    options = _options()
    try:
        plan = _plan(options)
        summary = Summary(plan, uvloop.run(run(plan, to_stderr)))
    except BenchError as error:
        to_stderr(f"bench: {error}")
        return 1
    print(summary.markdown(), end="")
    if options.json is not None:
        options.json.write_text(json.dumps(summary.json(), indent=1) + "\n")
    targets = summary.targets()
    return 1 if options.check and not (targets and all(targets.values())) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What the relay costs, beside its peers.")
    parser.add_argument("--quick", action="store_true", help="short windows, two repetitions: a first look")
    parser.add_argument("--repetitions", type=int, help="interleaved repetitions (5)")
    parser.add_argument("--sessions", type=int, help="voice sessions (100)")
    parser.add_argument("--subjects", help=f"comma-separated, of {','.join(SUBJECTS)} (all)")
    parser.add_argument("--only", help="comma-separated, of voice,up,down,setup (all)")
    parser.add_argument("--ladder", help="comma-separated numbers of sessions for another look at latency (300)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save every figure here")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target is missed")
    return parser.parse_args()


def _plan(options: argparse.Namespace) -> Plan:
    if sys.platform != "linux":
        raise BenchError("needs Linux: it pins processes to cores and reads their clocks from outside")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("needs two cores: one for the process under test, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # children inherit it
    plan = Plan(_subjects(options), subject_core=cores[0])
    if options.quick:
        plan = replace(plan, **_QUICK)  # type: ignore[arg-type]
    if options.repetitions is not None:
        plan = replace(plan, repetitions=max(options.repetitions, 1))
    if options.sessions is not None:
        plan = replace(plan, sessions=max(options.sessions, 1))
    if options.only is not None:
        plan = replace(plan, only=tuple(options.only.split(",")))
    if options.ladder is not None:
        plan = replace(plan, ladder=tuple(int(step) for step in options.ladder.split(",") if step))
    return plan


def _subjects(options: argparse.Namespace) -> tuple[str, ...]:
    names = tuple(options.subjects.split(",")) if options.subjects else tuple(SUBJECTS)
    unknown = set(names) - SUBJECTS.keys()
    if unknown:
        raise BenchError(f"no such subject: {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    if "nginx" in names and nginx() is None:
        to_stderr("bench: SKIPPED: there is no nginx here (Debian: nginx-light); the table has no such row")
        names = tuple(name for name in names if name != "nginx")
    return names


if __name__ == "__main__":
    sys.exit(main())
