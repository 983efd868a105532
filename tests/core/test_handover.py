"""Handovers as they are reported, and why legs are left."""

from dataclasses import replace

import pytest

from relay.core.closing import CloseReason
from relay.core.handover import Cause, Crossing, Handover, Outcome, cause_of, may_pass

GOOD = Handover(Cause.GO_AWAY, True, Outcome.RESTORED, 0.1, 2, 1, 0, 0, False, 1)


@pytest.mark.parametrize(
    ("handover", "restored", "lossless"),
    [
        (GOOD, True, True),
        (replace(GOOD, outcome=Outcome.REPLAYED), True, True),
        (replace(GOOD, dropped=1), True, False),
        (replace(GOOD, uncertain=1), True, False),
        (replace(GOOD, turn_cut=True), True, False),
        (replace(GOOD, outcome=Outcome.ROLLED_BACK), False, False),
        (replace(GOOD, outcome=Outcome.FRESH), False, False),
        (replace(GOOD, outcome=Outcome.FAILED), False, False),
    ],
)
def test_a_handover_says_whether_anything_was_lost(handover: Handover, restored: bool, lossless: bool) -> None:
    """Restored where Gemini knows the conversation, lossless where there is nothing to tell the client."""
    assert (handover.restored, handover.lossless) == (restored, lossless)


@pytest.mark.parametrize(
    ("code", "meaning", "cause"),
    [
        (1000, CloseReason.UPSTREAM_FAILED, Cause.CLOSED),
        (1005, CloseReason.UPSTREAM_FAILED, Cause.CLOSED),
        (1006, CloseReason.UPSTREAM_FAILED, Cause.LOST),
        (1011, CloseReason.UPSTREAM_FAILED, Cause.FAILED),
        (1000, CloseReason.UPSTREAM_FINISHED, Cause.CLOSED),
        (1011, CloseReason.UPSTREAM_EXPIRED, Cause.EXPIRED),
        (1011, CloseReason.UPSTREAM_OVERLOADED, Cause.OVERLOADED),
        (0, CloseReason.UPSTREAM_UNREACHABLE, Cause.LOST),
        (1011, CloseReason.UPSTREAM_QUOTA, None),
        (1011, CloseReason.UPSTREAM_BILLING, None),
        (1007, CloseReason.UPSTREAM_KEY_REFUSED, None),
        (1007, CloseReason.UPSTREAM_SETUP_REFUSED, None),
        (1008, CloseReason.UPSTREAM_HANDLE_REFUSED, None),
        (1008, CloseReason.UPSTREAM_MODEL_REFUSED, None),
        (1007, CloseReason.UPSTREAM_REGION, None),
    ],
)
def test_only_what_resuming_can_mend_is_a_cause(code: int, meaning: CloseReason, cause: Cause | None) -> None:
    """Quota, billing and a bad key are none."""
    assert cause_of(code, meaning) is cause


@pytest.mark.parametrize(
    ("meaning", "first", "later"),
    [
        (CloseReason.UPSTREAM_UNREACHABLE, True, True),
        (CloseReason.UPSTREAM_SILENT, True, True),
        (CloseReason.UPSTREAM_FINISHED, False, True),
        (CloseReason.UPSTREAM_EXPIRED, False, True),
        (CloseReason.UPSTREAM_QUOTA, False, False),
        (CloseReason.UPSTREAM_HANDLE_REFUSED, False, False),
    ],
)
def test_a_conversation_tries_harder_than_its_beginning(meaning: CloseReason, first: bool, later: bool) -> None:
    """What a client may do better itself at the beginning, only the relay can do in mid-conversation."""
    assert may_pass(meaning, in_conversation=False) is first
    assert may_pass(meaning, in_conversation=True) is later


def test_a_record_tells_the_crossing_from_the_session_s_totals() -> None:
    """Frames held and dials are those since it began."""
    crossing = Crossing(Cause.LOST, False, began_at=10.0, held_before=5, dials_before=2, turn_cut=True)
    crossing.replayed, crossing.uncertain, crossing.dropped = 3, 2, 1
    record = crossing.record(Outcome.FRESH, held_frames=9, dials=4, now=10.5)
    assert record == Handover(Cause.LOST, False, Outcome.FRESH, 0.5, 4, 3, 1, 2, True, 2)


def test_what_was_tried_counts_for_a_crossing_that_follows_at_once() -> None:
    """Else a dead handle could be tried for ever."""
    before, after = Crossing(Cause.LOST, False, 0.0, 0, 0), Crossing(Cause.FAILED, False, 1.0, 0, 1)
    before.refusals, before.rolled_back, before.fresh, before.without_audio = 2, True, True, True
    after.inherit(before)
    assert (after.refusals, after.rolled_back, after.fresh, after.without_audio) == (2, True, True, True)
