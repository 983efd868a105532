"""What is remembered of each connection."""

import base64
import json

import pytest

from relay.sim import record as records
from relay.sim.record import ConnectionRecord, Recorder, record_json


def connection(number: int = 1) -> ConnectionRecord:
    """A connection just opened."""
    return ConnectionRecord(number, "/ws", "key=k", {"x-goog-api-key": "k"}, opened_at=0.0)


def test_text_is_kept_exactly_as_received() -> None:
    """Spaces, escapes and spelling are evidence."""
    recorder, record = Recorder(10, 10, keep_media=False), connection()
    raw = '{ "s\\u0065tup":\n{"model" : "m"} }'

    recorder.received(record, raw, binary=True, at=1.0)

    assert record.messages[0].raw == raw
    assert record.messages[0].parsed == {"setup": {"model": "m"}}
    assert record.messages[0].binary


def test_media_is_kept_as_size_and_digest_unless_wanted() -> None:
    """A long `data` shrinks to a line that still tells equal from different."""
    audio = base64.b64encode(bytes(3_200)).decode()
    raw = json.dumps({"realtimeInput": {"audio": {"data": audio, "mimeType": "audio/pcm"}}})
    record, whole = connection(), connection()
    Recorder(10, 10, keep_media=False).received(record, raw, binary=False, at=0.0)
    Recorder(10, 10, keep_media=True).received(whole, raw, binary=False, at=0.0)

    kept = record.messages[0]
    assert len(kept.raw) < 200
    assert kept.size == len(raw)
    assert f"{len(audio)} characters, sha256" in kept.parsed["realtimeInput"]["audio"]["data"]
    assert whole.messages[0].raw == raw


def test_garbage_is_kept_and_parses_to_nothing() -> None:
    """What is not JSON is still what was received."""
    record = connection()
    Recorder(10, 10, keep_media=False).received(record, "garbage", binary=False, at=0.0)

    assert record.messages[0].parsed is None


def test_messages_and_connections_are_bounded() -> None:
    """Beyond the limit messages are only counted, and the oldest closed connection is forgotten."""
    recorder = Recorder(messages=2, connections=2, keep_media=False)
    first, second, third = connection(1), connection(2), connection(3)
    for record in (first, second):
        recorder.open(record)
    for _ in range(5):
        recorder.received(first, "{}", binary=False, at=0.0)
    second.closed_at = 1.0

    recorder.open(third)

    assert (first.message_count, len(first.messages)) == (5, 2)
    assert recorder.records == [first, third]


def test_the_bytes_of_all_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """When all that is recorded grows too large, the oldest connections lose their messages."""
    monkeypatch.setattr(records, "MAX_BYTES", 1_000)
    recorder = Recorder(100, 100, keep_media=False)
    old, new = connection(1), connection(2)
    recorder.open(old)
    recorder.open(new)
    for record in (old, new):
        for _ in range(8):
            recorder.received(record, '"' + "x" * 98 + '"', binary=False, at=0.0)

    assert old.messages == []
    assert len(new.messages) == 8


def test_clearing_keeps_the_open_connections_without_their_messages() -> None:
    """A reset does not lose sight of who is connected."""
    recorder = Recorder(10, 10, keep_media=False)
    open_one, closed_one = connection(1), connection(2)
    closed_one.closed_at = 1.0
    for record in (open_one, closed_one):
        recorder.open(record)
        recorder.received(record, "{}", binary=False, at=0.0)

    recorder.clear()

    assert recorder.records == [open_one]
    assert open_one.messages == []


def test_a_record_is_shown_whole() -> None:
    """Headers, path, query and messages in order, for the inspection endpoint."""
    record = connection()
    recorder = Recorder(10, 10, keep_media=False)
    for text in ("1", "2"):
        recorder.received(record, text, binary=False, at=0.5)

    shown = record_json(record)

    assert shown["headers"] == {"x-goog-api-key": "k"}
    assert (shown["path"], shown["query"]) == ("/ws", "key=k")
    assert [message["raw"] for message in shown["messages"]] == ["1", "2"]
