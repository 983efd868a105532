"""A real redis-server on a loopback port, which can be stopped, paused, killed and started again."""

import asyncio
import contextlib
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import redis.asyncio as redis
from redis.exceptions import RedisError

from proof.client import ProofError

READY_S = 10.0
_COMMAND = ("redis-server", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--bind", "127.0.0.1")
"""It forgets nothing that it has acknowledged, however it ends."""


class RedisServer:
    """One server of the proof's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._child: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """For a relay's configuration."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:
        """A plain client, to look at what is stored; to be closed by whoever asked for it."""
        return redis.Redis(port=self.port, decode_responses=True, socket_timeout=READY_S)

    async def start(self) -> None:
        """Start it, again on the same port and files if it ran before. Raises ProofError when it can't be had."""
        if shutil.which("redis-server") is None:
            raise ProofError("this needs redis-server: apt-get install redis-server")
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        self._child = await asyncio.create_subprocess_exec(
            *_COMMAND, "--port", str(self.port), "--dir", str(self._folder), stdout=asyncio.subprocess.DEVNULL
        )
        deadline = asyncio.get_running_loop().time() + READY_S
        while not await self._answers():
            if self._child.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise ProofError("redis-server was not ready")
            await asyncio.sleep(0.01)

    async def _answers(self) -> bool:
        async with self.client() as client:
            with contextlib.suppress(RedisError, OSError):
                return bool(await client.ping())
        return False

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP and SIGCONT."""
        assert self._child is not None, "start() comes first"
        self._child.send_signal(number)

    async def pause(self, seconds: float) -> None:
        """Let it answer nobody for so long."""
        async with self.client() as client:
            await client.client_pause(int(seconds * 1000))

    async def kill(self) -> None:
        """End it at once."""
        if self._child is not None and self._child.returncode is None:
            self._child.kill()
            await self._child.wait()


@contextlib.asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[RedisServer]:
    """A server with its files in this folder, until the block ends. Raises ProofError when it can't be had."""
    server = RedisServer(folder)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()
