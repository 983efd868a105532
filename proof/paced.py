"""`python -m proof.paced FILE`: a relay as `relay serve` runs it, which tells on SIGUSR1 how late its event loop is.

It looks every 2 ms. A loop that is held up for 100 ms misses fifty looks: each of them counts, by the time that what
was due then had to wait, or the worst moments would hardly show among the percentiles.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

from proof.figures import percentile
from relay import config, log
from relay.app import Relay, calm_collector
from relay.net.pulse import Pulse

try:
    from uvloop import new_event_loop
except ImportError:  # pyproject.toml asks for it on Linux only
    from asyncio import new_event_loop  # type: ignore[assignment]

INTERVAL_S = 0.002
SHARES = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}


class Lags:
    """Every lateness since this was last told: how late, and for how much of that the relay itself was at work.

    The rest is other processes' doing, which had the processor meanwhile.
    """

    def __init__(self) -> None:
        self._late: list[float] = []
        self._own: list[float] = []
        self._worked_s = time.thread_time()

    def take(self, late_s: float) -> None:
        """One look, which stands for those that fell out meanwhile."""
        worked_s = time.thread_time()
        _fill(self._late, late_s)
        _fill(self._own, min(late_s, worked_s - self._worked_s))
        self._worked_s = worked_s

    def tell(self) -> None:
        """One line, in milliseconds; then begin anew."""
        line: dict[str, object] = {"event": "lag", "looks": len(self._late)}
        for prefix, seen in (("", self._late), ("own_", self._own)):
            for name, share in SHARES.items():
                line[prefix + name] = round((percentile(seen, share) or 0.0) * 1000, 3)
            seen.clear()
        print(json.dumps(line), flush=True)


def _fill(seen: list[float], late_s: float) -> None:
    seen.append(late_s)
    while (late_s := late_s - INTERVAL_S) > 0:
        seen.append(late_s)


def main() -> None:
    """Serve until SIGTERM."""
    settings = config.load(Path(sys.argv[1]), os.environ, [])
    relay = Relay(settings)
    log.configure(settings.log.level, settings.log.format, relay.scrubber, relay.throttle)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(relay))


async def _serve(relay: Relay) -> None:
    lags = Lags()
    Pulse(lags.take, INTERVAL_S).start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lags.tell)
    await relay.run(_announce)


def _announce(line: str) -> None:
    """As `relay serve` does."""
    calm_collector()
    print(line, flush=True)


if __name__ == "__main__":
    main()
