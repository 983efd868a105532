"""Numbers hidden in audio chunks."""

from relay.sim import stamp


def test_a_stamp_is_read_back() -> None:
    """Number and time survive; the rest of the chunk is untouched."""
    chunk = bytes(range(200))

    stamped = stamp.put(chunk, 7, 1.5)

    assert stamp.read(stamped) == stamp.Stamp(7, 1.5)
    assert len(stamped) == len(chunk)
    assert stamped[stamp.SIZE_BYTES :] == chunk[stamp.SIZE_BYTES :]


def test_what_is_not_stamped_has_no_stamp() -> None:
    """Plain audio and scraps are not mistaken for stamped chunks."""
    assert stamp.read(bytes(100)) is None
    assert stamp.read(stamp.make(1, 2.0)[:-1]) is None
    assert stamp.put(b"ab", 1, 2.0) == b"ab"


def test_a_stamp_is_24_characters_of_base64() -> None:
    """It can be exchanged inside an encoded chunk without touching its neighbours."""
    assert stamp.SIZE_BYTES == 18
