"""A client that talks turn by turn, drops and comes back, also to another process; it keeps nothing that it heard."""

import asyncio
import base64
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from proof.client import PATH, RATE, ProofError

TURN_S = 30.0
BACK_S = 20.0
_LOUD = (b"\x00\x30" * 20 + b"\x00\xd0" * 20) * (RATE // 100)  # 0.4 s of a tone of 400 Hz
_PICTURE = base64.b64encode(b"\xff\xd8" + bytes(200)).decode()
_CLOSE = aiohttp.ClientWSTimeout(ws_close=1.0)


class CutError(Exception):
    """The socket is gone: by a fault, or because the relay is."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a talker gets to a relay."""

    http: aiohttp.ClientSession
    key: str
    address: Callable[[], Awaitable[str]]
    """Where a relay is now; waits while there is none."""


class Talker:
    """One user."""

    def __init__(self, way: Way, setup: dict[str, Any], dice: random.Random) -> None:
        self.turns = 0
        """Turns whose answer came to an end."""
        self.returns = 0
        self.answering: Callable[[], None] | None = None
        """Called once in each turn, as soon as an answer has begun."""
        self.closed: list[tuple[int, str]] = []
        """How the relay closed sockets, where it did."""
        self._way = way
        self._setup = setup
        self._dice = dice
        self._handle = ""
        self._since = 0
        self._ws: aiohttp.ClientWebSocketResponse | None = None

    async def connect(self) -> None:
        """Open a socket, with the newest handle if there is one. Raises CutError, ProofError when it is refused."""
        address = await self._way.address()
        try:
            self._ws = await self._way.http.ws_connect(
                address + PATH, headers={"x-goog-api-key": self._way.key}, max_msg_size=0, compress=0, timeout=_CLOSE
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ProofError(f"the relay answered a handshake with {error.status}") from None
        except (aiohttp.ClientError, OSError):
            raise CutError from None
        resumption = {"handle": f"{self._handle}.{self._since}"} if self._handle else {}
        await self._send({"setup": {**self._setup, "sessionResumption": resumption}})
        while "setupComplete" not in await self._receive():
            pass

    async def turn(self) -> None:
        """One turn, from the question to the handle that follows the answer. Raises CutError."""
        await self._ask()
        begun = False
        while True:
            message = await self._receive()
            content = message.get("serverContent", {})
            if not begun and ("modelTurn" in content or "outputTranscription" in content):
                begun = True
                if self.answering is not None:
                    self.answering()
            if "turnComplete" in content:
                break
        self.turns += 1
        while "sessionResumptionUpdate" not in message:
            message = await self._receive()

    async def _ask(self) -> None:
        shape = self._dice.random()
        if shape < 0.15:
            picture = {"mimeType": "image/jpeg", "data": _PICTURE}
            await self._send({"realtimeInput": {"video": picture}})
        if shape < 0.3:
            sound = {"mimeType": f"audio/pcm;rate={RATE}", "data": base64.b64encode(_LOUD).decode()}
            await self._send({"realtimeInput": {"audio": sound}})
            await self._send({"realtimeInput": {"audioStreamEnd": True}})
            return
        turn = {"role": "user", "parts": [{"text": "tell me more"}]}
        await self._send({"clientContent": {"turns": [turn], "turnComplete": True}})

    async def come_back(self) -> None:
        """Open another socket, as often as it takes. Raises ProofError when no relay takes it in time."""
        self.returns += 1
        try:
            async with asyncio.timeout(BACK_S):
                while True:
                    with contextlib.suppress(CutError):
                        return await self.connect()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ProofError(f"no relay took the client back within {BACK_S:g} s") from None

    def vanish(self) -> None:
        """Lose the connection: a reset, without a close frame."""
        connection = self._ws._response.connection if self._ws is not None else None
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    async def leave(self) -> None:
        """Close the socket."""
        if self._ws is not None:
            await self._ws.close()

    async def _send(self, message: dict[str, Any]) -> None:
        assert self._ws is not None, "connect() comes first"
        try:
            await self._ws.send_str(orjson.dumps(message).decode())
        except ConnectionError:
            raise CutError from None

    async def _receive(self) -> dict[str, Any]:
        assert self._ws is not None, "connect() comes first"
        try:
            async with asyncio.timeout(TURN_S):
                message = await self._ws.receive()
        except TimeoutError:
            raise ProofError(f"the relay said nothing for {TURN_S:g} s") from None
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            if message.type is aiohttp.WSMsgType.CLOSE:
                self.closed.append((message.data, message.extra or ""))
            raise CutError
        parsed: dict[str, Any] = orjson.loads(message.data)
        self._since += 1
        update = parsed.get("sessionResumptionUpdate", {})
        if "newHandle" in update:
            self._handle, self._since = update["newHandle"], 0
        return parsed
