"""What Gemini knows: the handle's state plus the journal, and the counts that follow from it."""

from typing import Any

import pytest

from relay.core.closing import CloseReason
from relay.core.commands import Ping, Send
from relay.core.handover import Cause, Continuity, Crossing, Outcome
from relay.core.journal import Outgoing, Sort
from relay.core.memory import Memory
from relay.core.secret import Secret
from relay.core.server_frames import Resumption
from tests.core.playbook import shared


def memory(**continuity: Any) -> Memory:
    """A memory of a session in which nothing happened yet."""
    return Memory(Continuity(**continuity), shared())


def tell(known: Memory, *words: bytes, now: float = 0.0, sort: Sort = Sort.CONTROL) -> None:
    """The client's messages go to Gemini."""
    for payload in words:
        known.forward(Outgoing(payload, sort), 1, now)


def crossing(cause: Cause = Cause.LOST) -> Crossing:
    """A handover that has just begun."""
    return Crossing(cause, False, 0.0, 0, 0)


def again(known: Memory, over: Crossing) -> list[bytes]:
    """What a new leg is told."""
    sends = known.say_again(over, 2, 100.0)
    assert all(isinstance(send, Send) and send.leg == 2 for send in sends)
    return [send.payload for send in sends if isinstance(send, Send)]


@pytest.mark.parametrize(
    ("update", "taken"),
    [
        (Resumption(Secret("h"), True), True),
        (Resumption(Secret("h"), False), False),
        (Resumption(Secret(""), True), False),
        (Resumption(Secret(""), False), False),
    ],
)
def test_only_a_usable_handle_is_taken(update: Resumption, taken: bool) -> None:
    """Resumable, and not empty."""
    known = memory()
    assert known.take_handle(update, 1, 0.2, 1.0) is taken
    assert known.resumption.newest.reveal() == ("h" if taken else "")


def test_a_handle_from_the_middle_of_a_turn_is_good_once_the_turn_is_complete() -> None:
    """The state behind it has the question; its answer's end is all that it lacks, so no planned handover uses it."""
    around = shared()
    known = Memory(Continuity(), around)
    tell(known, b"question", now=0.0)
    around.turns.speaking = True
    assert not known.take_handle(Resumption(Secret("midway"), True), 1, 0.2, 1.0)
    tell(known, b"noise", now=1.0)
    assert not known.turn_completed()
    around.turns.speaking = False
    assert known.turn_completed()
    assert (known.resumption.newest.reveal(), known.restorable) == ("midway", False)
    over = crossing()
    assert again(known, over) == [b"noise"]
    assert over.uncertain == 0
    known.take_handle(Resumption(Secret("after it"), True), 1, 0.2, 200.0)
    assert known.restorable


def test_a_handle_from_a_turn_that_was_cut_is_forgotten() -> None:
    """Its state has swallowed a question that nobody would answer any more."""
    around = shared()
    known = Memory(Continuity(), around)
    tell(known, b"question", now=0.0)
    around.turns.speaking = True
    known.take_handle(Resumption(Secret("midway"), True), 1, 0.2, 1.0)
    over = crossing()
    known.cut_turn(over, 2.0)
    assert not known.turn_completed()
    assert again(known, over) == [b"question"]


def test_what_tcp_has_not_acknowledged_is_in_doubt() -> None:
    """However long ago it was sent: the network may have lost it once already."""
    unacknowledged = 0
    known = Memory(Continuity(), shared())
    known.ask_tcp(lambda _leg: unacknowledged)
    tell(known, b"a", b"b", now=0.0)
    unacknowledged = 1
    known.take_handle(Resumption(Secret("h1"), True), 1, 0.2, 10.0)
    over = crossing()
    assert again(known, over) == [b"b"]
    assert over.uncertain == 1


def test_counts_add_up_over_a_roll_back() -> None:
    """Everything that was ever told is behind the handle, told again, or dropped."""
    known = memory()
    tell(known, b"a", b"b", now=0.0)
    known.take_handle(Resumption(Secret("h1"), True), 1, 0.2, 1.0)
    tell(known, b"c", now=1.0)
    known.take_handle(Resumption(Secret("h2"), True), 1, 0.2, 2.0)
    tell(known, b"d", now=2.0)
    over = crossing()
    assert known.blame_handle(over)
    assert again(known, over) == [b"d"]
    assert (known.outcome(over), over.replayed, over.dropped) == (Outcome.ROLLED_BACK, 1, 1)
    known.take_handle(Resumption(Secret("h3"), True), 1, 0.2, 200.0)
    assert known.resumption.covered == 3


def test_everything_is_dropped_with_the_last_handle() -> None:
    """A fresh session knows what it is told again, and nothing else."""
    known = memory()
    tell(known, b"a", b"b", now=0.0)
    known.take_handle(Resumption(Secret("h1"), True), 1, 0.2, 1.0)
    tell(known, b"c", now=1.0)
    over = crossing()
    assert known.blame_handle(over)
    assert not known.blame_handle(over)
    assert again(known, over) == [b"c"]
    assert (known.outcome(over), over.dropped) == (Outcome.FRESH, 2)


def test_a_state_that_was_taken_over_is_not_this_session_s_to_replay() -> None:
    """Resumed from a handle of another session's: without it, the beginning is missing."""
    known = memory()
    known.resume_from(Secret("h0"))
    tell(known, b"a")
    over = crossing()
    known.blame_handle(over)
    assert again(known, over) == [b"a"]
    assert known.outcome(over) is Outcome.FRESH


