"""What both stores do with numbers: amounts read without trust, sums, and the first budget that is spent."""

from collections.abc import Iterable, Mapping

from relay.core.ledger import Allowance, Measure, Row, Spent, Used


def spent_of(amounts: Mapping[str, int]) -> Spent:
    """The amounts that budgets limit."""
    return Spent(*(amounts.get(measure.value, 0) for measure in Measure))


def first_spent(allowances: Iterable[Allowance], used: Used) -> Allowance | None:
    """The first budget of which nothing is left."""
    return next((each for each in allowances if used.within(each.window).of(each.measure) >= each.limit), None)


def summed(found: Iterable[tuple[str, str, Mapping[str, int]]]) -> list[Row]:
    """Rows of the same tenant and key added up, sorted."""
    sums: dict[tuple[str, str], dict[str, int]] = {}
    for tenant, key, amounts in found:
        total = sums.setdefault((tenant, key), {})
        for name, amount in amounts.items():
            total[name] = total.get(name, 0) + amount
    return [Row(tenant, key, amounts) for (tenant, key), amounts in sorted(sums.items())]
