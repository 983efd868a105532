"""A file of JSON lines that is rotated by size: whole lines or none, whatever the disk does."""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from relay.net.spool import Item


class SinkError(Exception):
    """Records were not taken, or nobody knows; the same ones may come again."""


class RefusedError(SinkError):
    """Somebody looked at the records and does not want them: one of them may be why."""


@dataclass(slots=True)
class UsageFile:
    """Appends records on a thread of its own; the file is opened for each batch, so others may move it away."""

    path: Path
    max_bytes: int
    keep: int
    """How many older files there may be."""
    name: str = "file"
    batch: int = 1000
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "usage-file"))

    async def start(self) -> None:
        """Nothing to do: the file is made when there is something to write."""

    async def stop(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False)

    async def deliver(self, items: Sequence[Item]) -> None:
        """Append records; when this returns they are on the disk. Raises SinkError, and then none of them is."""
        lines = b"".join(item.body + b"\n" for item in items)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._append, lines)
        except OSError as error:
            raise SinkError(error.strerror or type(error).__name__) from None

    def _append(self, lines: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = self._open()
        try:
            size = _whole_lines(file)
            if size and size + len(lines) > self.max_bytes:
                os.close(file)
                file = -1
                self._rotate()
                file, size = self._open(), 0
            _write(file, lines, size)
        finally:
            if file >= 0:
                os.close(file)

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def _rotate(self) -> None:
        for number in range(self.keep - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._older(number).replace(self._older(number + 1))
        self.path.replace(self._older(1))

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


def _write(file: int, lines: bytes, size: int) -> None:
    """Append at `size`; a half-written line is taken back."""
    rest = memoryview(lines)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fdatasync(file)
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, size)
        raise


def _whole_lines(file: int) -> int:
    """The file's size, after a line that a killed process left unfinished was cut off."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return size
    end = size
    while end:
        begin = max(end - 65_536, 0)
        newline = os.pread(file, end - begin, begin).rfind(b"\n")
        end = begin + newline + 1 if newline >= 0 else begin
        if newline >= 0:
            break
    os.ftruncate(file, end)
    return end
