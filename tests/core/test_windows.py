"""Days and months, compared with the standard library's calendar."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.windows import Window, day_of, window_end

instants = st.datetimes(datetime(1970, 1, 1), datetime(2399, 12, 31), timezones=st.just(UTC))


@given(instants)
def test_days_and_months_are_those_of_the_calendar(instant: datetime) -> None:
    """The day's name, its end and the month's end, leap years included."""
    unix_s = instant.timestamp()
    midnight = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    following = (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
    assert day_of(unix_s) == instant.date().isoformat()
    assert window_end(Window.DAY, unix_s) == (midnight + timedelta(days=1)).timestamp()
    assert window_end(Window.MONTH, unix_s) == following.timestamp()


@pytest.mark.parametrize(
    ("instant", "month_end"),
    [
        ("2026-11-30T23:59:59.999", "2026-12-01"),
        ("2026-12-01T00:00:00", "2027-01-01"),
        ("2026-12-31T23:59:59", "2027-01-01"),
        ("2028-02-01T00:00:00", "2028-03-01"),
        ("2028-02-29T12:00:00", "2028-03-01"),
        ("2027-01-31T12:00:00", "2027-02-01"),
    ],
)
def test_the_ends_of_months_are_their_beginnings(instant: str, month_end: str) -> None:
    """The instants at which an error would be of a whole month."""
    unix_s = datetime.fromisoformat(f"{instant}+00:00").timestamp()
    assert window_end(Window.MONTH, unix_s) == datetime.fromisoformat(f"{month_end}T00:00:00+00:00").timestamp()
