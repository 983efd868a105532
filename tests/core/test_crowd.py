"""How many may come in, and how fast: each limit is exact."""

import pytest

from relay.core.crowd import Bounds, Crowd, Crowded

MANY = 10_000


def test_the_process_has_room_for_so_many_and_not_one_more() -> None:
    """A place that is given back is free for the next."""
    crowd = Crowd(Bounds(3))

    assert [crowd.enter() for _ in range(4)] == [None, None, None, Crowded.PROCESS]
    assert len(crowd) == 3
    crowd.leave()
    assert crowd.enter() is None


def test_each_address_has_its_own_share() -> None:
    """One that has used it up takes nothing from another, and gets it back."""
    crowd = Crowd(Bounds(MANY, per_address=2))

    assert [crowd.claim("a") for _ in range(3)] == [None, None, Crowded.ADDRESS]
    assert crowd.claim("b") is None
    crowd.release("a")
    assert [crowd.claim("a"), crowd.claim("a")] == [None, Crowded.ADDRESS]


def test_addresses_that_hold_nothing_are_forgotten() -> None:
    """Memory follows what is open, not what has ever called."""
    crowd = Crowd(Bounds(MANY, per_address=1, per_second=1))
    for number in range(20_000):
        assert crowd.claim(number) is None
        assert crowd.ask(number, 0.0) is None
        crowd.release(number)

    assert not crowd._by_address
    assert len(crowd._buckets) <= 4096


@pytest.mark.parametrize("per_second", [1, 5])
def test_requests_are_limited_by_the_second(per_second: int) -> None:
    """Two seconds' worth at once, one request each time as long later, for each address."""
    crowd = Crowd(Bounds(MANY, per_second=per_second))
    burst = 2 * per_second

    assert [crowd.ask("a", 0.0) for _ in range(burst + 1)] == [None] * burst + [Crowded.RATE]
    assert crowd.ask("b", 0.0) is None
    assert crowd.ask("a", 0.5 / per_second) is None
    assert crowd.ask("a", 0.5 / per_second) is Crowded.RATE


def test_no_limit_is_no_limit() -> None:
    """Where none is set for an address, only the process's counts."""
    crowd = Crowd(Bounds(MANY))

    assert all(crowd.claim("a") is None and crowd.ask("a", 0.0) is None for _ in range(5_000))
