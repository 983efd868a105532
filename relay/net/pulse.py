"""How late the event loop comes to what is due: every session waits at least that long for its messages."""

import asyncio
import time
from collections.abc import Callable

INTERVAL_S = 0.1


class Pulse:
    """One timer that only notes when it fires."""

    def __init__(self, observe: Callable[[float], object], interval_s: float = INTERVAL_S) -> None:
        """`observe` gets each lateness, in seconds."""
        self._observe = observe
        self._interval_s = interval_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin. Needs a running event loop."""
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        """Stop noting."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due = time.monotonic() + self._interval_s  # uvloop's own clock stands still while callbacks run
        self._timer = loop.call_later(self._interval_s, self._beat, loop, due)

    def _beat(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._observe(max(time.monotonic() - due, 0.0))
        self._arm(loop)
