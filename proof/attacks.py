"""What hostile clients do to a socket that was upgraded, each attack by name, and what must come of it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from proof.client import ProofError
from proof.raw import BINARY, CLOSE, CONTINUE, PING, PONG, SETUP, TEXT, Raw, frame, header

TINY = b'{"realtimeInput":{"text":""}}'
"""The smallest message that is forwarded."""
ASK = b'{"clientContent":{"turns":[{"role":"user","parts":[{"text":"tell me more"}]}],"turnComplete":true}}'
_SPEECH = b'{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=16000","data":"' + b"AAAA" * 60_000 + b'"}}}'
_SCHEMA = b'{"setup":{"generationConfig":{"responseJsonSchema":'


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to be hostile."""

    name: str
    row: str
    """Of the threat model."""
    run: Callable[[Raw], Awaitable[None]]
    reasons: frozenset[str]
    """What the relay may call the end of the session in its log."""
    codes: frozenset[int]
    """The close codes the client may get; 1006 where unread bytes turn the close into a reset."""
    headers: str = ""
    before_setup: bool = False
    """It begins right after the upgrade."""
    receive_buffer: int = 0
    slow: bool = False
    """It ends when the relay has lost patience, not at once."""

    async def begin(self, raw: Raw) -> None:
        """Do it, on a connection of its own. Raises ProofError when that is not answered."""
        if not self.before_setup:
            await raw.set_up()
        await self.run(raw)

    async def play(self, raw: Raw) -> int:
        """Do it, and wait for the end; its code. Raises ProofError, or TimeoutError when no end comes."""
        await self.begin(raw)
        return await raw.ending()


def _sends(*pieces: bytes) -> Callable[[Raw], Awaitable[None]]:
    async def run(raw: Raw) -> None:
        await raw.send(*pieces)

    return run


def _repeats(piece: bytes, times: int, at_once: int = 1000) -> Callable[[Raw], Awaitable[None]]:
    """Send something over and over, until the relay has had enough."""

    async def run(raw: Raw) -> None:
        for _ in range(0, times, at_once):
            if raw.gone:
                return
            await raw.send(piece * at_once)
            await asyncio.sleep(0)

    return run


def _then(first: bytes, run: Callable[[Raw], Awaitable[None]]) -> Callable[[Raw], Awaitable[None]]:
    async def both(raw: Raw) -> None:
        await raw.send(first)
        await run(raw)

    return both


async def _byte_by_byte(raw: Raw) -> None:
    """A legal client on a strange network: every byte in a segment of its own."""
    for byte in frame(SETUP) + frame(TINY):
        await raw.send(bytes((byte,)))
        await asyncio.sleep(0)
    while b"setupComplete" not in (await raw.receive())[1]:
        pass
    await raw.send(frame((1000).to_bytes(2, "big"), CLOSE))


async def _no_reply_to_a_close(raw: Raw) -> None:
    """Make the relay close, and go on talking instead of answering."""
    await raw.send(frame(SETUP))
    await _repeats(frame(TINY), 300, at_once=10)(raw)


async def _both_close(raw: Raw) -> None:
    """Two closes that cross."""
    await raw.send(frame(SETUP) + frame((1000).to_bytes(2, "big"), CLOSE))


async def _compressed(raw: Raw) -> None:
    """An offer to compress, and a frame that says it is."""
    if b"sec-websocket-extensions" in raw.answer.lower():
        raise ProofError("compression was negotiated")
    await raw.send(frame(b"\xec\xc1\x01\x0d" * 1000, TEXT, reserved=4))


async def _reads_nothing(raw: Raw) -> None:
    """Ask again and again, and take no answer."""
    while not raw.gone:
        await raw.send(frame(ASK))
        await asyncio.sleep(0.2)


async def _reads_drops(raw: Raw) -> None:
    """The same, but for a byte a second."""
    taken = asyncio.get_running_loop().time()
    while not raw.gone:
        await raw.send(frame(ASK))
        await asyncio.sleep(0.2)
        if asyncio.get_running_loop().time() - taken > 1.0:
            taken += 1.0
            with contextlib.suppress(ConnectionError):
                await raw.reader.read(1)


def _attack(name: str, row: str, run: Callable[[Raw], Awaitable[None]], ends: dict[str, int], **how: object) -> Attack:
    codes = frozenset({*ends.values(), 1006})
    return Attack(name, row, run, frozenset(ends), codes, **how)  # type: ignore[arg-type]


def _closing(payload: bytes) -> bytes:
    return frame(payload, CLOSE)


