"""Relays in processes of their own: started from a configuration, followed by their log, killed and started again."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from proof.client import ProofError
from proof.records import Journals

ROOT = Path(__file__).parent.parent
READY_S = 20.0
GONE_S = 15.0


@dataclass(frozen=True, slots=True)
class Program:
    """What is started, on which configuration."""

    file: Path
    """Where the configuration is written; the log stands beside it."""
    tree: Mapping[str, Any]
    secrets: Mapping[str, str]
    """By the name of the environment variable that the file refers to instead."""
    module: tuple[str, ...] = ("relay", "serve", "--config")
    environment: Mapping[str, str] = field(default_factory=dict)


class RelayProcess:
    """One relay; what it logs goes into its journals, over all of its lives."""

    def __init__(self, program: Program) -> None:
        self.journals = Journals()
        self.base_url = ""
        self.admin_url = ""
        self.pid = 0
        self.lives = 0
        self._program = program
        self._child: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it. Raises ProofError when it is not ready in time."""
        program = self._program
        text = yaml.safe_dump(dict(program.tree))
        for name, value in program.secrets.items():
            text = text.replace(value, f"${{{name}}}")
        program.file.write_text(text)
        self.lives += 1
        sink = program.file.with_suffix(f".{self.lives}.log")
        with sink.open("wb") as output:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *program.module, str(program.file)),
                cwd=ROOT,
                env={**os.environ, **program.secrets, **program.environment},
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
        self._child = child
        ready = await _ready_line(child, sink)
        self.base_url, self.admin_url, self.pid = ready["listen"], ready["admin"], child.pid
        self._reading = asyncio.create_task(_follow(sink, self.journals))

    async def kill(self) -> None:
        """End it as the kernel does when memory is short: no last words, no last write."""
        assert self._child is not None, "start() comes first"
        self._child.kill()
        await self._child.wait()
        self._read_no_more()

    async def stop(self) -> None:
        """End it in order, or else not in order."""
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()
            try:
                async with asyncio.timeout(GONE_S):
                    await self._child.wait()
            except TimeoutError:
                await self.kill()
        self._read_no_more()

    def _read_no_more(self) -> None:
        if self._reading is not None:
            self._reading.cancel()


@contextlib.asynccontextmanager
async def relay_process(program: Program) -> AsyncIterator[RelayProcess]:
    """A relay that runs until the block ends, if it was not killed before. Raises ProofError when it does not start."""
    relay = RelayProcess(program)
    try:
        await relay.start()
        yield relay
    finally:
        await relay.stop()


async def _ready_line(child: asyncio.subprocess.Process, sink: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_S
    while child.returncode is None and time.monotonic() < deadline:
        for line in sink.read_text().splitlines(keepends=True):
            if line.endswith("\n") and '"ready"' in line:
                ready: dict[str, Any] = json.loads(line)
                return ready
        await asyncio.sleep(0.02)
    raise ProofError(f"the relay was not ready:\n{sink.read_text()[-2000:]}")


async def _follow(sink: Path, journals: Journals) -> None:
    """Read the relay's log as it grows."""
    with sink.open("rb") as log:
        left = b""
        while True:
            *whole, left = (left + log.read()).split(b"\n")
            for line in whole:
                with contextlib.suppress(orjson.JSONDecodeError):
                    journals.take(orjson.loads(line))
            await asyncio.sleep(0.02)
