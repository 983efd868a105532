"""The client and the mock of Gemini, in one process on one clock: what each sent and got, and how long it took between.

Raw asyncio protocols with frames made beforehand, so that one core carries both ends of a thousand sessions. Nothing
here knows what lies between the two ends; a session that is cut, or a frame out of place, is recorded as a failure.
"""

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

from bench import payloads
from bench.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameCounter, decode, encode
from bench.session import BenchError, Session, Sessions

UPSTREAM_KEY = "bench-upstream-key"
"""What the mock wants to see; whatever lies between is to put it there."""
_SETUP_COMPLETE = encode(payloads.setup_complete(), BINARY, masked=False)
GOODBYE = (1000).to_bytes(2, "big")
"""Payload of a close frame with code 1000."""


class _End(asyncio.Protocol):
    """What both ends have in common: an HTTP head, one whole frame, then frames that are only counted."""

    def __init__(self, sessions: Sessions, *, masked_input: bool) -> None:
        self._sessions = sessions
        self._session: Session | None = None
        self._buffer = b""
        self._step: Callable[[], bool] = self._head
        self._counter: FrameCounter | None = None
        self._masked_input = masked_input
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            asyncio.Transport, transport
        )  # a TCP connection's; uvloop's class is not derived from it

    def data_received(self, chunk: bytes) -> None:
        try:
            if self._counter is None:
                self._buffer += chunk
                while self._buffer and self._counter is None and self._step():
                    pass
                if self._counter is None:
                    return
                chunk, self._buffer = self._buffer, b""
            self._count(chunk, self._counter)
        except (BenchError, ValueError) as error:
            self._sessions.failures.append(str(error))
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        session = self._session
        if session is None:
            return
        if not session.closing:
            self._sessions.failures.append(f"session {session.number} was cut: {error!r}")
        if not session.ready.done():
            session.ready.set_exception(BenchError("cut before it was ready"))
        session.ends_left -= 1
        if session.ends_left == 0 and not session.gone.done():
            session.gone.set_result(None)

    def _stream(self) -> None:
        self._counter = FrameCounter(masked=self._masked_input)

    def _count(self, chunk: bytes, counter: FrameCounter) -> None:
        session = self._session
        assert session is not None
        flow = session.up if self._masked_input else session.down
        now = perf_counter()
        for opcode, length in counter.feed(chunk):
            if opcode in (TEXT, BINARY):
                if session.own_frames and not self._masked_input:
                    session.own_frames -= 1
                else:
                    flow.arrived(length, now)
            elif opcode == PING:
                self._transport.write(encode(b"", PONG, masked=not self._masked_input))
            elif opcode == CLOSE:
                self._on_close(session)

    def _on_close(self, session: Session) -> None:
        raise NotImplementedError

    def _head(self) -> bool:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        self._buffer = rest
        self._on_head(head.decode("latin-1"))
        self._step = self._first
        return True

    def _on_head(self, head: str) -> None:
        raise NotImplementedError

    def _first(self) -> bool:
        frame = decode(self._buffer)
        if frame is None:
            return False
        opcode, payload, used = frame
        self._buffer = self._buffer[used:]
        self._on_first(opcode, payload)
        self._stream()
        return True

    def _on_first(self, opcode: int, payload: bytes) -> None:
        raise NotImplementedError


class ClientEnd(_End):
    """A client: upgrades, sends its setup, is ready at setupComplete."""

    def __init__(self, sessions: Sessions, session: Session, port: int) -> None:
        super().__init__(sessions, masked_input=False)
        self._session = session
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._session is not None
        self._session.up.transport = self._transport
        self._session.ends_left += 1
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {payloads.PATH} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"x-goog-api-key: {self._session.key}\r\n\r\n".encode()
        )

    def _on_head(self, head: str) -> None:
        if not head.startswith("HTTP/1.1 101"):
            raise BenchError(f"no upgrade: {head.splitlines()[0]}")
        assert self._session is not None
        self._transport.write(encode(payloads.setup(self._session.number), TEXT, masked=True))

    def _on_first(self, opcode: int, payload: bytes) -> None:
        if opcode not in (TEXT, BINARY) or b'"setupComplete"' not in payload:
            raise BenchError(f"no setupComplete but opcode {opcode}: {payload[:200]!r}")
        assert self._session is not None
        self._session.ready.set_result(None)

    def _on_close(self, session: Session) -> None:
        if not session.closing:
            raise BenchError(f"session {session.number} was closed on its client")


class GeminiEnd(_End):
    """The mock of Gemini: wants the operator's key, takes a setup, answers setupComplete."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions, masked_input=True)

    def _on_head(self, head: str) -> None:
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if request.split(" ")[1].partition("?")[0] != payloads.PATH:
            raise BenchError(f"the mock was asked for {request}")
        if headers.get("x-goog-api-key") != UPSTREAM_KEY:
            raise BenchError("the operator's key did not arrive")
        accept = hashlib.sha1(f"{headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode())
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept.digest()) + b"\r\n\r\n"
        )

    def _on_first(self, opcode: int, payload: bytes) -> None:
        body: dict[str, Any] = json.loads(payload)["setup"]
        voice = body["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"]
        session = self._sessions.live[int(voice.removeprefix(payloads.VOICE_PREFIX))]
        if session.enforced != ("systemInstruction" in body):
            raise BenchError("the policy was not applied to the setup")
        self._session = session
        session.down.transport = self._transport
        session.ends_left += 1
        self._transport.write(_SETUP_COMPLETE)

    def _on_close(self, session: Session) -> None:
        if not session.closing:
            raise BenchError(f"session {session.number} was closed on Gemini")
        self._transport.write(encode(GOODBYE, CLOSE, masked=False))
        self._transport.close()
