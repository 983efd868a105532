"""Gemini's handles: the newest, what it covers, and a few to go back to."""

from relay.core.resumption import KEPT, Resumption
from relay.core.secret import Secret


def test_without_a_handle_there_is_nothing_to_resume_from() -> None:
    """And nothing is covered."""
    resumption = Resumption()
    assert (resumption.newest.reveal(), resumption.covered) == ("", 0)
    resumption.discard()
    assert resumption.newest.reveal() == ""


def test_the_newest_handle_counts_and_older_ones_are_remembered() -> None:
    """Each dead one uncovers the one before it, as far as they were kept."""
    resumption = Resumption()
    for number in range(KEPT + 2):
        resumption.add(Secret(f"h{number}"), number)
    for number in range(KEPT + 1, 1, -1):
        assert (resumption.newest.reveal(), resumption.covered) == (f"h{number}", number)
        resumption.discard()
    assert resumption.newest.reveal() == ""


def test_a_session_that_was_begun_anew_has_none() -> None:
    """No handle leads to it."""
    resumption = Resumption()
    resumption.add(Secret("a"), 1)
    resumption.add(Secret("b"), 2)
    resumption.clear()
    assert (resumption.newest.reveal(), resumption.covered) == ("", 0)
