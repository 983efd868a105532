"""A client on a bare socket: its frames are made by hand, so that they can be wrong in any way."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from proof.client import PATH, ProofError

CONTINUE, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
SETUP = b'{"setup":{}}'
PATIENCE_S = 15.0
_KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="
_LOST = 1006


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """One frame; its mask is zeros, which leaves the payload as it is."""
    first = (0x80 if final else 0) | reserved << 4 | opcode
    mask = b"\0\0\0\0" if masked else b""
    return header(first, len(payload), masked=masked) + mask + payload


def header(first: int, length: int, *, masked: bool = True) -> bytes:
    """The beginning of a frame that says it is so long."""
    bit = 0x80 if masked else 0
    if length < 126:
        return bytes((first, bit | length))
    if length < 65_536:
        return struct.pack("!BBH", first, bit | 126, length)
    return struct.pack("!BBQ", first, bit | 127, length)


class Raw:
    """One upgraded connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.answer = answer
        """The relay's answer to the upgrade, with its headers."""

    async def send(self, *frames: bytes) -> None:
        """Write, and wait until the kernel has taken it. What the relay no longer takes goes nowhere."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(b"".join(frames))
            await self.writer.drain()

    async def set_up(self) -> None:
        """Send a setup and wait for its answer. Raises ProofError when there is none."""
        await self.send(frame(SETUP))
        _, payload = await self.receive()
        if b"setupComplete" not in payload:
            raise ProofError("the relay did not answer a setup")

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: its opcode and payload. Raises ProofError when the connection is gone."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                first, second = await self.reader.readexactly(2)
                length = second & 0x7F
                if length >= 126:
                    length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
                return first & 0x0F, await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            raise ProofError("the relay sent no more frame") from None

    async def ending(self) -> int:
        """Read until the relay has closed the socket; the code it gave, or 1006 for none. Raises TimeoutError."""
        code = _LOST
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ProofError):
                while True:
                    opcode, payload = await self.receive()
                    if opcode == CLOSE and len(payload) >= 2:
                        code = int.from_bytes(payload[:2], "big")
            with contextlib.suppress(ConnectionError):
                while await self.reader.read(65_536):
                    pass
        return code

    @property
    def gone(self) -> bool:
        """Whether the relay has closed the socket, as far as the kernel knows."""
        return self.reader.at_eof() or self.writer.is_closing()


@contextlib.asynccontextmanager
async def connected(base_url: str, key: str, *, receive_buffer: int = 0, headers: str = "") -> AsyncIterator[Raw]:
    """A raw client of the relay, upgraded; `headers` are lines with their ends. Raises ProofError when refused."""
    place = urlsplit(base_url)
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_connect(sock, (place.hostname, place.port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=receive_buffer or 2**16)
            writer.write(
                f"GET {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {_KEY}\r\n"
                f"x-goog-api-key: {key}\r\n{headers}\r\n".encode()
            )
            answer = await reader.readuntil(b"\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        sock.close()
        raise ProofError("the relay did not answer a handshake") from None
    try:
        if not answer.startswith(b"HTTP/1.1 101"):
            raise ProofError(f"the relay answered {answer[:40]!r}")
        yield Raw(reader, writer, answer)
    finally:
        writer.transport.abort()
