"""Why sessions end: codes that may be sent, words that fit, and what Gemini's own words mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.closing import (
    FOUND,
    MAX_REASON_BYTES,
    Close,
    CloseReason,
    cut,
    of_client_close,
    of_upstream_close,
    of_upstream_status,
)

REASONS = list(CloseReason)


@pytest.mark.threat("A2")
@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.label)
def test_every_reason_can_be_sent(reason: CloseReason) -> None:
    """Its code is legal in a close frame (never 1005, 1006 or 1015) and its words fit, alone and with any detail."""
    assert reason.code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 4000 <= reason.code <= 4999
    assert Close(reason).text == reason.text
    for detail in ("x" * 500, "ä€😀" * 100, "😀" * 100, "x" * (MAX_REASON_BYTES - len(reason.text.encode()) - 2)):
        encoded = Close(reason, detail).text.encode()
        assert len(encoded) <= MAX_REASON_BYTES
        assert encoded.startswith(reason.text.encode() + b": ")


# What clients and their authors rely on: the code each end is told with, and whether to come back.
PROMISED = {
    1000: {CloseReason.CLIENT_LEFT, CloseReason.IDLE, CloseReason.UPSTREAM_FINISHED},
    1001: {CloseReason.CLIENT_LOST, CloseReason.DRAINING},
    1002: {CloseReason.PROTOCOL_ERROR},
    1007: {CloseReason.BAD_FRAME, CloseReason.UPSTREAM_SETUP_REFUSED},
    1008: {
        CloseReason.FRAME_FLOOD,
        CloseReason.BAD_SEQUENCE,
        CloseReason.SETUP_LATE,
        CloseReason.REFUSED_BY_POLICY,
        CloseReason.SESSION_TOO_LONG,
        CloseReason.ENDED_BY_OPERATOR,
        CloseReason.UPSTREAM_MODEL_REFUSED,
        CloseReason.UPSTREAM_HANDLE_REFUSED,
    },
    1009: {CloseReason.FRAME_TOO_BIG},
    1011: {
        CloseReason.RELAY_ERROR,
        CloseReason.UPSTREAM_FAILED,
        CloseReason.UPSTREAM_EXPIRED,
        CloseReason.UPSTREAM_TOO_SLOW,
        CloseReason.UPSTREAM_BILLING,
        CloseReason.UPSTREAM_KEY_REFUSED,
        CloseReason.UPSTREAM_REGION,
        CloseReason.UPSTREAM_NONSENSE,
    },
    1013: {
        CloseReason.HELD_FRAMES_OVERFLOW,
        CloseReason.UPSTREAM_UNREACHABLE,
        CloseReason.UPSTREAM_SILENT,
        CloseReason.UPSTREAM_OVERLOADED,
        CloseReason.UPSTREAM_QUOTA,
    },
    4401: {CloseReason.CREDENTIAL_EXPIRED, CloseReason.CREDENTIAL_REVOKED, CloseReason.TICKET_REFUSED},
    4408: {CloseReason.CLIENT_TOO_SLOW},
    4429: {CloseReason.BUDGET_SPENT, CloseReason.TOO_FAST},
}
POINTLESS_TO_RETRY = {
    CloseReason.CLIENT_LEFT,
    CloseReason.BAD_FRAME,
    CloseReason.BAD_SEQUENCE,
    CloseReason.REFUSED_BY_POLICY,
    CloseReason.PROTOCOL_ERROR,
    CloseReason.FRAME_TOO_BIG,
    CloseReason.BUDGET_SPENT,
    CloseReason.CREDENTIAL_EXPIRED,
    CloseReason.CREDENTIAL_REVOKED,
    CloseReason.TICKET_REFUSED,
    CloseReason.IDLE,
    CloseReason.ENDED_BY_OPERATOR,
    CloseReason.UPSTREAM_BILLING,
    CloseReason.UPSTREAM_KEY_REFUSED,
    CloseReason.UPSTREAM_REGION,
    CloseReason.UPSTREAM_MODEL_REFUSED,
    CloseReason.UPSTREAM_SETUP_REFUSED,
}


def test_codes_and_the_advice_to_retry_are_promises() -> None:
    """Clients are written against them: a change here is a change to the interface."""
    assert {code: {reason for reason in REASONS if reason.code == code} for code in PROMISED} == PROMISED
    assert {reason for reason in REASONS if not reason.retryable} == POINTLESS_TO_RETRY


def test_reasons_are_distinct() -> None:
    """Two ways to end are never merged into one member, and each has a label of its own."""
    assert len({reason.value for reason in REASONS}) == len(CloseReason.__members__) == len(REASONS)
    assert {reason.label for reason in REASONS} == {name.lower() for name in CloseReason.__members__}


@pytest.mark.threat("A2")
@given(st.text(st.characters(codec=None)), st.integers(min_value=3, max_value=200))
def test_a_text_is_cut_between_characters(text: str, max_bytes: int) -> None:
    """A cut text is valid UTF-8 within its bound, a beginning of the original, and shows that it was cut."""
    shown = cut(text, max_bytes)
    whole = text.encode("utf-8", "replace").decode()
    assert len(shown.encode()) <= max_bytes
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))


def test_a_text_that_fits_is_not_cut() -> None:
    """The bound itself fits."""
    assert cut("ä" * 61 + "x", MAX_REASON_BYTES) == "ä" * 61 + "x"
    assert cut("x" * 124, MAX_REASON_BYTES) == "x" * 120 + "…"


# Gemini's reasons, as seen on the wire in 2025 and 2026 --------------------------------------------------------------

SEEN = [
    (1000, "", CloseReason.UPSTREAM_FINISHED),
    (1000, "The operation was cancelled", CloseReason.UPSTREAM_FINISHED),
    (1001, "", CloseReason.UPSTREAM_FAILED),
    (1006, "", CloseReason.UPSTREAM_FAILED),
    (1007, "API key not valid. Please pass a valid API key.", CloseReason.UPSTREAM_KEY_REFUSED),
    (1007, "API key expired. Please renew the API key.", CloseReason.UPSTREAM_KEY_REFUSED),
    (1008, "Permission 'aiplatform.endpoints.predict' denied on resource", CloseReason.UPSTREAM_KEY_REFUSED),
    (1007, "Request contains an invalid argument.", CloseReason.UPSTREAM_SETUP_REFUSED),
    (1007, "Invalid JSON payload received. Unknown name", CloseReason.UPSTREAM_SETUP_REFUSED),
    (1007, "Invalid session handle", CloseReason.UPSTREAM_HANDLE_REFUSED),
    (1007, "gemini-2.0-flash is not supported in the live api.", CloseReason.UPSTREAM_MODEL_REFUSED),
    (1007, "User location is not supported for the API use.", CloseReason.UPSTREAM_REGION),
    (
        1008,
        "models/x is not found for API version v1beta, or is not supported for bidiGenerateContent. Call ListMod",
        CloseReason.UPSTREAM_MODEL_REFUSED,
    ),
    (1008, "Publisher Model projects/p/locations/l", CloseReason.UPSTREAM_MODEL_REFUSED),
    (
        1008,
        "Connection aborted because the client failed to close the connection after receiving a GoAway signal",
        CloseReason.UPSTREAM_EXPIRED,
    ),
    (1008, "The operation was aborted.", CloseReason.UPSTREAM_EXPIRED),
    (1008, "BidiGenerateContent session not found", CloseReason.UPSTREAM_HANDLE_REFUSED),
    (1008, "Requested entity was not found.", CloseReason.UPSTREAM_HANDLE_REFUSED),
    (1008, "Operation is not implemented, or supported, or enabled.", CloseReason.UPSTREAM_SETUP_REFUSED),
    (1008, "Your project has been denied access. Please contact support.", CloseReason.UPSTREAM_KEY_REFUSED),
    (1008, "Agent Platform API has not been used in project p before", CloseReason.UPSTREAM_KEY_REFUSED),
    (1011, "Internal error encountered.", CloseReason.UPSTREAM_FAILED),
    (1011, "Thread was cancelled when writing StartStep status", CloseReason.UPSTREAM_FAILED),
    (1011, "Failed to run inference for model: x", CloseReason.UPSTREAM_FAILED),
    (1011, "The service is currently unavailable.", CloseReason.UPSTREAM_OVERLOADED),
    (1011, "Request trace id: 1, [ORIGINAL ERROR] generic::unavailable", CloseReason.UPSTREAM_OVERLOADED),
    (1011, "Deadline expired before operation could complete.", CloseReason.UPSTREAM_EXPIRED),
    (1011, "You exceeded your current quota, please check", CloseReason.UPSTREAM_QUOTA),
    (1011, "Resource has been exhausted (e.g. check quota).", CloseReason.UPSTREAM_QUOTA),
    (1011, "RESOURCE_EXHAUSTED: Maximum concurrent se", CloseReason.UPSTREAM_QUOTA),
    (1011, "Your prepayment credits are depleted.", CloseReason.UPSTREAM_BILLING),
    (1011, "Your project has exceeded its monthly spending cap.", CloseReason.UPSTREAM_BILLING),
    (4000, "something new", CloseReason.UPSTREAM_FAILED),
]


@pytest.mark.parametrize(("code", "reason", "meaning"), SEEN, ids=lambda value: str(value)[:40])
def test_gemini_s_reasons_are_understood(code: int, reason: str, meaning: CloseReason) -> None:
    """Every reason that was ever seen is classified, by its beginning before its code."""
    assert of_upstream_close(code, reason) is meaning
    assert of_upstream_close(code, reason[:123]) is meaning


@pytest.mark.threat("A2")
@pytest.mark.parametrize(("code", "reason", "meaning"), SEEN, ids=lambda value: str(value)[:40])
def test_gemini_s_words_never_become_ours(code: int, reason: str, meaning: CloseReason) -> None:
    """What a client reads is ours alone; Gemini's words may hold the operator's project or key."""
    if reason:
        assert reason not in Close(of_upstream_close(code, reason)).text


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (0, CloseReason.UPSTREAM_UNREACHABLE),
        (200, CloseReason.UPSTREAM_UNREACHABLE),
        (302, CloseReason.UPSTREAM_UNREACHABLE),
        (401, CloseReason.UPSTREAM_KEY_REFUSED),
        (403, CloseReason.UPSTREAM_KEY_REFUSED),
        (404, CloseReason.UPSTREAM_MODEL_REFUSED),
        (429, CloseReason.UPSTREAM_QUOTA),
        (500, CloseReason.UPSTREAM_UNREACHABLE),
        (503, CloseReason.UPSTREAM_UNREACHABLE),
    ],
)
def test_refused_upgrades_are_understood(status: int, meaning: CloseReason) -> None:
    """An HTTP answer in place of the upgrade has a meaning too; most pass."""
    assert of_upstream_status(status) is meaning


@pytest.mark.threat("D5")
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, CloseReason.CLIENT_LEFT),
        (1002, CloseReason.CLIENT_LEFT),
        (1005, CloseReason.CLIENT_LEFT),
        (1006, CloseReason.CLIENT_LOST),
        (1007, CloseReason.CLIENT_LEFT),
        (1008, CloseReason.CLIENT_LEFT),
        (1009, CloseReason.CLIENT_LEFT),
        (4999, CloseReason.CLIENT_LEFT),
        (65_535, CloseReason.CLIENT_LEFT),
        (FOUND + 1002, CloseReason.PROTOCOL_ERROR),
        (FOUND + 1007, CloseReason.BAD_FRAME),
        (FOUND + 1008, CloseReason.FRAME_FLOOD),
        (FOUND + 1009, CloseReason.FRAME_TOO_BIG),
    ],
)
def test_a_client_is_not_believed_about_what_it_did_wrong(code: int, reason: CloseReason) -> None:
    """What it says in its own close frame is that it left; only what the engine found is an offence."""
    assert of_client_close(code) is reason
