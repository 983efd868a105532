"""Trails of what was consumed."""

import pytest

from relay.sim import ledger
from relay.sim.ledger import Consumed, Trail, consumed_json


def entry(number: int) -> Consumed:
    """A numbered audio message."""
    return Consumed(1, number, "realtimeInput.audio", number, "", 100)


def numbers(trail: Trail) -> list[int | None]:
    """The numbers on a trail."""
    return [consumed.number for consumed in trail.entries()]


def test_a_fork_shares_the_past_and_not_the_future() -> None:
    """Rolling back to a mark forgets what came later, on the fork only."""
    trail = Trail()
    for number in range(5):
        trail.append(entry(number))

    fork = trail.at(3)
    fork.append(entry(100))
    trail.append(entry(5))

    assert numbers(fork) == [0, 1, 2, 100]
    assert numbers(trail) == [0, 1, 2, 3, 4, 5]
    assert (fork.mark, trail.mark) == (4, 6)


def test_a_mark_at_the_end_is_the_trail_itself() -> None:
    """Nothing came after: there is nothing to fork from."""
    trail = Trail()
    trail.append(entry(1))

    assert trail.at(1) is trail
    assert trail.at(7) is trail


def test_forks_of_forks_keep_their_order() -> None:
    """A session handed over many times still has one straight history; a fork may go back before its own beginning."""
    trail = Trail()
    for number in range(40):
        trail.append(entry(number))
        if number % 10 == 9:
            trail.append(entry(-1))
            trail = trail.at(trail.mark - 1)

    assert numbers(trail) == list(range(40))
    assert numbers(trail.at(5)) == [0, 1, 2, 3, 4]


def test_a_trail_is_bounded_and_counts_what_it_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entries of an endless session go, and the marks go on."""
    monkeypatch.setattr(ledger, "TRAIL_LENGTH", 100)
    trail = Trail()
    for number in range(300):
        trail.append(entry(number))

    assert trail.mark == 300
    assert trail.dropped + len(trail.entries()) == 300
    assert len(trail.entries()) <= 125
    assert numbers(trail)[-1] == 299
    fork = trail.at(290)
    assert numbers(fork)[-1] == 289
    assert fork.mark == 290


def test_entries_are_shown_without_what_they_lack() -> None:
    """The inspection endpoint leaves absent members out."""
    assert consumed_json(Consumed(1, 2, "clientContent", None, "hi", 10)) == {
        "connection": 1, "place": 2, "kind": "clientContent", "text": "hi", "size": 10,
    }  # fmt: skip
