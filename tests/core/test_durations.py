"""Protobuf JSON durations."""

import pytest

from relay.core.durations import duration_s


@pytest.mark.parametrize(
    ("text", "seconds"), [("50s", 50.0), ("9.500s", 9.5), ("0s", 0.0), ("-1.000000001s", -1.000000001), ("007s", 7.0)]
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    """Whole and fractional seconds are read, negative ones too."""
    assert duration_s(text) == seconds


CLOSE = ["", "s", "5", "5m", "5 s", " 5s", "5s ", "5S", "+5s", "--5s", ".5s", "5.s", "1.2.3s", "1e3s", "٣s", "5s\n"]
LONG = ["9" * 13 + "s", "0." + "1" * 10 + "s", "9" * 5000 + "s"]
OTHER = ["nans", "infs", 5, 5.0, None, True, ["5s"], b"5s"]


@pytest.mark.parametrize("value", [*CLOSE, *LONG, *OTHER], ids=lambda value: repr(value)[:20])
def test_what_is_no_duration_is_none(value: object) -> None:
    """Anything else is no duration, however close it comes or however long it is."""
    assert duration_s(value) is None