_BROKEN = {"protocol_error": 1002}
_LARGE = {"frame_too_big": 1009}
_FLOOD = {"frame_flood": 1008}
_BAD = {"bad_frame": 1007}
_FAST = {"too_fast": 4429}
_LEFT = {"client_left": 1000}
_SLOW = {"client_too_slow": 4408}

ATTACKS = (
    _attack("frame without a mask", "D2", _sends(frame(TINY, masked=False)), _BROKEN),
    _attack("first frame without a mask", "D2", _sends(frame(SETUP, masked=False)), _BROKEN, before_setup=True),
    _attack("100 MB declared", "D3", _sends(header(0x81, 100_000_000), b"\0\0\0\0", b"x" * 60_000), _LARGE),
    _attack("2^63 - 1 declared", "D3", _sends(header(0x82, 2**63 - 1), b"\0\0\0\0", b"x" * 60_000), _LARGE),
    _attack("2^64 - 1 declared", "D3", _sends(header(0x82, 2**64 - 1), b"\0\0\0\0"), _LARGE),
    _attack("fragments of one byte", "D3", _repeats(frame(b"x", CONTINUE, final=False), 1_000_000), _BROKEN),
    _attack(
        "a message in fragments of one byte",
        "D3",
        _then(frame(b"{", final=False), _repeats(frame(b" ", CONTINUE, final=False), 1_000_000)),
        _FLOOD,
    ),
    _attack(
        "never the last fragment",
        "D3",
        _then(frame(b"{", final=False), _repeats(frame(b" " * 16_000, CONTINUE, final=False), 1000, 10)),
        _LARGE,
    ),
    _attack("segments of one byte", "D3", _byte_by_byte, _LEFT, before_setup=True),
    _attack("ping flood", "D3", _repeats(frame(b"x" * 125, PING), 200_000), _FLOOD),
    _attack("pong flood", "D3", _repeats(frame(b"", PONG), 500_000), _FLOOD),
    _attack("empty frames", "D3", _repeats(frame(b""), 500_000), _BAD),
    _attack("empty ends of no message", "D3", _repeats(frame(b"", CONTINUE), 500_000), _BROKEN),
    _attack("tiny messages", "E1", _repeats(frame(TINY), 500_000), _FAST),
    _attack("large messages", "E1", _repeats(frame(_SPEECH), 200, 1), _FAST),
    _attack(
        "compression offered", "D4", _compressed, _BROKEN, headers="Sec-WebSocket-Extensions: permessage-deflate\r\n"
    ),
    _attack("reserved opcode", "D3", _sends(frame(b"", 0x3)), _BROKEN),
    _attack("control frame in fragments", "D3", _sends(frame(b"", PING, final=False)), _BROKEN),
    _attack("close with 1005", "D5", _sends(_closing((1005).to_bytes(2, "big"))), _BROKEN),
    _attack("close with 1006", "D5", _sends(_closing((1006).to_bytes(2, "big"))), _BROKEN),
    _attack("close with 2999", "D5", _sends(_closing((2999).to_bytes(2, "big"))), _BROKEN),
    _attack("close with half a code", "D5", _sends(_closing(b"\x03")), _BROKEN),
    _attack("close with a reason that is no UTF-8", "D5", _sends(_closing(b"\x03\xe8" + b"\xff" * 123)), _BAD),
    _attack("data after a close", "D5", _sends(_closing(b"\x03\xe8"), frame(TINY) * 100), _LEFT),
    _attack("no reply to a close", "D5", _no_reply_to_a_close, {"bad_sequence": 1008}),
    _attack("both close", "D5", _both_close, {"client_left": 1000, "bad_sequence": 1008}),
    _attack("no UTF-8", "C9", _sends(frame(b'{"realtimeInput":{"text":"\xff"}}')), _BAD),
    _attack("no JSON", "C6", _sends(frame(b"\0\1\2", BINARY)), _BAD),
    _attack("deep", "C8", _sends(frame(_SCHEMA + b"[" * 100_000)), _BAD, before_setup=True),
    _attack("wide", "C8", _sends(frame(_SCHEMA + b"[" + b"{}," * 80_000 + b"1]}}}")), _BAD, before_setup=True),
    _attack(
        "as wide as may be",
        "C8",
        _sends(
            frame(b'{"setup":{"labels":{' + b",".join(b'"\\u0061%d":""' % each for each in range(9_990)) + b"}}}"),
            frame(b"{}"),
        ),
        _BAD,
        before_setup=True,
    ),
    _attack("reads nothing", "D7", _reads_nothing, _SLOW, receive_buffer=4096, slow=True),
    _attack("reads a byte a second", "D7", _reads_drops, _SLOW, receive_buffer=4096, slow=True),
)
