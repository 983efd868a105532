"""WebSocket frames as bytes, for what the library can't do: writing in slices, and one precomputed frame to many."""

import struct

TEXT = 1
BINARY = 2
CLOSE = 8


def frame(payload: bytes, opcode: int) -> bytes:
    """A whole, final, unmasked frame, as a server sends it (RFC 6455 5.2)."""
    size = len(payload)
    first = 0x80 | opcode
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload
