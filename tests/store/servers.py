"""A real Redis, started for a test and ended by its own process id."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from tests import canary
from tests.support import require_tool

READY_WITHIN_S = 10.0


@dataclass
class RedisServer:
    """One redis-server that keeps nothing on disk and listens on a Unix socket only."""

    socket: Path
    process: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def client(self) -> "redis.Redis":
        """A plain client, to look at what is stored."""
        return redis.Redis(unix_socket_path=str(self.socket), decode_responses=True, socket_timeout=5.0)

    def look_for_secrets(self) -> None:
        """See that none is in any key or value, if the server is there to be asked."""
        with contextlib.suppress(redis.exceptions.RedisError, OSError), self.client() as client:
            for key in client.scan_iter():
                readers = {"string": client.get, "hash": client.hgetall, "set": client.smembers}
                read = readers.get(client.type(key), lambda name: client.zrange(name, 0, -1, withscores=True))
                canary.look("Redis", f"{key} {read(key)}")

    def restart(self) -> None:
        """Start again after it was ended."""
        self.process = _launch(self.socket)


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a server until the block ends.

    Raises:
        pytest.skip.Exception: there is none here, on a developer's machine.
        pytest.fail.Exception: there is none here, and CI=true.
    """
    require_tool("redis-server")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own names are too long for a Unix socket
        socket = Path(folder) / "redis.sock"
        server = RedisServer(socket, _launch(socket))
        try:
            yield server
            server.look_for_secrets()
        finally:
            server.process.kill()
            server.process.wait()


def _launch(socket: Path) -> "subprocess.Popen[bytes]":
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, cwd=socket.parent, stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(socket))
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            if client.ping():
                client.close()
                return process
        time.sleep(0.01)
    process.kill()
    raise AssertionError("redis-server was not ready")
