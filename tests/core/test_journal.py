"""The journal: what a new leg is told again, in order, bounded, with everything that fell out counted."""

from typing import Any

import pytest

from relay.core.client_frames import ClientFrame
from relay.core.journal import ENTRY_BYTES, Journal, Outgoing, Sort, audio_seconds, outgoing


def text(payload: bytes) -> Outgoing:
    """A message that is never given up while there is room."""
    return Outgoing(payload, Sort.CONTROL)


def audio(payload: bytes, seconds: float = 0.1) -> Outgoing:
    """A piece of microphone."""
    return Outgoing(payload, Sort.AUDIO, seconds)


def journal(*entries: Outgoing, max_bytes: int = 100_000, max_audio_s: float = 10.0) -> Journal:
    """A journal of these, each sent a second after the one before it, from 1.0 on."""
    made = Journal(max_bytes, max_audio_s)
    for at, entry in enumerate(entries, 1):
        made.append(entry, float(at))
    return made


def payloads(kept: Journal) -> list[bytes]:
    """What is kept, in order."""
    return [entry.payload for entry in kept]


@pytest.mark.parametrize(
    ("kind", "body", "sort"),
    [
        ("clientContent", {}, Sort.CONTROL),
        ("toolResponse", {}, Sort.CONTROL),
        ("realtimeInput", {"text": "x"}, Sort.CONTROL),
        ("realtimeInput", {"audio": {"data": "AAAA"}}, Sort.AUDIO),
        ("realtimeInput", {"audio": {"data": "AAAA"}, "text": "x"}, Sort.CONTROL),
        ("realtimeInput", {"audio": {}, "activityEnd": {}}, Sort.CONTROL),
        ("realtimeInput", {"video": {}}, Sort.VIDEO),
        ("realtimeInput", {"activityStart": {}}, Sort.ACTIVITY_START),
        ("realtimeInput", {"activityEnd": {}}, Sort.ACTIVITY_END),
        ("realtimeInput", {"audioStreamEnd": True}, Sort.CONTROL),
    ],
)
def test_messages_are_sorted_by_what_may_be_done_with_them(kind: str, body: dict[str, Any], sort: Sort) -> None:
    """Only what is nothing but audio may be given up first; only pictures are never said again."""
    assert outgoing(ClientFrame(kind, body), b"x").sort is sort


@pytest.mark.parametrize(
    ("blob", "seconds"),
    [
        ({"data": "AAAA" * 8000, "mimeType": "audio/pcm"}, 0.75),
        ({"data": "AAAA" * 8000, "mimeType": "audio/pcm;rate=8000"}, 1.5),
        ({"data": "AAAA" * 8000, "mimeType": "audio/pcm;rate=48000;x=y"}, 0.25),
        ({"data": "AAAA" * 8000, "mimeType": "audio/pcm;rate=0"}, 0.75),
        ({"data": "AAAA" * 8000, "mimeType": "audio/pcm;rate=x"}, 0.75),
        ({"data": "AAAA" * 8000, "mimeType": "audio/pcm;rate=99999999"}, 0.75),
        ({}, 0.0),
    ],
)
def test_audio_is_measured_by_its_rate(blob: dict[str, Any], seconds: float) -> None:
    """16 kHz where the mime type names no rate that could be one."""
    assert audio_seconds(blob) == pytest.approx(seconds)


def test_everything_is_kept_in_order() -> None:
    """Until a handle covers it."""
    kept = journal(text(b"a"), audio(b"b"), text(b"c"))
    assert (payloads(kept), len(kept), kept.dropped) == ([b"a", b"b", b"c"], 3, 0)
    assert kept.held_bytes == 3 + 3 * ENTRY_BYTES


def test_a_picture_is_only_counted() -> None:
    """Its bytes are never said again, so they are not kept."""
    kept = journal(Outgoing(b"picture", Sort.VIDEO))
    assert (payloads(kept), kept.held_bytes) == ([b""], ENTRY_BYTES)


def test_too_much_audio_gives_up_the_oldest_audio() -> None:
    """Words said between it stay."""
    kept = journal(text(b"a"), audio(b"1", 1.0), text(b"b"), audio(b"2", 1.0), audio(b"3", 1.0), max_audio_s=2.0)
    assert (payloads(kept), kept.dropped) == ([b"a", b"b", b"2", b"3"], 1)


def test_too_many_bytes_give_up_audio_before_words() -> None:
    """Where there is no audio left, the oldest words go."""
    room = 3 * ENTRY_BYTES + 3
    kept = journal(text(b"a"), audio(b"1"), text(b"b"), text(b"c"), max_bytes=room)
    assert (payloads(kept), kept.dropped) == ([b"a", b"b", b"c"], 1)
    kept.append(text(b"d"), 9.0)
    assert (payloads(kept), kept.dropped) == ([b"b", b"c", b"d"], 2)


def test_it_is_bounded_whatever_is_said() -> None:
    """Also by messages that have no bytes of their own, and by one that is larger than everything."""
    kept = Journal(10 * ENTRY_BYTES, 10.0)
    for number in range(1000):
        kept.append(Outgoing(b"picture", Sort.VIDEO), float(number))
        assert kept.held_bytes <= 10 * ENTRY_BYTES
    assert len(kept) + kept.dropped == 1000
    kept.append(text(bytes(10_000)), 1000.0)
    assert (len(kept), kept.held_bytes, kept.dropped) == (0, 0, 1001)


