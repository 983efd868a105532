"""The memory of the last hour: what is added up in a sample, what counts as an error, and that all of it is bounded."""

from dataclasses import replace

from relay.core.closing import Blame, Close, CloseReason
from relay.core.handover import Cause, Handover, Outcome
from relay.core.ledger import Spent
from relay.net.diary import EVENTS, SAMPLES, Diary, Sources, Tally

HANDOVER = Handover(
    cause=Cause.LOST,
    planned=False,
    outcome=Outcome.RESTORED,
    stall_s=0.25,
    frames_held=0,
    replayed=0,
    dropped=0,
    uncertain=0,
    turn_cut=False,
    dials=1,
)


class World:
    """Numbers that a test sets."""

    def __init__(self) -> None:
        self.totals = {"a": Spent(), "b": Spent()}
        self.sessions = {"a": 0, "b": 0}
        self.now = 1_000.0
        self.diary = Diary(Sources(("a", "b"), self.totals.__getitem__, self.sessions.__getitem__, lambda: self.now))


def test_a_sample_has_what_was_added_since_the_last_one() -> None:
    """By tenant, and tenants that did nothing are not in it."""
    world = World()
    world.totals["a"] = Spent(tokens=10, nanos=100)
    world.diary.sample()
    world.totals["a"] = Spent(tokens=15, nanos=250)
    world.sessions["a"] = 2
    world.diary.handed_over("a", "s1", HANDOVER)
    world.diary.ended("a", "s2", Close(CloseReason.UPSTREAM_FAILED))
    coming = world.diary.current()
    world.diary.sample()
    world.sessions["a"] = 0
    world.diary.sample()
    first, second, third = world.diary.samples
    assert first.tenants == {"a": Tally(tokens=10, nanos=100)}
    assert second.tenants == {"a": Tally(tokens=5, nanos=150, handovers=1, errors=1, sessions=2)}
    assert third.tenants == {}
    assert coming == second, "a look at it changes nothing"


def test_an_end_is_bad_when_it_is_nobody_s_wish() -> None:
    """What clients do and what was decided here is no error; a Gemini that fails and a relay that crashes are."""
    world = World()
    bad = set()
    for reason in CloseReason:
        world.diary.ended("a", "s", Close(reason))
        if world.diary.events[-1].bad:
            bad.add(reason)
    assert {CloseReason.RELAY_ERROR, CloseReason.UPSTREAM_UNREACHABLE, CloseReason.UPSTREAM_BILLING} <= bad
    assert not bad & {CloseReason.DRAINING, CloseReason.BUDGET_SPENT, CloseReason.ENDED_BY_OPERATOR}
    assert all(reason.blame is not Blame.DOWNSTREAM for reason in bad)


def test_a_handover_is_bad_when_something_was_lost() -> None:
    """One that restored everything is how it should be."""
    diary = World().diary
    diary.handed_over("a", "s", HANDOVER)
    diary.handed_over("a", "s", replace(HANDOVER, outcome=Outcome.FRESH))
    good, bad = diary.events
    assert (good.bad, bad.bad) == (False, True)
    assert (good.kind, good.cause, good.outcome, good.stall_s) == ("handover", "lost", "restored", 0.25)


def test_the_same_refusal_again_is_only_counted() -> None:
    """A crowd at the door must not push everything else out."""
    world = World()
    for now in range(5):
        world.now = float(now)
        world.diary.refused(429, "concurrent_sessions")
    world.diary.refused(503, "capacity")
    first, second = world.diary.events
    assert (first.count, first.at, second.count) == (5, 4.0, 1)


def test_nothing_grows_without_end() -> None:
    """An hour of samples and a few hundred events, whatever happens; numbers go on."""
    world = World()
    for _ in range(2 * SAMPLES):
        world.diary.sample()
    for _ in range(2 * EVENTS):
        world.diary.ended("a", "s", Close(CloseReason.CLIENT_LEFT))
    assert (len(world.diary.samples), len(world.diary.events)) == (SAMPLES, EVENTS)
    assert world.diary.events[-1].number == 2 * EVENTS
