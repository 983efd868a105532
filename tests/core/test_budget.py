"""Budgets and rates: exact at their limit, told once, renewed with their window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.budget import Account, Bucket, Crossing, Quotas, Throttle
from relay.core.ledger import Allowance, Measure, Spent, Used
from relay.core.windows import Window

NOON = 1_795_608_000.0
"""2026-11-25, 12:00 UTC."""
TO_MIDNIGHT_S = 12 * 3600.0
DAY = Allowance(Window.DAY, Measure.TOKENS, 1000)
MONTH = Allowance(Window.MONTH, Measure.MONEY, 10_000)


def account(*allowances: Allowance) -> Account:
    """An account opened at noon, on a clock of timers that shows 0."""
    return Account(allowances, 0.0, NOON)


# Budgets -------------------------------------------------------------------------------------------------------------


@pytest.mark.threat("E1")
@pytest.mark.parametrize(
    ("tokens", "levels"),
    [
        (799, []),
        (800, [80]),
        (949, [80]),
        (950, [80, 95]),
        (999, [80, 95]),
        (1000, [80, 95, 100]),
        (5000, [80, 95, 100]),
    ],
)
def test_levels_are_reached_exactly(tokens: int, levels: list[int]) -> None:
    """Not one token earlier; of several levels reached at once each is told, in order, and none of them again."""
    opened = account(DAY)
    opened.charge(Spent(tokens=tokens))
    assert opened.crossings(1.0) == [Crossing(DAY, level, tokens) for level in levels]
    assert (opened.spent(1.0) is DAY) == (100 in levels)
    assert [crossing.spent for crossing in opened.crossings(1.0)] == []


def test_every_level_is_told_once() -> None:
    """However often somebody looks, and whichever budget was looked at before."""
    opened = account(DAY, MONTH)
    told = []
    for _ in range(120):
        opened.charge(Spent(tokens=10, nanos=90))
        told += [(crossing.allowance.window, crossing.level_percent) for crossing in opened.crossings(1.0)]
    assert told == [
        (Window.DAY, 80),
        (Window.MONTH, 80),
        (Window.DAY, 95),
        (Window.DAY, 100),
        (Window.MONTH, 95),
        (Window.MONTH, 100),
    ]
    assert opened.spent(1.0) is DAY


def test_what_is_left_is_known() -> None:
    """Both windows, money and tokens; an overdrawn budget has less than nothing."""
    opened = account(DAY, MONTH)
    opened.charge(Spent(tokens=1200, audio_ms=5, nanos=1))
    assert opened.left(0.0) == [(DAY, -200), (MONTH, 9_999)]
    assert opened.used(Window.DAY, Measure.AUDIO, 0.0) == 5


def test_what_other_replicas_used_counts() -> None:
    """The store's sum replaces what was pending when it was asked; what was used meanwhile stays pending."""
    opened = account(DAY)
    opened.charge(Spent(tokens=100))
    sent = opened.pending
    opened.charge(Spent(tokens=7))
    opened.learn(Used(day=Spent(tokens=600), month=Spent(tokens=900), at=NOON), sent, 1.0)
    assert opened.pending == Spent(tokens=7)
    assert opened.used(Window.DAY, Measure.TOKENS, 1.0) == 607
    assert opened.used(Window.MONTH, Measure.TOKENS, 1.0) == 907


def test_a_store_that_does_not_answer_changes_nothing() -> None:
    """What was used goes on counting from what was known last."""
    opened = account(DAY)
    opened.learn(Used(day=Spent(tokens=900), at=NOON), Spent(), 0.0)
    opened.charge(Spent(tokens=99))
    assert opened.spent(5.0) is None
    opened.charge(Spent(tokens=1))
    assert opened.spent(5.0) is DAY


def test_a_budget_begins_anew_with_its_window() -> None:
    """At midnight by the store's clock, to the second; its levels are told again, the month goes on."""
    opened = account(DAY, Allowance(Window.MONTH, Measure.TOKENS, 5000))
    opened.learn(Used(day=Spent(tokens=1000), month=Spent(tokens=1000), at=NOON), Spent(), 100.0)
    assert [crossing.level_percent for crossing in opened.crossings(100.0)] == [80, 95, 100]
    assert opened.spent(100.0 + TO_MIDNIGHT_S - 0.01) is DAY
    assert opened.renewed_after_s(DAY, 100.0) == TO_MIDNIGHT_S
    assert opened.spent(100.0 + TO_MIDNIGHT_S) is None
    assert opened.used(Window.MONTH, Measure.TOKENS, 100.0 + TO_MIDNIGHT_S) == 1000
    opened.charge(Spent(tokens=800))
    assert [crossing.level_percent for crossing in opened.crossings(100.0 + TO_MIDNIGHT_S)] == [80]


