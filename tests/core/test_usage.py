"""Usage reports: what is read from one, and what a series of them adds up to."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.usage import MAX_COUNT, MAX_STEP_TOKENS, Cell, Flag, Kind, Modality, Semantics, Tally, of_kind, usage

P, R = Kind.PROMPT, Kind.RESPONSE
TEXT, AUDIO, REST = Modality.TEXT, Modality.AUDIO, Modality.UNATTRIBUTED


def details(**tokens: Any) -> list[dict[str, Any]]:
    """Details as Gemini writes them."""
    return [{"modality": name, "tokenCount": count} for name, count in tokens.items()]


# One report ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (
            {
                "promptTokenCount": 1131,
                "responseTokenCount": 26,
                "totalTokenCount": 1157,
                "promptTokensDetails": details(TEXT=1131),
                "responseTokensDetails": details(AUDIO=26),
                "thoughtsTokenCount": 24,
            },
            {(P, TEXT): 1131, (R, AUDIO): 26, (Kind.THOUGHTS, TEXT): 24},
        ),
        (
            {
                "promptTokenCount": 44,
                "candidatesTokenCount": 61,
                "totalTokenCount": 105,
                "promptTokensDetails": details(TEXT=44),
                "candidatesTokensDetails": details(TEXT=11, AUDIO=50),
                "trafficType": "ON_DEMAND",
            },
            {(P, TEXT): 44, (R, TEXT): 11, (R, AUDIO): 50},
        ),
        (
            {
                "promptTokenCount": 522,
                "responseTokenCount": 69,
                "totalTokenCount": 591,
                "promptTokensDetails": details(TEXT=332, AUDIO=165),
                "responseTokensDetails": details(AUDIO=57),
            },
            {(P, TEXT): 332, (P, AUDIO): 165, (P, REST): 25, (R, AUDIO): 57, (R, REST): 12},
        ),
        (
            {
                "promptTokenCount": 9,
                "cachedContentTokenCount": 4,
                "toolUsePromptTokenCount": 3,
                "cacheTokensDetails": details(TEXT=4),
                "toolUsePromptTokensDetails": details(DOCUMENT=3),
                "promptTokensDetails": [
                    {"modality": "AUDIO"},
                    {"modality": "VIDEO", "tokenCount": 2},
                    {"modality": "IMAGE", "tokenCount": 1},
                    {"modality": "IMAGE", "tokenCount": 1},
                    {"modality": "SMELL", "tokenCount": 5},
                ],
            },
            {
                (P, Modality.VIDEO): 2,
                (P, Modality.IMAGE): 2,
                (P, REST): 5,
                (Kind.CACHED, TEXT): 4,
                (Kind.TOOL_USE, Modality.DOCUMENT): 3,
            },
        ),
        ({"promptTokenCount": "12", "responseTokenCount": 3.0}, {(P, REST): 12, (R, REST): 3}),
        ({"promptTokenCount": 7, "responseTokenCount": None, "promptTokensDetails": None}, {(P, REST): 7}),
        ({}, {}),
    ],
    ids=["developer", "vertex", "remainder", "all kinds", "number forms", "nulls", "empty"],
)
def test_a_sound_report_is_read_to_the_token(body: dict[str, Any], tokens: dict[Cell, int]) -> None:
    """Both spellings, every kind and modality; what details leave over has a name of its own; nothing is flagged."""
    read = usage(body)
    assert read.tokens == tokens
    assert read.flags == []


@pytest.mark.threat("E5")
@pytest.mark.parametrize(
    ("body", "tokens", "flag"),
    [
        ({"promptTokenCount": -5}, {}, Flag.NEGATIVE),
        ({"promptTokenCount": "-5"}, {}, Flag.NEGATIVE),
        ({"promptTokenCount": 2**31}, {(P, REST): MAX_COUNT}, Flag.TOO_LARGE),
        ({"promptTokenCount": 1e300}, {(P, REST): MAX_COUNT}, Flag.TOO_LARGE),
        ({"promptTokenCount": 1.5}, {}, Flag.UNREADABLE),
        ({"promptTokenCount": float("inf")}, {}, Flag.UNREADABLE),
        ({"promptTokenCount": True}, {}, Flag.UNREADABLE),
        ({"promptTokenCount": []}, {}, Flag.UNREADABLE),
        ({"promptTokenCount": "1" * 21}, {}, Flag.UNREADABLE),
        ({"promptTokenCount": "x"}, {}, Flag.UNREADABLE),
        ({"promptTokensDetails": details(TEXT=5)}, {(P, TEXT): 5}, Flag.COUNT_MISSING),
        (
            {"promptTokenCount": 7, "promptTokensDetails": details(TEXT=5, AUDIO=5)},
            {(P, TEXT): 5, (P, AUDIO): 2},
            Flag.DETAILS_EXCEED,
        ),
        (
            {"promptTokenCount": 7, "promptTokensDetails": details(TEXT=5, AUDIO=-5)},
            {(P, TEXT): 5, (P, REST): 2},
            Flag.NEGATIVE,
        ),
        ({"totalTokenCount": 9}, {(P, REST): 9}, Flag.TOTAL_EXCEEDS),
        (
            {"promptTokenCount": 4, "responseTokenCount": 3, "thoughtsTokenCount": 1, "totalTokenCount": 9},
            {(P, REST): 5, (R, REST): 3, (Kind.THOUGHTS, TEXT): 1},
            Flag.TOTAL_EXCEEDS,
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_unsound_report_is_clamped_and_flagged(body: dict[str, Any], tokens: dict[Cell, int], flag: Flag) -> None:
    """No count makes a total smaller or enormous, none is cheaper than its own total, and the operator can tell."""
    read = usage(body)
    assert read.tokens == tokens
    assert read.flags == [flag]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["modality", "tokenCount"]), inner),
    max_leaves=8,
)
FIELDS = (
    "promptTokenCount",
    "responseTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "totalTokenCount",
    "promptTokensDetails",
    "responseTokensDetails",
    "cacheTokensDetails",
)


@pytest.mark.threat("E5")
@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_nothing_that_upstream_sends_is_a_credit(body: dict[str, Any]) -> None:
    """Whatever stands in a report, reading it raises nothing and counts nothing below zero or beyond reason."""
    for semantics in Semantics:
        tally = Tally(semantics)
        for ordinal in range(3):
            before = dict(tally.tokens)
            tally.add(usage(body), 1, ordinal)
            assert all(tokens >= before.get(cell, 0) for cell, tokens in tally.tokens.items())
            for kind in Kind:
                assert of_kind(tally.tokens, kind) - of_kind(before, kind) <= MAX_STEP_TOKENS


def test_recorded_reports_are_sound() -> None:
    """Every report that was ever recorded is read without a flag, and to its total."""
    lines = (Path(__file__).parents[1] / "data" / "wire_examples.jsonl").read_text("utf-8").splitlines()
    bodies = [body for line in lines if (body := json.loads(line)["message"].get("usageMetadata"))]
    assert bodies
    for body in bodies:
        read = usage(body)
        assert read.flags == []
        assert of_kind(read.tokens, P) + of_kind(read.tokens, R) == body["totalTokenCount"]


# Many reports --------------------------------------------------------------------------------------------------------


def test_receipts_of_turns_are_summed() -> None:
    """Gemini bills the whole context anew in each turn, so the sum is what is billed."""
    tally = Tally()
    tally.add(usage({"promptTokenCount": 100, "responseTokenCount": 20}), 1, 3)
    tally.add(usage({"promptTokenCount": 150}), 1, 9)
    tally.add(usage({"promptTokenCount": 7}), 2, 0)
    assert tally.tokens == {(P, REST): 257, (R, REST): 20}
    assert (tally.reports, tally.flags) == (3, {})


def test_a_report_is_counted_once_however_often_it_is_handed_in() -> None:
    """Leg and place in it name a report; one that is not behind the last one was counted before."""
    tally = Tally()
    report = usage({"promptTokenCount": 100})
    assert tally.add(report, 1, 5)
    assert not tally.add(report, 1, 5)
    assert not tally.add(report, 1, 4)
    assert tally.add(report, 2, 5)
    assert tally.tokens == {(P, REST): 200}
    assert tally.reports == 2


def test_pieces_of_a_turn_are_part_of_its_receipt() -> None:
    """Gemini 3.1 also sends small reports without a prompt count while it speaks."""
    tally = Tally()
    tally.add(usage({"responseTokenCount": 5, "responseTokensDetails": details(AUDIO=5)}), 1, 0)
    tally.add(usage({"responseTokenCount": 3, "responseTokensDetails": details(AUDIO=3)}), 1, 1)
    assert tally.tokens == {(R, AUDIO): 8}
    receipt = {"promptTokenCount": 50, "responseTokenCount": 12, "responseTokensDetails": details(AUDIO=11)}
    tally.add(usage(receipt), 1, 2)
    assert tally.tokens == {(P, REST): 50, (R, AUDIO): 11, (R, REST): 1}
    tally.add(usage(receipt), 1, 3)
    assert tally.tokens == {(P, REST): 100, (R, AUDIO): 22, (R, REST): 2}


def test_running_totals_are_not_summed() -> None:
    """A model that reports what its leg has used so far is counted by the difference, and each leg for itself."""
    tally = Tally(Semantics.CUMULATIVE)
    tally.add(usage({"promptTokenCount": 10, "promptTokensDetails": details(AUDIO=10)}), 1, 0)
    tally.add(usage({"promptTokenCount": 25, "promptTokensDetails": details(AUDIO=24)}), 1, 1)
    tally.add(usage({"promptTokenCount": 4, "promptTokensDetails": details(AUDIO=4)}), 2, 0)
    assert tally.tokens == {(P, AUDIO): 28, (P, REST): 1}


@pytest.mark.threat("E5")
def test_a_running_total_that_shrinks_is_no_credit() -> None:
    """It is flagged, and counting goes on when it has passed what was counted."""
    tally = Tally(Semantics.CUMULATIVE)
    for ordinal, count in enumerate((20, 5, 22)):
        tally.add(usage({"promptTokenCount": count}), 1, ordinal)
    assert tally.tokens == {(P, REST): 22}
    assert tally.flags == {Flag.SHRANK: 1}


@pytest.mark.threat("E5")
def test_a_running_total_that_leaps_is_clamped_once() -> None:
    """What can't have been used is not counted, not even piece by piece with the reports that follow."""
    tally = Tally(Semantics.CUMULATIVE)
    for ordinal in range(4):
        tally.add(usage({"promptTokenCount": 2**31 - 1}), 1, ordinal)
    assert tally.tokens == {(P, REST): MAX_STEP_TOKENS}
    assert tally.flags == {Flag.TOO_LARGE: 1}


