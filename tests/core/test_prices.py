"""Prices: the row of a model, and the cost of its tokens to the last digit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.prices import FREE, OTHER_MODEL, Price, PriceTable, nanos
from relay.core.usage import Cell, Kind, Modality, Semantics, usage

LIVE = Price(
    "gemini-3.8-live",
    {Modality.TEXT: Decimal("0.75"), Modality.AUDIO: Decimal("3.00"), Modality.IMAGE: Decimal("1.00")},
    {Modality.TEXT: Decimal("4.50"), Modality.AUDIO: Decimal("12.00")},
)
THINKING = Price("gemini-3.8-live-thinking", LIVE.input, LIVE.output)
TRANSLATE = Price("gemini-3.5-live-translate", LIVE.input, LIVE.output, Semantics.CUMULATIVE)
TABLE = PriceTable({price.name: price for price in (LIVE, THINKING, TRANSLATE)})


def test_a_bill_by_hand() -> None:
    """One report of each direction, kind and modality, multiplied and added on paper."""
    body = {
        "promptTokenCount": 522,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 332}, {"modality": "AUDIO", "tokenCount": 165}],
        "responseTokenCount": 57,
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
        "thoughtsTokenCount": 17,
        "toolUsePromptTokenCount": 10,
        "cachedContentTokenCount": 100,
    }
    # in:  332 text * 0.75 + 165 audio * 3.00 + 25 unattributed * 0.75 + 10 of tools * 0.75 = 249 + 495 + 18.75 + 7.5
    # out: 50 audio * 12.00 + 7 unattributed * 4.50 + 17 thoughts * 4.50                    = 600 + 31.5 + 76.5
    assert LIVE.cost(usage(body).tokens) == Decimal("0.00147825")


@pytest.mark.parametrize(
    ("modality", "up", "down"),
    [
        (Modality.TEXT, "0.75", "4.50"),
        (Modality.AUDIO, "3.00", "12.00"),
        (Modality.IMAGE, "1.00", "4.50"),
        (Modality.VIDEO, "1.00", "4.50"),
        (Modality.DOCUMENT, "1.00", "4.50"),
        (Modality.UNATTRIBUTED, "0.75", "4.50"),
    ],
)
def test_a_modality_without_a_price_has_that_of_a_similar_one(modality: Modality, up: str, down: str) -> None:
    """Pictures stand in for other pictures, text for everything."""
    assert LIVE.per_million(Kind.PROMPT, modality) == Decimal(up)
    assert LIVE.per_million(Kind.TOOL_USE, modality) == Decimal(up)
    assert LIVE.per_million(Kind.RESPONSE, modality) == Decimal(down)
    assert LIVE.per_million(Kind.CACHED, modality) == 0


@pytest.mark.parametrize(
    ("model", "row"),
    [
        ("models/gemini-3.8-live", "gemini-3.8-live"),
        ("gemini-3.8-live", "gemini-3.8-live"),
        ("projects/p/locations/l/publishers/google/models/gemini-3.8-live", "gemini-3.8-live"),
        ("models/gemini-3.8-live-preview-12-2026", "gemini-3.8-live"),
        ("models/gemini-3.8-live-thinking", "gemini-3.8-live-thinking"),
        ("models/gemini-3.8-live-thinking-01", "gemini-3.8-live-thinking"),
        ("models/gemini-3.8-lively", OTHER_MODEL),
        ("models/gemini-3.8", OTHER_MODEL),
        ("models/", OTHER_MODEL),
        ("", OTHER_MODEL),
        ("-", OTHER_MODEL),
    ],
)
def test_a_model_has_the_longest_row_that_begins_its_id(model: str, row: str) -> None:
    """Versions have their model's row, and no model has that of one whose name merely looks alike."""
    assert TABLE.of(model).name == row


def test_a_model_without_a_row_is_free_or_has_the_prices_that_were_chosen_for_it() -> None:
    """Either way it is counted under a name that no client chose."""
    tokens = {(Kind.PROMPT, Modality.TEXT): 1_000_000}
    assert TABLE.of("models/new").cost(tokens) == 0
    chosen = PriceTable(TABLE.rows, Price(OTHER_MODEL, LIVE.input, LIVE.output))
    assert chosen.of("models/new").cost(tokens) == Decimal("0.75")
    assert chosen.of("models/new").name == FREE.name == OTHER_MODEL


cells = st.dictionaries(st.tuples(st.sampled_from(Kind), st.sampled_from(Modality)), st.integers(0, 10**12))


@given(cells, cells)
def test_the_cost_of_a_sum_is_the_sum_of_the_costs(one: dict[Cell, int], other: dict[Cell, int]) -> None:
    """No digit is lost, so it does not matter how often a bill is made."""
    both = {cell: one.get(cell, 0) + other.get(cell, 0) for cell in one.keys() | other.keys()}
    assert LIVE.cost(both) == LIVE.cost(one) + LIVE.cost(other)


@pytest.mark.parametrize(
    ("amount", "whole"),
    [("0", 0), ("0.00147825", 1_478_250), ("0.0000000011", 2), ("1", 10**9), ("12345", 12345 * 10**9)],
)
def test_whole_numbers_of_money_are_rounded_up(amount: str, whole: int) -> None:
    """A budget is not overdrawn by rounding."""
    assert nanos(Decimal(amount)) == whole
