"""Refusals: words that their reader can act on."""

import pytest

from relay.core.refusals import Refusal, Rule


@pytest.mark.parametrize(
    ("path", "detail"),
    [("setup.model", "setup.model is not allowed"), ("", "is not allowed")],
    ids=["field", "message"],
)
def test_a_refusal_names_the_field_it_is_about(path: str, detail: str) -> None:
    """Where it is about one."""
    assert Refusal(Rule.MODEL, path, "is not allowed").detail == detail


def test_every_rule_has_a_label_of_its_own() -> None:
    """They are told apart in metrics."""
    labels = [rule.value for rule in Rule]
    assert len(labels) == len(set(labels))
