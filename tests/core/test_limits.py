"""The bounds of one session."""

import pytest

from relay.core.limits import Limits


@pytest.mark.parametrize(
    ("own", "asked", "expected"), [(None, None, None), (60.0, None, 60.0), (None, 30.0, 30.0), (20.0, 30.0, 20.0)]
)
def test_a_ticket_can_only_shorten_a_session(own: float | None, asked: float | None, expected: float | None) -> None:
    """The shorter length counts, wherever it is from."""
    assert Limits(session_s=own).at_most(asked).session_s == expected
