"""What a client's frames must be before aiohttp's parser takes them: masked, and no flood of what is no message.

aiohttp takes frames without a mask, answers every ping and joins fragments of a byte each. The header of a frame says
all it takes to stop that, and the usual read, one whole message, needs one look. How many messages a client sends is
counted in `relay.core.budget`; what is counted here never becomes one.
"""

from collections.abc import Callable
from typing import Any

from aiohttp import WebSocketError

BURST = 1000
"""Small frames at once: some may have waited for a client's network."""
PER_SECOND = 50.0
"""Small frames in the long run: real clients send a ping in 20 s, and hardly any fragments."""
SMALL_FRAGMENT_BYTES = 64
"""A fragment of less than this is small, unless it is a message's last."""
SMALL_MESSAGE_BYTES = len(b'{"setup":{}}')
"""A frame of less than this is no message of the Live API."""

_PROTOCOL_ERROR, _POLICY_VIOLATION = 1002, 1008
_FINAL, _MASKED, _CONTROL = 0x80, 0x80, 0x08  # bits of a frame's first two bytes, RFC 6455 5.2
_MASK_BYTES = 4


class GuardedParser:
    """aiohttp's parser, fed up to the first frame that may not be; has its two methods."""

    __slots__ = ("_at", "_clock", "_error", "_head", "_left", "_parse", "_parser", "_queue", "_rest")

    def __init__(self, parser: Any, queue: Any, clock: Callable[[], float]) -> None:
        """`queue` is where the parser puts messages and its error; `clock` is in seconds."""
        self._parser = parser
        self._parse = parser.feed_data
        self._queue = queue
        self._clock = clock
        self._error = 0
        """The close code of what is wrong, once something is."""
        self._rest = 0
        """Bytes that are still to come of a frame whose header was seen."""
        self._head = b""
        """The beginning of a header that is not whole yet."""
        self._left = float(BURST)
        self._at = clock()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Parse what may be parsed of this; True when nothing that follows will be."""
        if not self._rest and not self._head and not self._error and len(data) > 7:
            # One message of 126 bytes to 64 KiB, or its beginning: nearly every read.
            if data[1] == _MASKED | 126 and data[0] & 0x8F in (0x81, 0x82):
                rest = 8 + (data[2] << 8 | data[3]) - len(data)
                if rest >= 0:
                    self._rest = rest
                    return self._parse(data)  # type: ignore[no-any-return]
        elif self._error:
            return True, b""
        good = self._look(data)
        if not self._error:
            return self._parse(data)  # type: ignore[no-any-return]
        self._parse(data[:good])
        if self._queue.exception() is None:
            self._queue.set_exception(WebSocketError(self._error, ""))
        return True, b""

    def feed_eof(self) -> None:
        """Nothing more comes."""
        self._parser.feed_eof()

    def _look(self, data: bytes) -> int:
        """Follow the frames through what was read; where the first begins that may not be, when `_error` is set."""
        known = len(self._head)
        stream = self._head + data
        at, size = self._rest, len(stream)
        self._head = b""
        while at + 1 < size:
            first, second = stream[at], stream[at + 1]
            if not second & _MASKED:
                self._error = _PROTOCOL_ERROR
                break
            length, header = second & 0x7F, 2
            if length >= 126:
                header = 4 if length == 126 else 10
                if at + header > size:
                    break
                length = int.from_bytes(stream[at + 2 : at + header], "big")
            small = length < (SMALL_MESSAGE_BYTES if first & _FINAL else SMALL_FRAGMENT_BYTES)
            if (small or first & _CONTROL) and not self._may_pass():
                self._error = _POLICY_VIOLATION
                break
            at += header + _MASK_BYTES + length
        self._rest, self._head = max(at - size, 0), stream[at:]
        return max(at - known, 0)

    def _may_pass(self) -> bool:
        """Count a small frame."""
        self._left -= 1
        if self._left < 0:
            now = self._clock()
            self._left = min(self._left + (now - self._at) * PER_SECOND, BURST)
            self._at = now
        return self._left >= 0
