"""Tenants that use more than they may, as `python -m proof budget` plays them."""

from collections import Counter
from decimal import Decimal

import pytest

from proof import budget


@pytest.mark.threat("E1", "E3")
async def test_every_limit_is_kept() -> None:
    """Warned at 80 and 95 %, stopped with the turn that crossed it or after the grace, with the documented words."""
    verdicts = await budget.run()

    assert [verdict.name for verdict in verdicts] == [row.name for row in budget.ROWS]
    assert budget.broken(verdicts) == []
    assert "80, 95, 100" in budget.shown(verdicts)


def test_a_bill_by_hand() -> None:
    """The proof's own arithmetic, on round numbers: text for what has no price or modality, nothing for cached."""
    bill = Counter(
        {"prompt.audio": 1_000_000, "prompt.unattributed": 2_000_000, "cached.text": 5, "thoughts.text": 500_000}
    )

    assert budget.cost_of(bill) == Decimal("3.00") + 2 * Decimal("0.50") + Decimal("2.00") / 2
