"""The relay's log lines, read back."""

import structlog

from proof.records import Journals, captured

LINE = {
    "event": "handover", "session": "s", "tenant": "acme", "cause": "go_away", "planned": True, "outcome": "restored",
    "stall_ms": 3.5, "frames_held": 1, "replayed": 2, "dropped": 0, "uncertain": 0, "turn_cut": False,
    "restored": True, "dials": 1, "timestamp": "2026-01-01T00:00:00.500000Z",
}  # fmt: skip


def test_a_handover_is_read_with_its_time() -> None:
    """The line's own timestamp counts, not when it was read."""
    journals = Journals()
    journals.take(LINE)
    (record,) = journals.of("acme").handovers
    assert (record.cause, record.planned, record.stall_ms, record.restored) == ("go_away", True, 3.5, True)
    assert record.at == 1_767_225_600.5


def test_tenants_are_kept_apart() -> None:
    """Rows played side by side don't see each other's lines."""
    journals = Journals()
    journals.take(LINE)
    journals.take({**LINE, "tenant": "other", "event": "session crashed"})
    assert journals.of("acme").crashes == 0
    assert journals.of("other").crashes == 1


def test_a_relay_of_this_process_is_overheard() -> None:
    """And the logging of everybody else is as it was afterwards."""
    before = structlog.get_config()
    with captured() as journals:
        structlog.get_logger().bind(tenant="acme").info("session", session="s", reason="client_left", code=1000)
    assert [ended.reason for ended in journals.of("acme").ended] == ["client_left"]
    assert structlog.get_config() == before
