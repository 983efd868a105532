"""A client of the relay that numbers everything it sends and remembers everything it gets."""

import asyncio
import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import aiohttp
import orjson

from relay.sim import stamp

PATH = "/v1/live"
RATE = 16_000
CHUNK_S = 0.04
"""Of audio, in one message; also how often one is sent."""
PATIENCE_S = 15.0
"""No wait for the relay is longer unless it says so."""
TOOL_RESPONSE = "toolResponse"
"""What stands for a tool's answer in the lists of what was sent and consumed; answers bear no number."""

_NOT_OURS = frozenset({"setupComplete", "sessionResumptionUpdate", "goAway"})
"""Messages the relay handles itself: what a client gets of them is not what Gemini sent."""
_INTERRUPTED = {"serverContent": {"interrupted": True}}
_TURN_COMPLETE = {"serverContent": {"turnComplete": True}}
_SILENCE = bytes(int(CHUNK_S * RATE) * 2)


class ProofError(Exception):
    """The relay did not do what every run needs of it."""


@dataclass(frozen=True, slots=True)
class Got:
    """One message from the relay."""

    at: float
    """Seconds on the loop's clock."""
    kind: str
    """Its first key; `relay` for an announcement of the relay's own."""
    identity: tuple[int, int]
    """Size and CRC-32 of the payload."""
    message: Mapping[str, Any]
    """Parsed; audio left out."""
    stamped_at: float | None = None
    """When Gemini's stand-in sent this chunk of audio, where it says so."""

    def has(self, kind: str) -> bool:
        """Whether this is its first key, or a key of its serverContent."""
        return self.kind == kind or kind in self.message.get("serverContent", {})


