"""Raw sockets: what no well-behaved client would send, and what comes back for it."""

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

from tests.net.conftest import TENANT_KEY, WAIT_S, Running

_HEAD = re.compile(rb"HTTP/\d\.\d (\d{3}) ")


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The relay's own error body."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


def responses(received: bytes) -> list[Answer]:
    """Every response in what a server sent on one connection; after a 101 everything is its payload.

    Raises:
        AssertionError: there is something between or behind them that is no response.
    """
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        match = _HEAD.match(head)
        assert match, received[:200]
        headers = {}
        for line in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            assert name.lower() not in headers or name.lower() == "set-cookie", head
            headers[name.lower()] = value.strip()
        length = len(rest) if match[1] == b"101" else int(headers.get("content-length", "0"))
        found.append(Answer(int(match[1]), headers, rest[:length]))
        received = rest[length:]
    return found


def port_of(url: str) -> int:
    """The port of a listener's address."""
    return int(url.split("://")[1].partition("/")[0].rpartition(":")[2])


async def opened(running: Running, listener: str = "listen") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A bare connection to one of a relay's listeners."""
    return await asyncio.open_connection("127.0.0.1", port_of(running.addresses[listener]))


async def exchange(port: int, sent: bytes, patience_s: float = WAIT_S) -> bytes:
    """What a server answers to these bytes until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    try:
        async with asyncio.timeout(patience_s):
            writer.write(sent)
            while chunk := await reader.read(65536):
                received += chunk
    except ConnectionError:
        pass  # it closed before it had read everything
    finally:
        writer.close()
    return received


def upgrade(*lines: str, target: str = "/v1/live", host: str = "localhost", **replaced: str) -> bytes:
    """A WebSocket handshake with the tenant's key; keywords replace headers (`_` for `-`), an empty one drops it."""
    headers = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "x-goog-api-key": TENANT_KEY,
    } | {name.replace("_", "-"): value for name, value in replaced.items()}
    head = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items() if value), *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1")
