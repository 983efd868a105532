"""WebSocket frames by hand: made once and sent often, counted without copying or unmasking what is in them.

Only as much of RFC 6455 as the two ends of the benchmark need; a frame that is not final is an error here.
"""

import os
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def encode(payload: bytes, opcode: int, *, masked: bool) -> bytes:
    """One whole frame; a client's frames are masked."""
    mask_bit = 0x80 if masked else 0
    first, length = 0x80 | opcode, len(payload)
    if length < 126:
        header = struct.pack("!BB", first, mask_bit | length)
    elif length < 65536:
        header = struct.pack("!BBH", first, mask_bit | 126, length)
    else:
        header = struct.pack("!BBQ", first, mask_bit | 127, length)
    if not masked:
        return header + payload
    mask = os.urandom(4)
    return header + mask + _masked(payload, mask)


def decode(buffer: bytes) -> tuple[int, bytes, int] | None:
    """The first frame of a buffer: opcode, unmasked payload, bytes used; None while it is not whole."""
    if len(buffer) < 2:
        return None
    length = buffer[1] & 0x7F
    wide = 0 if length < 126 else 2 if length == 126 else 8
    if wide:
        length = int.from_bytes(buffer[2 : 2 + wide], "big")
    position = 2 + wide + (4 if buffer[1] & 0x80 else 0)
    if len(buffer) < position + length:
        return None
    mask = buffer[2 + wide : position]
    payload = buffer[position : position + length]
    return buffer[0] & 0x0F, _masked(payload, mask) if mask else payload, position + length


def _masked(payload: bytes, mask: bytes) -> bytes:
    length = len(payload)
    repeated = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")


class FrameCounter:
    """Finds where frames end in a stream of bytes."""

    __slots__ = ("_current", "_head", "_mask_bytes", "_missing")

    def __init__(self, *, masked: bool) -> None:
        self._mask_bytes = 4 if masked else 0
        self._head = b""
        self._missing = 0
        self._current = (0, 0)

    def feed(self, chunk: bytes) -> list[tuple[int, int]]:
        """Opcode and payload length of every frame that ends in this chunk. Raises ValueError on a fragment."""
        complete: list[tuple[int, int]] = []
        position = 0
        if self._missing:
            if len(chunk) < self._missing:
                self._missing -= len(chunk)
                return complete
            position, self._missing = self._missing, 0
            complete.append(self._current)
        if self._head:
            chunk, self._head = self._head + chunk, b""
        end = len(chunk)
        while position < end:
            header = self._header(chunk, position)
            if header is None:
                self._head = chunk[position:]
                break
            opcode, length, header_bytes = header
            position += header_bytes + length
            if position > end:
                self._missing = position - end
                self._current = (opcode, length)
            else:
                complete.append((opcode, length))
        return complete

    def _header(self, chunk: bytes, at: int) -> tuple[int, int, int] | None:
        if len(chunk) - at < 2:
            return None
        first, length = chunk[at], chunk[at + 1] & 0x7F
        if not first & 0x80:
            raise ValueError("a fragmented frame")
        extra = 0 if length < 126 else 2 if length == 126 else 8
        if len(chunk) - at < 2 + extra + self._mask_bytes:
            return None
        if extra:
            length = int.from_bytes(chunk[at + 2 : at + 2 + extra], "big")
        return first & 0x0F, length, 2 + extra + self._mask_bytes