class Client:
    """One session as its user sees it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._news = asyncio.Event()
        self._left = False
        self.sent: list[int | str] = []
        """Everything sent after the setup, as it will stand in the simulator's ledger."""
        self.sent_at: dict[int, float] = {}
        """When each number was sent, seconds on the loop's clock."""
        self.got: list[Got] = []
        self.session = ""
        """The id of its session at the simulator, where somebody has noted it."""
        self.closed: tuple[int, str] | None = None
        """Code and reason once the relay has closed the socket; 1006 for one that was cut."""
        self.closed_at = 0.0
        self.streaming = asyncio.Event()
        """While set, `stream` sends audio."""

    # -- sending -------------------------------------------------------------------------------------------------

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message without a number. Raises ProofError once the socket is closed."""
        try:
            await self._ws.send_str(orjson.dumps(message).decode())
        except ConnectionError:
            raise ProofError(f"the client's socket is closed: {self.closed}") from None

    async def say(self, text: str = "tell me more") -> int:
        """Send one numbered turn of text; its number."""
        number = self._next()
        turn = {"role": "user", "parts": [{"text": f"#{number} {text}"}]}
        await self.send({"clientContent": {"turns": [turn], "turnComplete": True}})
        return number

    async def chunk(self) -> int:
        """Send one numbered chunk of silence; its number."""
        number = self._next()
        pcm = stamp.put(_SILENCE, number, self.sent_at[number])
        blob = {"mimeType": f"audio/pcm;rate={RATE}", "data": base64.b64encode(pcm).decode()}
        await self.send({"realtimeInput": {"audio": blob}})
        return number

    async def answer(self, call: Mapping[str, Any]) -> None:
        """Answer a function call."""
        self.sent.append(TOOL_RESPONSE)
        response = {"id": call["id"], "name": call["name"], "response": {"output": "fog"}}
        await self.send({"toolResponse": {"functionResponses": [response]}})

    async def stream(self) -> None:
        """Send a chunk every `CHUNK_S` while `streaming` is set, until the socket closes or the task is cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.closed is None:
            await self.streaming.wait()
            with contextlib.suppress(ProofError):
                await self.chunk()
            due = max(due + CHUNK_S, loop.time() - CHUNK_S)  # a microphone does not rush after a pause
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _next(self) -> int:
        number = len(self.sent_at) + 1
        self.sent.append(number)
        self.sent_at[number] = asyncio.get_running_loop().time()
        return number

    # -- receiving -----------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Take everything until the socket is closed."""
        now = asyncio.get_running_loop().time
        ending = (1006, "")
        while True:
            message = await self._ws.receive()
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                data = message.data if isinstance(message.data, bytes) else message.data.encode()
                self.got.append(_got(data, now()))
                self._news.set()
                continue
            if message.type is aiohttp.WSMsgType.CLOSE:
                ending = (message.data or 1005, message.extra or "")
            break
        if not self._left:
            self.closed, self.closed_at = ending, now()
        self._news.set()

    async def until(self, kind: str, count: int = 1, timeout_s: float = PATIENCE_S) -> Got:
        """The `count`-th message of that kind, counted from the first ever. Raises ProofError when none comes."""
        try:
            async with asyncio.timeout(timeout_s):
                found, seen = self.all(kind), len(self.got)
                while len(found) < count:
                    if self.closed is not None:
                        raise ProofError(f"the client was closed with {self.closed} before {kind}")
                    self._news.clear()
                    await self._news.wait()
                    found += [got for got in self.got[seen:] if got.has(kind)]
                    seen = len(self.got)
                return found[count - 1]
        except TimeoutError:
            raise ProofError(f"no {kind} within {timeout_s:g} s") from None

    async def until_closed(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.closed is None:
                    self._news.clear()
                    await self._news.wait()
        return self.closed is not None

    def all(self, kind: str) -> list[Got]:
        """Every message with this first key, or with this key in its serverContent."""
        return [got for got in self.got if got.has(kind)]

    async def turn(self, text: str = "tell me more", timeout_s: float = PATIENCE_S) -> None:
        """Say something and wait for the end of the answer. Raises ProofError when it does not come."""
        before = len(self.all("turnComplete"))
        await self.say(text)
        await self.until("turnComplete", before + 1, timeout_s)

    @property
    def announcements(self) -> list[Mapping[str, Any]]:
        """What the relay told this client of handovers."""
        return [got.message["relay"] for got in self.got if got.kind == "relay"]

    @property
    def identities(self) -> list[tuple[int, int]]:
        """What came of Gemini's, in order."""
        made_up = self._made_up()
        return [
            got.identity
            for at, got in enumerate(self.got)
            if got.kind not in _NOT_OURS and got.kind != "relay" and at not in made_up
        ]

    @property
    def ended_turns(self) -> int:
        """Ends of turns that the relay made up, because Gemini's will not come."""
        return len(self._made_up()) // 2

    def _made_up(self) -> set[int]:
        """Where the relay ended a turn itself; Gemini's own turnComplete always brings its bill along."""
        found: set[int] = set()
        for at, got in enumerate(self.got[1:], 1):
            if got.message == _TURN_COMPLETE and self.got[at - 1].message == _INTERRUPTED:
                found |= {at - 1, at}
        return found

    def sdk_offences(self) -> list[str]:
        """What no client may ever see: a goAway, a second setupComplete, a message without a known key."""
        kinds = Counter(got.kind for got in self.got)
        found = []
        if kinds["goAway"]:
            found.append(f"{kinds['goAway']} goAway")
        if kinds["setupComplete"] > 1:
            found.append(f"{kinds['setupComplete']} setupComplete")
        if any(got.kind == "relay" and "serverContent" not in got.message for got in self.got):
            found.append("an announcement without serverContent")
        return found

    def drop(self) -> None:
        """Lose the connection: a reset, without a close frame."""
        self._left = True
        connection = self._ws._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    async def close(self) -> None:
        """Leave in order; what comes of that is not an end the relay made."""
        self._left = True
        await self._ws.close()


@contextlib.asynccontextmanager
async def talking(
    http: aiohttp.ClientSession, base_url: str, key: str, setup: Mapping[str, Any] | None = None
) -> AsyncIterator[Client]:
    """A client whose setup was answered, reading. Raises ProofError when the relay refuses it."""
    try:
        ws = await http.ws_connect(
            base_url + PATH, headers={"x-goog-api-key": key}, max_msg_size=0, compress=0, timeout=_CLOSE
        )
    except aiohttp.ClientError as error:
        raise ProofError(f"the relay did not take the client: {type(error).__name__}") from None
    client = Client(ws)
    await client.send({"setup": dict(setup or {})})
    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(client.read()), tasks.create_task(client.stream())]
        try:
            await client.until("setupComplete")
            yield client
        finally:
            await client.close()
            for task in working:
                task.cancel()


_CLOSE = aiohttp.ClientWSTimeout(ws_close=1.0)


def _got(data: bytes, at: float) -> Got:
    message = orjson.loads(data)
    kind = "relay" if "relay" in message else next(iter(message), "empty")
    turn = message.get("serverContent", {}).pop("modelTurn", None)
    return Got(at, kind, (len(data), crc32(data)), message, _stamped_at(turn))


def _stamped_at(turn: Mapping[str, Any] | None) -> float | None:
    for part in (turn or {}).get("parts", ()):
        if blob := part.get("inlineData"):
            found = stamp.read(base64.b64decode(blob["data"][: stamp.SIZE_BYTES * 4 // 3]))
            return found.at if found is not None else None
    return None
