"""What sections have in common."""

import pytest

from relay.config.base import is_here


@pytest.mark.threat("F6")
@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("ws://127.0.0.1:9", True),
        ("http://localhost/x", True),
        ("ws://[::1]:9/x", True),
        ("ws://127.0.0.1.example:9", False),
        ("ws://localhost@example:9", False),
        ("ws://example/127.0.0.1", False),
        ("ws://2130706433", False),
        ("nonsense", False),
    ],
)
def test_only_its_own_names_are_this_machine(url: str, here: bool) -> None:
    """What is sent there can't be listened to."""
    assert is_here(url) is here
