"""Drives released SDKs through the relay; the assertions in here are to be explained like those of tests."""

import pytest

pytest.register_assert_rewrite("tests.e2e.sdk.scenarios", "tests.e2e.sdk.director")
