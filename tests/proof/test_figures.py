"""Percentiles and tables."""

from proof.figures import percentile, spread_ms, table


def test_percentiles_are_values_that_occurred() -> None:
    """The nearest rank, from above."""
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) is None


def test_times_are_shown_in_milliseconds() -> None:
    """Nothing is a dash, not a zero."""
    assert spread_ms([0.001, 0.002, 0.9]) == {"p50": 2.0, "p99": 900.0, "max": 900.0}
    assert spread_ms([]) == {"p50": None, "p99": None, "max": None}


def test_tables_are_markdown() -> None:
    """Every row has every column."""
    assert table(("a", "b"), [(1, "long")]).splitlines() == ["| a | b    |", "|---|------|", "| 1 | long |"]
