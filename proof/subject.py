"""`python -m proof.subject FILE`: a relay as `relay serve` runs it, which counts what it holds when sent SIGUSR1.

On the standard event loop, because uvloop does not show its timers.
"""

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path

from relay import config, log
from relay.app import Relay


def main() -> None:
    """Serve until SIGTERM."""
    settings = config.load(Path(sys.argv[1]), os.environ, [])
    relay = Relay(settings)
    log.configure(settings.log.level, settings.log.format, relay.scrubber, relay.throttle)
    asyncio.run(_serve(relay))


async def _serve(relay: Relay) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _report)
    await relay.run(_announce)


def _announce(line: str) -> None:
    print(line, flush=True)


def _report() -> None:
    """One line: tasks, timers that will still fire, open files and sockets, resident memory."""
    gc.collect()
    loop = asyncio.get_running_loop()
    timers = sum(not handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]
    vitals = {
        "tasks": len(asyncio.all_tasks()),
        "timers": timers,
        "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - the listing's own descriptor is the same each time
        "resident_kib": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024,
    }
    print(json.dumps({"event": "vitals", **vitals}), flush=True)


if __name__ == "__main__":
    main()
