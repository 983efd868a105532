"""Held messages: in order, bounded, nothing dropped silently."""

from relay.core.holding import Holding


def test_messages_come_out_in_the_order_they_went_in_and_once() -> None:
    """Taking them empties the queue."""
    holding = Holding(100)
    assert [holding.put(payload) for payload in (b"a", b"bb", b"ccc")] == [True, True, True]
    assert (holding.held_bytes, holding.held_frames) == (6, 3)
    assert holding.take_all() == [b"a", b"bb", b"ccc"]
    assert (holding.held_bytes, holding.held_frames) == (0, 3)
    assert holding.take_all() == []


def test_the_bound_is_exact() -> None:
    """As many bytes as the bound fit; one more is refused and changes nothing."""
    holding = Holding(5)
    assert holding.put(b"abcde")
    assert not holding.put(b"f")
    assert holding.put(b"")
    assert (holding.held_bytes, holding.held_frames) == (5, 2)
    assert holding.take_all() == [b"abcde", b""]
    assert holding.put(b"f")


def test_a_message_larger_than_the_bound_never_fits() -> None:
    """Not even into an empty queue."""
    assert not Holding(5).put(b"abcdef")