@pytest.mark.threat("E8")
def test_a_wall_clock_that_is_wrong_moves_no_window() -> None:
    """Once the store has told its time, this machine's does not matter."""
    opened = Account((DAY,), 0.0, NOON - 400 * 86_400)
    opened.learn(Used(day=Spent(tokens=1000), at=NOON), Spent(), 0.0)
    assert opened.spent(0.0) is DAY
    assert opened.renewed_after_s(DAY, 3600.0) == TO_MIDNIGHT_S - 3600.0


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=30))
def test_nothing_is_forgotten_or_counted_twice(steps: list[tuple[int, bool]]) -> None:
    """Whenever the store answers, what is known is all that was charged."""
    opened = account(DAY)
    total = stored = 0
    for tokens, settled in steps:
        opened.charge(Spent(tokens=tokens))
        total += tokens
        if settled:
            stored = total
            opened.learn(Used(day=Spent(tokens=stored), at=NOON), opened.pending, 0.0)
        assert opened.used(Window.DAY, Measure.TOKENS, 0.0) == total


# Rates ---------------------------------------------------------------------------------------------------------------


@pytest.mark.threat("E1")
def test_a_bucket_is_exact_at_its_limit() -> None:
    """As many as the burst at once and not one more; then as many as time brings back."""
    bucket = Bucket(10.0, 20.0, 0.0)
    assert [bucket.take(1, 0.0) for _ in range(21)] == [True] * 20 + [False]
    assert [bucket.take(1, 0.5) for _ in range(6)] == [True] * 5 + [False]
    assert [bucket.take(1, 100.0) for _ in range(21)] == [True] * 20 + [False]


def test_a_large_amount_is_not_stuck_but_paid_for() -> None:
    """More than the burst passes once, and nothing more until the debt is paid."""
    bucket = Bucket(10.0, 20.0, 0.0)
    assert bucket.take(100, 0.0)
    assert not bucket.take(1, 7.9)
    assert not bucket.take(1, 8.0)
    assert bucket.take(1, 8.1)


def test_a_session_without_limits_may_send_anything() -> None:
    """No quota is set unless an operator sets it."""
    throttle = Throttle(Quotas(), 0.0)
    assert throttle.exceeded(10**9, 0.0) is None
    assert not throttle.too_fast(10**6, 0.0)


@pytest.mark.threat("E1")
@pytest.mark.parametrize(
    ("quotas", "payload_bytes", "passes", "limit"),
    [
        (Quotas(messages_per_second=5, burst_s=2), 1, 10, "messages_per_second"),
        (Quotas(bytes_per_second=1000, burst_s=2), 100, 20, "bytes_per_second"),
        (Quotas(messages_per_second=5, bytes_per_second=1000, burst_s=2), 1000, 2, "bytes_per_second"),
    ],
)
def test_messages_and_bytes_have_limits(quotas: Quotas, payload_bytes: int, passes: int, limit: str) -> None:
    """The first message beyond names the limit."""
    throttle = Throttle(quotas, 0.0)
    assert [throttle.exceeded(payload_bytes, 0.0) for _ in range(passes + 1)] == [None] * passes + [limit]


@pytest.mark.threat("E1")
def test_speech_can_t_be_faster_than_life() -> None:
    """After the burst, 1.5 s of speech pass in a second and more do not; a message without speech is none."""
    throttle = Throttle(Quotas(audio_speed=1.5, burst_s=10), 0.0)
    passed, now = 0, 0.0
    while not throttle.too_fast(0.1, now):
        passed += 1
        now += 0.05  # twice real time: half a second too much in every second, and 15 s may come at once
    assert 599 <= passed <= 601
    assert not throttle.too_fast(0.0, now)
    at_once = Throttle(Quotas(audio_speed=1.5, burst_s=10), 0.0)
    assert [at_once.too_fast(0.25, 0.0) for _ in range(61)] == [False] * 60 + [True], "15 s, and not one piece more"
    patient = Throttle(Quotas(audio_speed=1.5, burst_s=10), 0.0)
    assert not any(patient.too_fast(0.1, tick * 0.1) for tick in range(36_000))
