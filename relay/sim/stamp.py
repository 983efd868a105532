"""A number and a time hidden in the first samples of an audio chunk, so that a test can account for every chunk.

Eighteen bytes, so that they are exactly 24 characters of base64: a magic word, a uint32 number, a float64 time in
seconds (of whichever monotonic clock the sender chose), two bytes of padding.
"""

import struct
from dataclasses import dataclass

_LAYOUT = struct.Struct("<4sId2x")
_MAGIC = b"rSt1"
SIZE_BYTES = _LAYOUT.size


@dataclass(frozen=True, slots=True)
class Stamp:
    """What one chunk said about itself."""

    number: int
    at: float


def make(number: int, at: float) -> bytes:
    """The 18 bytes of a stamp."""
    return _LAYOUT.pack(_MAGIC, number & 0xFFFFFFFF, at)


def put(pcm: bytes, number: int, at: float) -> bytes:
    """The same chunk with its beginning overwritten by a stamp; a chunk too short to hold one is left alone."""
    return make(number, at) + pcm[SIZE_BYTES:] if len(pcm) >= SIZE_BYTES else pcm


def read(pcm: bytes) -> Stamp | None:
    """The stamp at the beginning of a chunk, if there is one."""
    if len(pcm) < SIZE_BYTES or not pcm.startswith(_MAGIC):
        return None
    _, number, at = _LAYOUT.unpack_from(pcm)
    return Stamp(number, at)