def test_deltas_are_summed() -> None:
    """A model whose reports each stand for a piece is counted by their sum."""
    tally = Tally(Semantics.PER_CHUNK)
    for ordinal in range(3):
        tally.add(usage({"promptTokenCount": 10, "responseTokenCount": 1}), 1, ordinal)
    assert tally.tokens == {(P, REST): 30, (R, REST): 3}


@pytest.mark.threat("E5")
def test_an_absurd_receipt_is_clamped_in_all_its_modalities_together() -> None:
    """The clamp is for a kind, not for each of its modalities."""
    tally = Tally()
    body = {"promptTokenCount": 2**31 - 1, "promptTokensDetails": details(TEXT=5, AUDIO=2**30)}
    tally.add(usage(body), 1, 0)
    assert of_kind(tally.tokens, P) == MAX_STEP_TOKENS
    assert tally.tokens[P, TEXT] == 5
    assert tally.flags == {Flag.TOO_LARGE: 1}


Report = tuple[int, int, int]
"""Prompt and response counts, and how much of the response is audio."""
reports = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(0, 300), st.integers(0, 400)).map(
        lambda numbers: (numbers[0], numbers[1], min(numbers[1], numbers[2]))
    ),
    max_size=8,
)


@given(st.lists(reports, min_size=1, max_size=3), st.data())
def test_any_repetition_gives_the_same_sum(legs: list[list[Report]], data: st.DataObject) -> None:
    """Reports that are handed in again, of legs that overlap, add nothing: the sum is that of a plain list."""
    sent = {(leg, ordinal): report for leg, listed in enumerate(legs, start=1) for ordinal, report in enumerate(listed)}
    tally = Tally()
    waiting = {leg: [key for key in sent if key[0] == leg] for leg in range(1, len(legs) + 1)}
    handed: list[tuple[int, int]] = []
    while any(waiting.values()):
        leg = data.draw(st.sampled_from([leg for leg, keys in waiting.items() if keys]))
        handed.append(waiting[leg].pop(0))
        if data.draw(st.booleans()):
            handed.append(data.draw(st.sampled_from(handed)))
    for leg, ordinal in handed:
        prompt, response, audio = sent[leg, ordinal]
        body = {
            "promptTokenCount": prompt,
            "responseTokenCount": response,
            "responseTokensDetails": details(AUDIO=audio),
        }
        tally.add(usage(body), leg, ordinal)
    assert of_kind(tally.tokens, P) == sum(report[0] for report in sent.values())
    assert of_kind(tally.tokens, R) == sum(report[1] for report in sent.values())
    assert tally.tokens.get((R, AUDIO), 0) == sum(report[2] for report in sent.values())
