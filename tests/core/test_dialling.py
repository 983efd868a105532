"""Dialling: how often, and after which pauses."""

import pytest

from relay.core.dialling import Dialling, Pace


def test_legs_are_numbered_from_1() -> None:
    """0 is the client's."""
    dialling = Dialling(Pace(), lambda: 0.0)
    assert [dialling.next_leg(0.0) for _ in range(3)] == [1, 2, 3]
    assert dialling.dials == 3


def test_there_are_at_most_so_many_dials_in_any_minute() -> None:
    """The window slides: each dial makes room a minute later."""
    dialling = Dialling(Pace(dials_per_minute=3), lambda: 0.0)
    assert [dialling.next_leg(at) for at in (0.0, 10.0, 20.0, 30.0, 59.9)] == [1, 2, 3, 0, 0]
    assert dialling.allowed_at(59.9) == 60.0
    assert [dialling.next_leg(at) for at in (60.0, 60.0, 70.0)] == [4, 0, 5]
    assert dialling.allowed_at(200.0) == 200.0


@pytest.mark.parametrize(("failures", "highest_s"), [(0, 0.25), (1, 0.25), (2, 0.5), (3, 1.0), (6, 8.0), (60, 8.0)])
def test_pauses_are_drawn_below_a_bound_that_doubles(failures: int, highest_s: float) -> None:
    """Full jitter: from nothing to the bound, which has a bound itself."""
    for drawn in (0.0, 0.5, 0.999):
        dialling = Dialling(Pace(redial_base_s=0.25, redial_max_s=8.0), lambda drawn=drawn: drawn)  # type: ignore[misc]
        dialling.failures = failures
        assert dialling.pause_s() == pytest.approx(highest_s * drawn)
