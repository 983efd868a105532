"""A process under test: started on a core of its own, its CPU and memory read from outside, ended by its own pid."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from bench.session import BenchError

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0


class Process:
    """One child process, and the children it makes."""

    def __init__(self, command: list[str], core: int, environment: Mapping[str, str], output: Path) -> None:
        """Start it; what it prints goes to a file, because a pipe that nobody reads would stop it."""
        self._core = core
        self._output = output
        ours = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # inherited by the child, so that nothing of it ever runs elsewhere
        try:
            with output.open("wb") as sink:
                self._child = subprocess.Popen(
                    command, stdout=sink, stderr=subprocess.STDOUT, env=dict(environment), start_new_session=True
                )
        finally:
            os.sched_setaffinity(0, ours)

    async def first_line(self) -> str:
        """What it printed first, once it has. Raises BenchError when it ends before or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while "\n" not in (printed := self._output.read_text()):
            self._expect_alive(deadline)
            await asyncio.sleep(0.02)
        return printed.partition("\n")[0]

    async def listening(self, port: int) -> None:
        """Wait until it accepts connections. Raises BenchError when it ends before or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            self._expect_alive(deadline)
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    def cpu_s(self) -> float:
        """CPU time it and its children have used, user and system, to the nanosecond."""
        # The clock that clock_getcpuclockid(3) returns for a pid on Linux; /proc/PID/stat counts in steps of 10 ms.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self._pids())

    def resident_bytes(self) -> int:
        """Resident memory of it and its children."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES for pid in self._pids())

    def check(self) -> None:
        """Raises BenchError unless it runs, with every thread on its core."""
        self._expect_alive(float("inf"))
        for pid in self._pids():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                if os.sched_getaffinity(int(thread.name)) != {self._core}:
                    raise BenchError(
                        f"thread {thread.name} of the process under test is not pinned to core {self._core}"
                    )

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL for what is still there after a while."""
        self._child.terminate()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while self._child.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self._child.poll() is None:
            os.killpg(self._child.pid, signal.SIGKILL)  # its session is its own, so is its group
            self._child.wait()

    def _expect_alive(self, deadline: float) -> None:
        if self._child.poll() is not None or time.monotonic() > deadline:
            tail = self._output.read_text()[-2000:]
            raise BenchError(f"the process under test ended or did not start in time:\n{tail}")

    def _pids(self) -> list[int]:
        own = self._child.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]