def test_what_was_told_again_is_in_no_doubt_on_the_new_leg() -> None:
    """The next handle covers it, and a handover after that is clean."""
    known = memory()
    tell(known, b"a", now=0.9)
    known.take_handle(Resumption(Secret("h1"), True), 1, 0.2, 1.0)
    over = crossing()
    assert again(known, over) == [b"a"]
    assert over.uncertain == 1
    assert known.restorable


def test_audio_is_left_out_where_it_was_refused() -> None:
    """And counted; the rest is told."""
    known = memory()
    tell(known, b"a", sort=Sort.AUDIO)
    tell(known, b"b")
    over = crossing()
    over.without_audio = True
    assert again(known, over) == [b"b"]
    assert over.dropped == 1


@pytest.mark.parametrize(
    ("meanings", "newest", "without_audio"),
    [
        ([CloseReason.UPSTREAM_FAILED], "h2", False),
        ([CloseReason.UPSTREAM_FAILED, CloseReason.UPSTREAM_FAILED], "h1", False),
        ([CloseReason.UPSTREAM_HANDLE_REFUSED], "h1", False),
        ([CloseReason.UPSTREAM_SETUP_REFUSED], "h2", True),
        ([CloseReason.UPSTREAM_SETUP_REFUSED, CloseReason.UPSTREAM_SETUP_REFUSED], "h1", True),
        ([CloseReason.UPSTREAM_HANDLE_REFUSED, CloseReason.UPSTREAM_HANDLE_REFUSED], "", False),
    ],
)
def test_legs_that_die_soon_speak_against_their_handle(
    meanings: list[CloseReason], newest: str, without_audio: bool
) -> None:
    """By what Gemini said, and how often."""
    known = memory()
    known.take_handle(Resumption(Secret("h1"), True), 1, 0.2, 1.0)
    known.take_handle(Resumption(Secret("h2"), True), 1, 0.2, 2.0)
    before = crossing()
    for meaning in meanings:
        over = crossing(Cause.FAILED)
        assert known.learn(over, before, meaning)
        before = over
    assert (known.resumption.newest.reveal(), before.without_audio) == (newest, without_audio)


@pytest.mark.parametrize(
    ("sorts", "answered", "reopened"),
    [
        ([Sort.AUDIO], 0, True),
        ([Sort.AUDIO, Sort.ACTIVITY_END], 0, True),
        ([Sort.ACTIVITY_END, Sort.CONTROL], 0, True),
        ([Sort.ACTIVITY_END, Sort.CONTROL], 1, False),
        ([Sort.AUDIO, Sort.ACTIVITY_END, Sort.ACTIVITY_START, Sort.AUDIO], 3, True),
        ([Sort.AUDIO, Sort.ACTIVITY_END, Sort.ACTIVITY_START, Sort.AUDIO], 2, False),
        ([], 0, True),
    ],
)
def test_a_user_s_turn_is_opened_again_exactly_where_it_was_open(
    sorts: list[Sort], answered: int, reopened: bool
) -> None:
    """Behind the handle the turn is open; what was answered since is not told again."""
    known = memory(transparent=True)
    tell(known, b"start", sort=Sort.ACTIVITY_START)
    for sort in sorts:
        tell(known, sort.value.encode(), sort=sort)
    known.take_handle(Resumption(Secret("h"), True, 1), 1, 0.2, 1.0)
    for entry in list(known.journal)[:answered]:
        entry.answered = True
    told = again(known, crossing())
    assert (bool(told) and told[0] == b'{"realtimeInput":{"activityStart":{}}}') is reopened


def test_a_pong_shows_how_far_gemini_has_read() -> None:
    """A handle that comes after it covers what was written before the ping, however short a time ago that was."""
    known = memory()
    tell(known, b"a", now=1.0)
    assert known.ping(1, 1.0) == [Ping(1)]
    assert known.ping(1, 1.0) == [], "one at a time"
    tell(known, b"b", now=1.01)
    known.ponged(1.02)
    known.take_handle(Resumption(Secret("h"), True), 1, 0.2, 1.05)
    assert [(entry.payload, entry.doubtful) for entry in known.journal] == [(b"b", True)]


def test_slow_pongs_tell_of_a_slow_gemini() -> None:
    """What was written as long ago may not have been read; of one that never sends any they tell nothing."""
    known = memory()
    known.ping(1, 1.0)
    assert known.lag_s(1.5) == 0.0
    known.ponged(1.5)
    assert known.lag_s(2.0) == 0.5
    known.ping(1, 2.0)
    assert (known.lag_s(2.1), known.lag_s(5.0)) == (0.5, 3.0)


def test_with_an_index_nobody_is_pinged() -> None:
    """Gemini itself tells how far a handle reaches."""
    assert memory(transparent=True).ping(1, 1.0) == []


def test_a_handle_that_crossed_a_question_is_from_before_it() -> None:
    """Gemini issued it while nobody's turn was in progress; the question stays in the journal."""
    known = memory(transparent=True)
    tell(known, b"first", now=0.0)
    known._turns.owed = True
    tell(known, b"question", now=1.0)
    assert not known.take_handle(Resumption(Secret("knows the question"), True, 2), 1, 0.2, 1.1)
    known.journal.settle(0.5)
    assert known.take_handle(Resumption(Secret("before the question"), True, 1), 1, 0.2, 1.1)
    assert [entry.payload for entry in known.journal] == [b"question"]