def test_an_index_covers_exactly_what_came_before_it() -> None:
    """The setup is message 0; an index never uncovers anything."""
    kept = journal(text(b"a"), text(b"b"), text(b"c"))
    kept.cover(2)
    assert (payloads(kept), kept.uncertain) == ([b"c"], 0)
    kept.cover(1)
    assert payloads(kept) == [b"c"]


def test_what_was_under_way_when_a_handle_was_issued_is_in_doubt() -> None:
    """It may be in the state behind the handle, or not; what is sent later certainly is not."""
    kept = journal(text(b"a"), text(b"b"), text(b"c"))
    kept.cover(2, doubtful_to=kept.place)
    kept.append(text(b"d"), 4.0)
    assert (payloads(kept), kept.uncertain) == ([b"c", b"d"], 1)


@pytest.mark.parametrize(
    ("instant", "unacknowledged_bytes", "place"),
    [
        (9.0, 0, 3),
        (3.0, 0, 2),
        (2.5, 0, 2),
        (1.0, 0, 0),
        (9.0, 1, 2),
        (9.0, 9, 2),
        (9.0, 10, 1),
        (9.0, 100, 0),
        (2.5, 10, 1),
    ],
)
def test_what_was_sent_long_ago_and_acknowledged_has_reached_gemini(
    instant: float, unacknowledged_bytes: int, place: int
) -> None:
    """Both are needed; a message of one byte takes nine on the wire."""
    assert journal(text(b"a"), text(b"b"), text(b"c")).reached(instant, unacknowledged_bytes) == place


def test_where_nothing_is_kept_everything_has_reached_gemini() -> None:
    """The newest handle has it."""
    kept = journal(text(b"a"), text(b"b"))
    kept.cover(2)
    assert kept.reached(0.0, 0) == 2


@pytest.mark.parametrize(
    ("instant", "unacknowledged_bytes"), [(0.5, 0), (9.0, 100)], ids=["recent", "not acknowledged"]
)
def test_what_fell_out_too_early_has_not_reached_gemini(instant: float, unacknowledged_bytes: int) -> None:
    """Nor have the words that outlived it, on either side: a handle of that moment covers none of them."""
    kept = journal(audio(b"1"), text(b"a"), audio(b"2"), audio(b"3"), max_audio_s=0.1)
    kept.cover(kept.reached(instant, unacknowledged_bytes), doubtful_to=kept.place)
    assert (payloads(kept), kept.dropped) == ([b"a", b"3"], 2)


def test_what_fell_out_is_forgotten_once_a_handle_covers_it() -> None:
    """Not before: a handle may lag behind what was given up."""
    kept = journal(*[audio(b"%d" % number, 1.0) for number in range(1, 6)], max_audio_s=2.0)
    assert (payloads(kept), kept.dropped) == ([b"4", b"5"], 3)
    kept.cover(2)
    assert (payloads(kept), kept.dropped) == ([b"4", b"5"], 3)
    kept.cover(3)
    assert (payloads(kept), kept.dropped) == ([b"4", b"5"], 0)


def test_words_that_outlived_the_audio_around_them_are_covered_in_their_turn() -> None:
    """They are older than what follows them."""
    kept = journal(text(b"a"), audio(b"1", 1.0), text(b"b"), audio(b"2", 1.0), audio(b"3", 1.0), max_audio_s=1.0)
    assert payloads(kept) == [b"a", b"b", b"3"]
    kept.cover(1)
    assert payloads(kept) == [b"b", b"3"]
    kept.cover(4)
    assert (payloads(kept), kept.dropped) == ([b"3"], 0)


def test_what_was_answered_is_marked() -> None:
    """All that was sent before the turn began, and nothing later."""
    kept = journal(text(b"a"), text(b"b"), text(b"c"))
    assert not kept.stale
    kept.settle(2.0)
    assert [entry.answered for entry in kept] == [True, True, False]
    assert kept.stale


def test_a_new_leg_begins_with_places_of_its_own() -> None:
    """What was kept is handed out; what of it is said again is appended again, from place 1 on."""
    kept = journal(audio(b"1", 8.0), audio(b"2", 8.0), text(b"a"))
    entries = kept.new_leg()
    assert [entry.payload for entry in entries] == [b"2", b"a"]
    assert (len(kept), kept.held_bytes, kept.dropped) == (0, 0, 0)
    kept.append(entries[1], 5.0)
    assert (entries[1].place, entries[1].sent_at) == (1, 5.0)
    kept.cover(1)
    assert len(kept) == 0


def test_it_knows_whether_the_user_s_turn_was_open_before_it() -> None:
    """Whether its beginning was covered by a handle, or fell out."""
    start, end = Outgoing(b"s", Sort.ACTIVITY_START), Outgoing(b"e", Sort.ACTIVITY_END)
    kept = journal(start, audio(b"1"), end, audio(b"2"))
    assert not kept.activity_was_open
    kept.cover(2)
    assert kept.activity_was_open
    kept.cover(3)
    assert not kept.activity_was_open
