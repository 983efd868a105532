"""Sessions, handles and rolling back."""

import re
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from relay.sim import archive as archives
from relay.sim.archive import Archive, Session, Waiting, session_json
from relay.sim.conversation import Utterance
from relay.sim.ledger import Consumed
from relay.sim.profile import Profile
from relay.sim.rejections import Rejection

MODEL = "models/gemini-3.8-live"


def archive(**knobs: Any) -> Archive:
    """An empty archive."""
    return Archive(Profile(**knobs), Random(1))


def consume(session: Session, number: int) -> None:
    """Let a session consume a message and grow by a turn."""
    session.trail.append(Consumed(1, number, "clientContent", number, "", 10))
    said = session.conversation.say(Utterance("user", str(number)))
    session.conversation = replace(said, turns=said.turns + 1)


def resumed(google: Archive, handle: str, connection: int = 2, now: float = 0.0) -> Session:
    """The session behind a handle; it must be resumable."""
    session = google.resume(handle, MODEL, connection, now)
    assert isinstance(session, Session), session
    return session


def numbers(session: Session) -> list[int | None]:
    """What a session consumed."""
    return [entry.number for entry in session.trail.entries()]


def test_resuming_rolls_back_to_the_handles_moment() -> None:
    """What came after the handle is gone, from ledger and conversation; an older handle goes back further."""
    google = archive()
    session = google.open(MODEL, 1)
    handles = []
    for number in range(3):
        consume(session, number)
        handles.append(google.issue(session, opaque=False))
    consume(session, 3)
    google.detach(session, 1, now=10.0)

    again = resumed(google, handles[2])
    assert (numbers(again), again.conversation.turns) == ([0, 1, 2], 3)
    assert again is session
    assert again.connections == [1, 2]
    google.detach(again, 2, now=11.0)

    assert numbers(resumed(google, handles[0], connection=3)) == [0]


def test_a_resume_must_wait_while_the_old_connection_is_open() -> None:
    """The session is busy until its connection was detached; unless the profile allows otherwise."""
    for policy, expected in (("refuse", Waiting.OLD_CONNECTION_OPEN), ("allow", None)):
        google = archive(resume_while_open=policy)
        session = google.open(MODEL, 1)
        handle = google.issue(session, opaque=False)

        answer = google.resume(handle, MODEL, 2, now=0.0)

        assert (answer if expected else None) == expected
        assert isinstance(answer, Waiting if expected else Session)


@pytest.mark.parametrize(
    ("dead_handle", "code", "reason"),
    [
        ("1007", 1007, "Invalid session handle"),
        ("1008-not-found", 1008, "BidiGenerateContent session not found"),
        ("1008-entity", 1008, "Requested entity was not found."),
    ],
)
def test_a_dead_handle_is_refused(dead_handle: str, code: int, reason: str) -> None:
    """Unknown, expired, used-up and killed handles are all dead."""
    google = archive(dead_handle=dead_handle, handle_valid_s=100.0, handle_uses=1)
    session = google.open(MODEL, 1)
    expired, used, killed = (google.issue(session, opaque=False) for _ in range(3))
    google.detach(session, 1, now=0.0)

    dead = Rejection(code, reason)
    assert google.resume("unknown", MODEL, 2, now=0.0) == dead
    assert google.resume(expired, MODEL, 2, now=101.0) == dead
    google.detach(resumed(google, used, now=99.0), 2, now=99.0)
    assert google.resume(used, MODEL, 3, now=99.0) == dead
    google.expire_handles()
    assert google.resume(killed, MODEL, 3, now=99.0) == dead


def test_an_amnesic_handle_opens_an_empty_session() -> None:
    """Accepted, but nothing is remembered."""
    google = archive(dead_handle="amnesia")

    session = resumed(google, "unknown")

    assert (session.conversation.turns, numbers(session)) == (0, [])


def test_the_model_may_not_change() -> None:
    """Everything else may, but not the model."""
    google = archive()
    session = google.open(MODEL, 1)
    handle = google.issue(session, opaque=False)
    google.detach(session, 1, now=0.0)

    assert isinstance(google.resume(handle, "models/other", 2, now=0.0), Rejection)


@pytest.mark.parametrize(("skew", "expected"), [(0, [0, 1, 2]), (2, [0]), (-1, [0, 1, 2, 3]), (-9, [0, 1, 2, 3, 4])])
def test_the_restored_state_can_be_older_or_newer_than_the_handle(skew: int, expected: list[int]) -> None:
    """With a skew the ledger is not where the handle says: the case that breaks naive replays."""
    google = archive(restore_skew=skew)
    session = google.open(MODEL, 1)
    for number in range(3):
        consume(session, number)
    handle = google.issue(session, opaque=False)
    consume(session, 3)
    consume(session, 4)
    google.detach(session, 1, now=0.0)

    assert numbers(resumed(google, handle)) == expected


def test_handles_look_like_the_familys() -> None:
    """UUIDs or opaque base64, by family or by profile."""
    uuid = r"[0-9a-f-]{36}"
    opaque = r"Cih[\w-]+={0,2}"
    for style, is_opaque, pattern in (
        ("model", False, uuid), ("model", True, opaque), ("uuid", True, uuid), ("opaque", False, opaque),
    ):  # fmt: skip
        google = archive(handle_style=style)

        assert re.fullmatch(pattern, google.issue(google.open(MODEL, 1), is_opaque))


def test_handles_and_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest handle of a session dies, and the oldest session without a connection goes."""
    monkeypatch.setattr(archives, "MAX_HANDLES", 3)
    monkeypatch.setattr(archives, "MAX_SESSIONS", 2)
    google = archive()
    first = google.open(MODEL, 1)
    handles = [google.issue(first, opaque=False) for _ in range(4)]

    assert list(first.handles) == handles[1:]
    google.open(MODEL, 2)
    google.detach(first, 1, now=0.0)
    google.open(MODEL, 3)
    assert [session.id for session in google] == ["session-2", "session-3"]
    assert isinstance(google.resume(handles[3], MODEL, 4, now=0.0), Rejection)


def test_clearing_forgets_the_sessions_without_a_connection() -> None:
    """A reset leaves live sessions alone."""
    google = archive()
    google.detach(google.open(MODEL, 1), 1, now=0.0)
    live = google.open(MODEL, 2)

    google.clear()

    assert list(google) == [live]


def test_a_session_is_shown_with_what_each_handle_stands_for() -> None:
    """The inspection endpoint's view: consumed, handles with their marks, usage."""
    google = archive()
    session = google.open(MODEL, 1)
    consume(session, 0)
    handle = google.issue(session, opaque=False)
    consume(session, 1)

    shown = session_json(session)

    assert [entry["number"] for entry in shown["consumed"]] == [0, 1]
    assert shown["handles"][handle] == {"consumed": 1, "turns": 1, "uses": 0}
    assert shown["open"] == 1
