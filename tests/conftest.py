"""Hypothesis profiles: `fast` by default, the same examples every time; HYPOTHESIS_PROFILE=deep looks for new ones.

And the rows of the threat model that a test holds go into its entry of a JUnit file, for docs/render.py.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.canary"]

settings.register_profile("fast", max_examples=60, stateful_step_count=30, deadline=None, derandomize=True)
settings.register_profile(
    "deep",
    max_examples=5_000,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# By hand: a million client messages through tests/properties/test_differential.py.
settings.register_profile("million", parent=settings.get_profile("deep"), max_examples=170_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note the rows beside each test."""
    for item in items:
        rows = sorted({str(row) for mark in item.iter_markers("threat") for row in mark.args})
        if rows:
            item.user_properties.append(("threat", " ".join(rows)))
