"""What every ledger does, whatever it keeps its numbers in."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.core.ledger import Allowance, Ask, Cause, Charge, Ledger, Measure, Query, Row, Spent, Verdict
from relay.core.windows import Window, day_of, window_end
from tests.store.conftest import Open


def charge(session: str = "s1", sequence: int = 1, tenant: str = "acme", model: str = "live", **amounts: int) -> Charge:
    """Running totals of a session that began a minute ago by the real clock; `prompt_text` stands for `prompt.text`."""
    named = {name.replace("_text", ".text"): amount for name, amount in amounts.items()}
    return Charge(tenant, session, model, sequence, named, datetime.now(UTC).timestamp() - 60)


async def today(ledger: Ledger) -> str:
    """The day it is in the store."""
    return day_of((await ledger.used("nobody")).at)


# Admission -----------------------------------------------------------------------------------------------------------


async def test_places_are_exact(ledger: Ledger) -> None:
    """As many sessions as the limit says, not one more; a place that is given back can be taken again."""
    asks = [Ask("acme", f"s{number}", concurrent_sessions=3) for number in range(4)]
    assert [(await ledger.admit(ask)).refused for ask in asks] == [None, None, None, Cause.CONCURRENT_SESSIONS]
    await ledger.release("acme", "s1")
    await ledger.release("acme", "s1")
    assert (await ledger.admit(asks[3])).refused is None
    assert (await ledger.admit(Ask("other", "s9", concurrent_sessions=1))).refused is None


async def test_asking_twice_is_asking_once(ledger: Ledger) -> None:
    """A question whose answer was lost may be repeated: it takes one place, and is one start."""
    for _ in range(3):
        ask = Ask("acme", "s1", concurrent_sessions=2, starts_per_minute=2)
        assert (await ledger.admit(ask)).refused is None
    for session, refused in (("s2", None), ("s3", Cause.CONCURRENT_SESSIONS)):
        assert (await ledger.admit(Ask("acme", session, 2, 2))).refused is refused
    await ledger.release("acme", "s1")
    assert (await ledger.admit(Ask("acme", "s3", 2, 2))).refused is Cause.STARTS_PER_MINUTE


@pytest.mark.threat("E2")
async def test_a_crowd_gets_exactly_as_many_places_as_there_are(reopen: Open) -> None:
    """Six hundred at once, through three connections to the store where it can have them, at a limit of a hundred."""
    first = await reopen()
    doors = [first, await reopen(), await reopen()] if type(first).__name__ == "RedisLedger" else [first]

    async def ask(number: int) -> Verdict:
        return await doors[number % len(doors)].admit(Ask("acme", f"s{number}", concurrent_sessions=100))

    refused = [verdict.refused for verdict in await asyncio.gather(*map(ask, range(600)))]
    assert refused.count(None) == 100
    assert refused.count(Cause.CONCURRENT_SESSIONS) == 500


@pytest.mark.threat("E1")
async def test_starts_per_minute_are_exact(ledger: Ledger) -> None:
    """Sessions that have ended count; whoever is refused is told when the oldest start is a minute old."""
    for number in range(5):
        ask = Ask("acme", f"s{number}", starts_per_minute=5)
        assert (await ledger.admit(ask)).refused is None
        await ledger.release("acme", f"s{number}")
    verdict = await ledger.admit(Ask("acme", "s5", starts_per_minute=5))
    assert verdict.refused is Cause.STARTS_PER_MINUTE
    assert 50 < verdict.retry_after_s <= 60


@pytest.mark.threat("E1")
@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize(
    ("measure", "used"),
    [
        (Measure.TOKENS, charge(tokens=100)),
        (Measure.AUDIO, charge(audio_ms=100)),
        (Measure.MONEY, charge(nanos=100)),
    ],
)
async def test_a_spent_budget_admits_nobody(ledger: Ledger, window: Window, measure: Measure, used: Charge) -> None:
    """From its last unit on, until its window is over."""
    await ledger.settle([used], {})
    enough = await ledger.admit(Ask("acme", "s2", allowances=(Allowance(window, measure, 101),)))
    assert enough.refused is None
    verdict = await ledger.admit(Ask("acme", "s3", allowances=(Allowance(window, measure, 100),)))
    assert verdict.refused is Cause.BUDGET
    assert verdict.retry_after_s == pytest.approx(window_end(window, verdict.used.at) - verdict.used.at)
    assert (await ledger.admit(Ask("other", "s4", allowances=(Allowance(window, measure, 1),)))).refused is None


# Charges -------------------------------------------------------------------------------------------------------------


async def test_charges_of_many_sessions_add_up(ledger: Ledger) -> None:
    """By tenant, in both windows, and what is asked for is answered."""
    used = await ledger.settle(
        [
            charge("s1", tokens=5, audio_ms=7, nanos=11, turns=1),
            charge("s2", tokens=50, model="other"),
            charge("s3", tenant="umbrella", tokens=1),
        ],
        {"quiet": []},
    )
    assert used["acme"].day == used["acme"].month == Spent(55, 7, 11)
    assert used["umbrella"].day == Spent(1)
    assert used["quiet"].month == Spent()
    assert await ledger.settle([], {}) == {}


async def test_a_charge_that_comes_again_changes_nothing(ledger: Ledger) -> None:
    """Repeated, or overtaken by a later one; totals that are later include what a lost one said."""
    first, second, third = charge(sequence=1, tokens=5), charge(sequence=2, tokens=7), charge(sequence=3, tokens=9)
    for sent in ([first], [first], [third, second], [second, first], [third]):
        used = await ledger.settle(sent, {})
    assert used["acme"].day == Spent(9)


@pytest.mark.threat("E5")
async def test_a_total_that_shrinks_is_no_credit(ledger: Ledger) -> None:
    """Whatever a charge says, nothing is given back."""
    await ledger.settle([charge(sequence=1, tokens=9, nanos=4)], {})
    used = await ledger.settle([charge(sequence=2, tokens=2, nanos=5)], {})
    assert used["acme"].day == Spent(9, 0, 5)


async def test_usage_survives_a_restart(reopen: Open) -> None:
    """What was settled is there again, and settling it again adds nothing."""
    await (await reopen()).settle([charge(tokens=5, turns=1)], {})
    again = await reopen()
    used = await again.settle([charge(tokens=5, turns=1), charge("s2", tokens=1)], {})
    assert used["acme"].month == Spent(6)


large = st.integers(0, 2**50)
steps = st.lists(
    st.tuples(st.sampled_from(["s1", "s2", "s3"]), large, st.sampled_from(["once", "twice", "lost", "late"])),
    max_size=12,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
async def test_any_loss_and_repetition_gives_the_same_sum(ledger: Ledger, script: list[tuple[str, int, str]]) -> None:
    """However charges are lost, doubled or delayed: once the last of each session arrives, the sum is exact."""
    test_any_loss_and_repetition_gives_the_same_sum.runs += 1  # type: ignore[attr-defined]
    tenant = f"t{test_any_loss_and_repetition_gives_the_same_sum.runs}"  # type: ignore[attr-defined]
    totals: dict[str, int] = {}
    sequences: dict[str, int] = {}
    late: list[Charge] = []
    for session, tokens, fate in script:
        totals[session] = totals.get(session, 0) + tokens
        sequences[session] = sequences.get(session, 0) + 1
        sent = charge(session, sequences[session], tenant, tokens=totals[session])
        if fate == "late":
            late.append(sent)
        elif fate != "lost":
            await ledger.settle([sent] * (2 if fate == "twice" else 1), {})
    await ledger.settle(late, {})
    last = [charge(session, sequences[session], tenant, tokens=totals[session]) for session in totals]
    used = await ledger.settle(last, {tenant: []})
    assert used[tenant].day == Spent(sum(totals.values()))


test_any_loss_and_repetition_gives_the_same_sum.runs = 0  # type: ignore[attr-defined]


# Names ---------------------------------------------------------------------------------------------------------------

ODD = ["a:b", "a{b}c", "a\nb", "a b", "{acme}", "acme:", "relay:{acme}", "ü", "%3A", "a'b\"c", "*", "\x00"]


@pytest.mark.threat("E9")
async def test_odd_names_are_names_like_any_other(ledger: Ledger) -> None:
    """A tenant can't reach another one's numbers or places by what it is called."""
    await ledger.settle([charge(tokens=1000, nanos=1)], {})
    for number, name in enumerate(ODD, start=1):
        assert (await ledger.used(name)).day == Spent()
        used = await ledger.settle([charge(tenant=name, tokens=number)], {})
        assert used[name].day == Spent(number)
        assert (await ledger.admit(Ask(name, "s1", concurrent_sessions=1))).refused is None
    day = await today(ledger)
    rows = await ledger.usage(Query(day, day))
    assert {row.tenant: row.amounts["tokens"] for row in rows} == {
        "acme": 1000,
        **{name: number for number, name in enumerate(ODD, start=1)},
    }


# Usage ---------------------------------------------------------------------------------------------------------------


async def test_usage_is_listed_by_day_model_and_session(ledger: Ledger) -> None:
    """Every amount of every charge is in each of the lists, once."""
    await ledger.settle(
        [
            charge("s1", tokens=5, turns=1, prompt_text=5),
            charge("s2", model="other", tokens=7),
            charge("s3", tenant="umbrella", tokens=1),
        ],
        {},
    )
    await ledger.settle([charge("s1", 2, tokens=6, turns=2, prompt_text=6)], {})
    day = await today(ledger)

    assert await ledger.usage(Query(day, day, "day")) == [
        Row("acme", day, {"tokens": 13, "turns": 2, "prompt.text": 6}),
        Row("umbrella", day, {"tokens": 1}),
    ]
    assert await ledger.usage(Query(day, day, "model", "acme")) == [
        Row("acme", "live", {"tokens": 6, "turns": 2, "prompt.text": 6}),
        Row("acme", "other", {"tokens": 7}),
    ]
    assert await ledger.usage(Query("2026-01-02", "2026-01-01", "day")) == []
    assert await ledger.usage(Query("1999-12-30", "2000-01-02", "session")) == []


async def test_usage_of_a_session_is_its_last_total(ledger: Ledger) -> None:
    """Sessions are listed by the day on which they began."""
    began = charge("s1", tokens=5)
    await ledger.settle([began, charge("s1", 2, tokens=6)], {})
    day = day_of(began.started_at)
    assert await ledger.usage(Query(day, day_of(began.started_at + 60), "session", "acme")) == [
        Row("acme", "s1", {"tokens": 6})
    ]
