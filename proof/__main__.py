"""`python -m proof`: commands, each a table, JSON on request, and exit code 1 when a promise is broken."""

import argparse
import asyncio
import logging
import resource
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

try:
    from uvloop import new_event_loop
except ImportError:  # pyproject.toml asks for it on Linux only
    from asyncio import new_event_loop  # type: ignore[assignment]

from proof import admission, budget, handovers, hostile, leaks, matrix, mutating, outage, siege, usage
from proof.client import ProofError
from proof.figures import note, save
from relay.config import ConfigError
from relay.sim.profile import duration_s


def main() -> int:
    """Run one command; 1 when a promise is broken or nothing could be measured."""
    options = _parser().parse_args()
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # the simulator's, whose lines are cut on purpose
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run: Callable[[argparse.Namespace], Coroutine[Any, Any, list[str]]] = options.run
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            broken = runner.run(run(options))
    except (ProofError, ConfigError) as error:
        broken = [str(error)]
    for words in broken:
        note(f"proof: BROKEN: {words}")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proof", description="Does a session outlive its connections?")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    many = commands.add_parser("handovers", help="planned handovers over streaming sessions")
    many.add_argument("--sessions", type=int, default=50)
    many.add_argument("--handovers", type=int, default=1000, help="all sessions together")
    many.add_argument("--mode", choices=("transparent", "handles"), default="transparent", help="Vertex, or the others")
    many.add_argument(
        "--order", choices=("dial_first", "close_first", "overlap"), help="the relay's default unless given"
    )
    many.add_argument("--rtt", type=duration_s, default=0.0, metavar="TIME", help="between relay and simulator")
    many.set_defaults(run=_handovers)
    faults = commands.add_parser("matrix", help="every fault by name")
    faults.add_argument("--row", action="append", default=[], metavar="NAME", help="only rows that begin like this")
    faults.set_defaults(run=_matrix)
    lives = commands.add_parser("leaks", help="short sessions and handovers, and what is left of them")
    lives.add_argument("--sessions", type=int, default=10_000)
    lives.add_argument("--handovers", type=int, default=500)
    lives.set_defaults(run=_leaks)
    tokens = commands.add_parser("usage", help="every token of many turns, across handovers and kills of the relay")
    tokens.add_argument("--turns", type=int, default=10_000)
    tokens.add_argument("--sessions", type=int, default=50)
    tokens.add_argument("--kills", type=int, default=2)
    tokens.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    tokens.add_argument("--upstream", choices=("gemini", "vertex"), default="gemini", help="whose spelling")
    tokens.set_defaults(run=_usage)
    doors = commands.add_parser("admission", help="three relays on one Redis: a crowd, and Redis fails")
    doors.add_argument("--crowd", type=int, default=600)
    doors.add_argument("--limit", type=int, default=100)
    doors.add_argument("--sessions", type=int, default=15, help="that talk while Redis fails")
    doors.add_argument("--away", type=duration_s, default=6.0, metavar="TIME", help="how long Redis fails, each time")
    doors.set_defaults(run=_admission)
    limits = commands.add_parser("budget", help="tenants that use more than they may")
    limits.set_defaults(run=_budget)
    without = commands.add_parser("mutations", help="each protection switched off: does a test fail?")
    without.add_argument("--only", action="append", default=[], metavar="ROW", help="a row, or words of a protection")
    without.add_argument("--jobs", type=int, default=2, help="how many at a time")
    without.set_defaults(run=_mutations)
    foes = commands.add_parser("hostile", help="hostile clients, one by one and all at once beside others")
    foes.add_argument("--seconds", type=float, default=60.0, help="with all at once, and as long without any")
    foes.add_argument("--sessions", type=int, default=20, help="that behave")
    foes.add_argument("--each", type=int, default=1, help="hostile clients of a kind at once")
    foes.add_argument("--readers", type=int, default=50, help="clients that do not read")
    foes.set_defaults(run=_hostile)
    for command in (many, faults, lives, tokens, doors, limits, without, foes):
        command.add_argument("--json", type=Path, metavar="FILE", help="save every figure here")
    return parser


async def _handovers(options: argparse.Namespace) -> list[str]:
    result = await handovers.run(
        handovers.Options(
            sessions=options.sessions,
            handovers=options.handovers,
            transparent=options.mode == "transparent",
            order=options.order,
            rtt_s=options.rtt,
        )
    )
    print(result.tables())
    save(options.json, result.json())
    return result.broken()


async def _matrix(options: argparse.Namespace) -> list[str]:
    try:
        rows = matrix.chosen(options.row)
    except ValueError as error:
        raise ProofError(str(error)) from None
    verdicts = await matrix.run(rows)
    print(matrix.shown(verdicts))
    save(options.json, matrix.json(verdicts))
    return matrix.broken(verdicts)


async def _leaks(options: argparse.Namespace) -> list[str]:
    result = await leaks.run(options.sessions, options.handovers)
    print(result.table())
    save(options.json, result.json())
    return result.broken()


async def _usage(options: argparse.Namespace) -> list[str]:
    result = await usage.run(
        usage.Options(
            turns=options.turns,
            sessions=options.sessions,
            store=options.store,
            kills=options.kills,
            vertex=options.upstream == "vertex",
        )
    )
    print(result.tables())
    save(options.json, result.json())
    return result.broken()


async def _admission(options: argparse.Namespace) -> list[str]:
    result = await admission.run(
        outage.Options(crowd=options.crowd, limit=options.limit, sessions=options.sessions, phase_s=options.away)
    )
    print(result.tables())
    save(options.json, result.json())
    return result.broken()


async def _budget(options: argparse.Namespace) -> list[str]:
    verdicts = await budget.run()
    print(budget.shown(verdicts))
    save(options.json, budget.json(verdicts))
    return budget.broken(verdicts)


async def _mutations(options: argparse.Namespace) -> list[str]:
    verdicts = await mutating.run(options.only, options.jobs)
    print(mutating.shown(verdicts))
    save(options.json, mutating.json(verdicts))
    return mutating.broken(verdicts)


async def _hostile(options: argparse.Namespace) -> list[str]:
    chosen = siege.Options(options.seconds, options.sessions, options.each, options.readers)
    result = await hostile.run(chosen)
    print(result.tables())
    save(options.json, result.json())
    return result.broken()


if __name__ == "__main__":
    sys.exit(main())
