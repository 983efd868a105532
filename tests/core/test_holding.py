"""Held messages: in order, bounded, nothing dropped silently."""

from relay.core.holding import Holding
from relay.core.journal import Outgoing, Sort


def text(payload: bytes) -> Outgoing:
    """A message that is no picture."""
    return Outgoing(payload, Sort.CONTROL)


def picture(payload: bytes) -> Outgoing:
    """A frame of video."""
    return Outgoing(payload, Sort.VIDEO)


def test_messages_come_out_in_the_order_they_went_in_and_once() -> None:
    """Taking them empties the queue."""
    holding = Holding(100)
    messages = [text(payload) for payload in (b"a", b"bb", b"ccc")]
    assert [holding.put(message) for message in messages] == [True, True, True]
    assert (holding.held_bytes, holding.held_frames, len(holding)) == (6, 3, 3)
    assert holding.take_all() == messages
    assert (holding.held_bytes, holding.held_frames, len(holding)) == (0, 3, 0)
    assert holding.take_all() == []


def test_the_bound_is_exact() -> None:
    """As many bytes as the bound fit; one more is refused and changes nothing."""
    holding = Holding(5)
    assert holding.put(text(b"abcde"))
    assert not holding.put(text(b"f"))
    assert holding.put(text(b""))
    assert (holding.held_bytes, holding.held_frames) == (5, 2)
    assert holding.take_all() == [text(b"abcde"), text(b"")]
    assert holding.put(text(b"f"))


def test_a_message_larger_than_the_bound_never_fits() -> None:
    """Not even into an empty queue."""
    assert not Holding(5).put(text(b"abcdef"))


def test_only_the_newest_picture_waits() -> None:
    """Gemini refuses stale video; each picture that a newer one replaces is counted as dropped, once."""
    holding = Holding(8)
    for message in (text(b"a"), picture(b"111"), text(b"b"), picture(b"222"), picture(b"333")):
        assert holding.put(message)
    assert holding.held_bytes == 5
    assert holding.take_all() == [text(b"a"), text(b"b"), picture(b"333")]
    assert (holding.take_dropped(), holding.take_dropped()) == (2, 0)


def test_a_picture_that_left_does_not_make_the_next_one_stale() -> None:
    """Only those that wait together are compared."""
    holding = Holding(8)
    holding.put(picture(b"111"))
    holding.take_all()
    holding.put(picture(b"222"))
    assert holding.take_all() == [picture(b"222")]
    assert holding.take_dropped() == 0
