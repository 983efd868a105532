"""`make autobahn`: all 517 cases in both roles, and once more those of sizes under the limits of production.

Without Python 2.7 nothing is run, which is said aloud and is no failure.
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.autobahn import running, tool, verdict
from tests.autobahn.echo import LARGE
from tests.autobahn.tool import Index, MissingError
from tests.autobahn.verdict import COMPRESSION, CORE, SIZES

EVERYTHING = (CORE, SIZES, COMPRESSION)
WITHIN_S = 1800.0
PRODUCTION_BYTES = 256 * 1024
"""`limits.max_message` unless the operator says otherwise."""


@dataclass(frozen=True, slots=True)
class Run:
    """One line of the table."""

    index: Index
    summary: str
    broken: list[str]


async def server(command: Path) -> Run:
    """The relay accepts."""
    cases = [case for group in EVERYTHING for case in group]
    index = await running.as_server(command, cases, {"max_message": LARGE}, WITHIN_S)
    return Run(index, verdict.summary(index), verdict.broken(index, EVERYTHING))


async def client(command: Path) -> Run:
    """The relay dials."""
    cases = [case for group in EVERYTHING for case in group]
    index = await running.as_client(command, cases, {"max_message": LARGE})
    return Run(index, verdict.summary(index), verdict.broken(index, EVERYTHING))


async def limits(command: Path) -> Run:
    """The relay accepts, and takes no message that is larger than one of a client may be."""
    index, closes = await running.once_as_server(command, SIZES, {}, WITHIN_S)
    too_big = [case for case in index if verdict.size_bytes(case) > PRODUCTION_BYTES]
    broken = verdict.broken_at_limit(index, PRODUCTION_BYTES)
    if closes.count("frame_too_big") != len(too_big):
        broken.append(f"{closes.count('frame_too_big')} sessions ended as too big and not {len(too_big)}")
    refused = sum(index[case]["behavior"] == "FAILED" for case in too_big)
    return Run(index, f"{len(index) - len(too_big)} within the limit, {refused} refused as too big", broken)


RUNS: dict[str, Callable[[Path], Coroutine[Any, Any, Run]]] = {
    "server": server,
    "client": client,
    "limits": limits,
}


def main() -> int:
    """Run what was asked for; 1 when a case did not end as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn", description=__doc__)
    parser.add_argument("runs", nargs="*", choices=[[], *RUNS], help="all of them unless given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save what the suite said of each case here")
    parser.add_argument("--install", action="store_true", help="install the suite and run nothing")
    options = parser.parse_args()
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    try:
        command = tool.install()
    except MissingError as missing:
        print(f"!! NOT RUN: {missing}", file=sys.stderr)
        return 0 if tool.python2() is None else 1
    if options.install:
        return 0
    done: dict[str, Run] = {}
    for name in options.runs or RUNS:
        began = time.monotonic()
        done[name] = run = asyncio.run(RUNS[name](command))
        print(f"{name:8} {len(run.index):4} cases in {time.monotonic() - began:5.1f} s: {run.summary}", flush=True)
        for words in run.broken:
            print(f"autobahn: BROKEN: {name}: {words}", file=sys.stderr)
    if options.json is not None:
        options.json.write_text(json.dumps({name: run.index for name, run in done.items()}, indent=1))
    return 1 if any(run.broken for run in done.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
