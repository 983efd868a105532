"""Durations and sizes: as people write them, in seconds and bytes, and back."""

import pytest
from pydantic import TypeAdapter, ValidationError

from relay.config.units import Bytes, Seconds

SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
BYTES: TypeAdapter[int] = TypeAdapter(Bytes)


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("250ms", 0.25, "250ms"),
        ("10s", 10.0, "10s"),
        ("10 s", 10.0, "10s"),
        ("1.5h", 5400.0, "90m"),
        ("72.1019d", 6229604.16, "6229604160ms"),
        ("1234567.0005s", 1234567.0005, "1234567.0005s"),
        ("7200s", 7200.0, "2h"),
        ("1d", 86400.0, "1d"),
        ("0s", 0.0, "0s"),
    ],
)
def test_durations_are_seconds(text: str, seconds: float, shown: str) -> None:
    """Every unit is read; what is shown reads back as the same."""
    read = SECONDS.validate_python(text)
    assert read == seconds
    assert SECONDS.dump_python(read) == shown
    assert SECONDS.validate_python(shown) == seconds


@pytest.mark.parametrize(
    ("text", "size", "shown"),
    [
        ("512B", 512, "512B"),
        ("256KiB", 262144, "256KiB"),
        ("0.5MiB", 524288, "512KiB"),
        ("1024MiB", 2**30, "1GiB"),
        ("1025B", 1025, "1025B"),
    ],
)
def test_sizes_are_bytes(text: str, size: int, shown: str) -> None:
    """Binary units only, shown in the largest that divides evenly."""
    read = BYTES.validate_python(text)
    assert read == size
    assert BYTES.dump_python(read) == shown


@pytest.mark.parametrize("value", ["10", "s", "-1s", "1e3s", "10 seconds", "10S", "1_0s", 10, True, None, [], ""])
def test_what_is_no_duration_is_explained(value: object) -> None:
    """A bare number could be anything, so the unit is asked for, with an example."""
    with pytest.raises(ValidationError, match=r'must be a number with a unit .*, such as "10s"'):
        SECONDS.validate_python(value)


@pytest.mark.parametrize(
    "value", ["10", "10KB", "10kib", "10 bytes", "B", "9" * 400 + "B", "9" * 20 + "GiB", "٣B", 1.5, None]
)
def test_what_is_no_size_is_explained(value: object) -> None:
    """Decimal units are not guessed at."""
    with pytest.raises(ValidationError, match=r'must be a number with a unit .*, such as "256KiB"'):
        BYTES.validate_python(value)
