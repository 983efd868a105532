"""What may be asked of the admin API, and how a mistake is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.ledger import Query
from relay.net.admin_query import MAX_ROWS, BadParameterError, Page, only, usage_query

TODAY = "2026-11-25"


def test_nothing_given_means_this_month_by_day() -> None:
    """Of all tenants, up to today, in one page."""
    assert usage_query({}, TODAY) == (Query("2026-11-01", TODAY, "day", None), Page(0, MAX_ROWS))


def test_a_last_day_in_the_past_has_its_own_month() -> None:
    """The first day is the first of the month that the last one is in."""
    assert usage_query({"to": "2026-02-17"}, TODAY)[0] == Query("2026-02-01", "2026-02-17")


def test_a_last_day_in_the_future_still_begins_this_month() -> None:
    """Else a month that has not begun would be asked for."""
    assert usage_query({"to": "2026-12-31"}, TODAY)[0] == Query("2026-11-01", "2026-12-31")


def test_everything_can_be_given() -> None:
    """Each parameter in its place."""
    asked = {"from": "2026-01-02", "to": "2026-01-03", "by": "session", "tenant": "a", "offset": "4", "limit": "5"}
    assert usage_query(asked, TODAY) == (Query("2026-01-02", "2026-01-03", "session", "a"), Page(4, 5))


@given(
    st.dictionaries(
        st.sampled_from(["from", "to", "by", "tenant", "offset", "limit", "x"]), st.text(max_size=24), max_size=7
    )
)
def test_anything_else_is_a_named_mistake(parameters: dict[str, str]) -> None:
    """Whatever stands there, the answer is a query within bounds or the name of a parameter that was given."""
    mistake = None
    try:
        query, page = usage_query(parameters, TODAY)
    except BadParameterError as error:
        mistake = error
    if mistake is None:
        assert query.first <= query.last
        assert 1 <= page.limit <= MAX_ROWS
    else:
        assert mistake.parameter in {*parameters, "from"}
        assert str(mistake).startswith(f"{mistake.parameter}: ")


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    """So that a misspelt filter does not look like an answer."""
    with pytest.raises(BadParameterError, match="tenants: is not a parameter of this address \\(tenant\\)"):
        only({"tenants": "a"}, "tenant")
    with pytest.raises(BadParameterError, match="it has none"):
        only({"a": "b"})
