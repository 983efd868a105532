"""The comparison of what was sent and what arrived."""

import pytest

from proof.ledger import Counts, diff


@pytest.mark.parametrize(
    ("received", "lost", "duplicated", "reordered", "foreign"),
    [
        ([1, 2, 3, 4], 0, 0, 0, 0),
        ([1, 2, 4], 1, 0, 0, 0),
        ([1, 2, 2, 3, 4], 0, 1, 0, 0),
        ([1, 3, 2, 4], 0, 0, 1, 0),
        ([2, 3, 4, 1], 0, 0, 1, 0),
        ([4, 3, 2, 1], 0, 0, 3, 0),
        ([1, 2, 3, 4, 9], 0, 0, 0, 1),
        ([], 4, 0, 0, 0),
        ([1, 2, 1, 2, 4], 1, 2, 0, 0),
    ],
)
def test_each_kind_of_harm_is_counted_as_what_it_is(
    received: list[int], lost: int, duplicated: int, reordered: int, foreign: int
) -> None:
    """One thing wrong, one count."""
    assert diff([1, 2, 3, 4], received) == Counts(4, len(received), lost, duplicated, reordered, foreign)


def test_what_is_sent_twice_may_arrive_twice() -> None:
    """Frames without a number of their own are counted, and their order is not judged."""
    assert diff([1, "end", 2, "end"], [1, "end", 2, "end"]).clean
    assert diff([1, "end", 2, "end"], [1, 2, "end"]) == Counts(4, 3, lost=1)
    assert diff([1, "end", 2, "end"], [1, "end", "end", "end", 2]) == Counts(4, 5, duplicated=1)


def test_counts_add_up() -> None:
    """The counts of several sessions are one."""
    assert Counts(1, 2, 3, 4, 5, 6) + Counts(1, 1, 1, 1, 1, 1) == Counts(2, 3, 4, 5, 6, 7)
