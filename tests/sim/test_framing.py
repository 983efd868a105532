"""WebSocket frames as bytes."""

import pytest

from relay.sim.framing import BINARY, frame


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65_535, b"\x82\x7e\xff\xff"),
        (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_lengths_are_written_in_their_three_forms(size: int, head: bytes) -> None:
    """RFC 6455 5.2: seven bits, two bytes, eight bytes."""
    assert frame(bytes(size), BINARY) == head + bytes(size)
