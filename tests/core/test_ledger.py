"""The words that ledgers are asked in."""

from relay.core.ledger import Charge, Measure, Spent, Used
from relay.core.windows import Window


def test_amounts_that_budgets_limit_add_up() -> None:
    """Sums, differences and single measures."""
    one, other = Spent(5, 60, 700), Spent(1, 20, 300)
    assert one + other == Spent(6, 80, 1000)
    assert one - other == Spent(4, 40, 400)
    assert [one.of(measure) for measure in (Measure.TOKENS, Measure.AUDIO, Measure.MONEY)] == [5, 60, 700]


def test_a_charge_says_what_budgets_limit() -> None:
    """Among all its amounts; what it does not name is nothing."""
    charge = Charge("acme", "s1", "gemini-3.8-live", 1, {"tokens": 7, "nanos": 9, "turns": 3}, 0.0)
    assert charge.spent == Spent(tokens=7, nanos=9)


def test_windows_are_told_apart() -> None:
    """What was used today is not what was used this month."""
    used = Used(day=Spent(1), month=Spent(2))
    assert (used.within(Window.DAY), used.within(Window.MONTH)) == (Spent(1), Spent(2))
