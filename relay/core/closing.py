"""Why a session ends: the one table of close codes, blame, retry advice and words.

Gemini's own reasons are mapped to ours by their beginning (Google cuts them at 123 bytes, so a whole
string never matches reliably) and are never shown to a client. This module must not know how a socket is closed.
"""

from dataclasses import dataclass
from enum import Enum, StrEnum

from relay.core.refusals import Rule

MAX_REASON_BYTES = 123  # RFC 6455 5.5: a control frame carries 125 bytes, two of them are the code


class Blame(StrEnum):
    """Whose doing it was that a session ended."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    RELAY = "relay"


class CloseReason(Enum):
    """Every way a session can end: WebSocket code, blame, whether trying again can help, and the words."""

    def __init__(self, code: int, blame: Blame, retryable: bool, text: str) -> None:
        self.code = code
        """WebSocket close code sent to the client."""
        self.blame = blame
        self.retryable = retryable
        """Whether the same client may succeed by connecting again."""
        self.text = text
        """The first words of the close reason; a detail may follow after a colon."""

    CLIENT_LEFT = (1000, Blame.DOWNSTREAM, False, "the client closed")
    CLIENT_LOST = (1001, Blame.DOWNSTREAM, True, "the client's connection was lost")
    CLIENT_TOO_SLOW = (4408, Blame.DOWNSTREAM, True, "the client reads too slowly")
    BAD_FRAME = (1007, Blame.DOWNSTREAM, False, "bad message")
    BAD_SEQUENCE = (1008, Blame.DOWNSTREAM, False, "message out of order")
    SETUP_LATE = (1008, Blame.DOWNSTREAM, True, "no setup message in time")
    REFUSED_BY_POLICY = (1008, Blame.DOWNSTREAM, False, "refused by policy")
    PROTOCOL_ERROR = (1002, Blame.DOWNSTREAM, False, "WebSocket protocol error")
    FRAME_FLOOD = (1008, Blame.DOWNSTREAM, True, "too many pings or fragments")
    FRAME_TOO_BIG = (1009, Blame.DOWNSTREAM, False, "message too big")
    HELD_FRAMES_OVERFLOW = (1013, Blame.UPSTREAM, True, "too much was sent before Gemini was ready")
    SESSION_TOO_LONG = (1008, Blame.RELAY, True, "session length limit reached")
    BUDGET_SPENT = (4429, Blame.RELAY, False, "the budget is used up")
    TOO_FAST = (4429, Blame.DOWNSTREAM, True, "the client sends more than it may")
    CREDENTIAL_EXPIRED = (4401, Blame.DOWNSTREAM, False, "the ticket or token has expired")
    CREDENTIAL_REVOKED = (4401, Blame.RELAY, False, "access was revoked")
    TICKET_REFUSED = (4401, Blame.DOWNSTREAM, False, "the ticket admits no new session")
    IDLE = (1000, Blame.DOWNSTREAM, False, "nobody spoke or wrote for too long")
    ENDED_BY_OPERATOR = (1008, Blame.RELAY, False, "ended by the operator")
    DRAINING = (1001, Blame.RELAY, True, "the relay is shutting down, reconnect")
    RELAY_ERROR = (1011, Blame.RELAY, True, "internal error of the relay")
    UPSTREAM_FINISHED = (1000, Blame.UPSTREAM, True, "Gemini ended the session")
    UPSTREAM_UNREACHABLE = (1013, Blame.UPSTREAM, True, "Gemini can't be reached, try again later")
    UPSTREAM_SILENT = (1013, Blame.UPSTREAM, True, "Gemini did not answer the setup, try again later")
    UPSTREAM_FAILED = (1011, Blame.UPSTREAM, True, "Gemini's connection failed")
    UPSTREAM_EXPIRED = (1011, Blame.UPSTREAM, True, "Gemini's connection reached its time limit")
    UPSTREAM_TOO_SLOW = (1011, Blame.UPSTREAM, True, "Gemini takes no more data")
    UPSTREAM_OVERLOADED = (1013, Blame.UPSTREAM, True, "Gemini is overloaded, try again later")
    UPSTREAM_QUOTA = (1013, Blame.UPSTREAM, True, "Gemini's quota is used up, try again later")
    UPSTREAM_BILLING = (1011, Blame.RELAY, False, "the operator's account at Google is out of credit")
    UPSTREAM_KEY_REFUSED = (1011, Blame.RELAY, False, "Gemini refused the relay's credentials")
    UPSTREAM_REGION = (1011, Blame.RELAY, False, "Gemini is not served at the relay's location")
    UPSTREAM_MODEL_REFUSED = (1008, Blame.RELAY, False, "Gemini does not serve this model here")
    UPSTREAM_HANDLE_REFUSED = (
        1008,
        Blame.UPSTREAM,
        True,
        "Gemini no longer knows this session, start afresh",
    )
    UPSTREAM_SETUP_REFUSED = (1007, Blame.UPSTREAM, False, "Gemini refused the setup or a message as invalid")
    UPSTREAM_NONSENSE = (1011, Blame.UPSTREAM, True, "Gemini sent something the relay can't read")

    @property
    def label(self) -> str:
        """The member's name in lower case: the metric label and the word in the log."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Close:
    """One end of a session: the reason, and a detail in words its reader can act on."""

    reason: CloseReason
    detail: str = ""

    @property
    def text(self) -> str:
        """The close reason as sent: at most 123 bytes of UTF-8, cut between characters."""
        text = f"{self.reason.text}: {self.detail}" if self.detail else self.reason.text
        return cut(text, MAX_REASON_BYTES)


def cut(text: str, max_bytes: int) -> str:
    """Shorten `text` to at most `max_bytes` of UTF-8, never inside a character; a cut is shown by an ellipsis."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    return encoded[: max_bytes - 3].decode("utf-8", "ignore") + "…"


# Beginnings of the reasons Gemini was seen to close with (2025-2026), each with what it means to us. The code is
# not looked at: 1011 alone covers billing, quota, overload and the connection's time limit.
_BEGINNINGS: tuple[tuple[str, CloseReason], ...] = (
    ("API key", CloseReason.UPSTREAM_KEY_REFUSED),
    ("Your project has been denied access", CloseReason.UPSTREAM_KEY_REFUSED),
    ("Agent Platform API has not been used", CloseReason.UPSTREAM_KEY_REFUSED),
    ("Permission denied", CloseReason.UPSTREAM_KEY_REFUSED),
    ("Permission '", CloseReason.UPSTREAM_KEY_REFUSED),  # as Vertex's other methods put it: assumed here
    ("Request had invalid authentication", CloseReason.UPSTREAM_KEY_REFUSED),
    ("User location is not supported", CloseReason.UPSTREAM_REGION),
    ("Your prepayment credits", CloseReason.UPSTREAM_BILLING),
    ("Your project has exceeded its monthly spending cap", CloseReason.UPSTREAM_BILLING),
    ("You exceeded your current quota", CloseReason.UPSTREAM_QUOTA),
    ("Resource has been exhausted", CloseReason.UPSTREAM_QUOTA),
    ("RESOURCE_EXHAUSTED", CloseReason.UPSTREAM_QUOTA),
    ("Request trace id", CloseReason.UPSTREAM_OVERLOADED),
    ("The service is currently unavailable", CloseReason.UPSTREAM_OVERLOADED),
    ("The model is overloaded", CloseReason.UPSTREAM_OVERLOADED),
    ("Invalid session handle", CloseReason.UPSTREAM_HANDLE_REFUSED),
    ("BidiGenerateContent session", CloseReason.UPSTREAM_HANDLE_REFUSED),
    ("Requested entity was not found", CloseReason.UPSTREAM_HANDLE_REFUSED),
    ("Publisher Model", CloseReason.UPSTREAM_MODEL_REFUSED),
    ("models/", CloseReason.UPSTREAM_MODEL_REFUSED),
    ("Connection aborted because the client failed to close", CloseReason.UPSTREAM_EXPIRED),
    ("Deadline expired", CloseReason.UPSTREAM_EXPIRED),
    ("The operation was aborted", CloseReason.UPSTREAM_EXPIRED),
    ("The operation was cancelled", CloseReason.UPSTREAM_FINISHED),
    ("Internal error", CloseReason.UPSTREAM_FAILED),
    ("Thread was cancelled", CloseReason.UPSTREAM_FAILED),
    ("Failed to run inference", CloseReason.UPSTREAM_FAILED),
)

# Where nothing in the reason is known, the code says a little.
_CODES: dict[int, CloseReason] = {
    1000: CloseReason.UPSTREAM_FINISHED,
    1007: CloseReason.UPSTREAM_SETUP_REFUSED,
    1008: CloseReason.UPSTREAM_SETUP_REFUSED,
}

_STATUSES: dict[int, CloseReason] = {
    401: CloseReason.UPSTREAM_KEY_REFUSED,
    403: CloseReason.UPSTREAM_KEY_REFUSED,
    404: CloseReason.UPSTREAM_MODEL_REFUSED,
    429: CloseReason.UPSTREAM_QUOTA,
}


def of_upstream_close(code: int, reason: str) -> CloseReason:
    """Classify Gemini's close by the beginning of its reason, and by the code only where that says nothing."""
    for beginning, meaning in _BEGINNINGS:
        if reason.startswith(beginning):
            return meaning
    if reason.endswith("is not supported in the live api."):
        return CloseReason.UPSTREAM_MODEL_REFUSED
    return _CODES.get(code, CloseReason.UPSTREAM_FAILED)


def of_upstream_status(status: int) -> CloseReason:
    """Classify an HTTP answer that was not the upgrade; 0 stands for no answer at all."""
    return _STATUSES.get(status, CloseReason.UPSTREAM_UNREACHABLE)


_RULES = {
    Rule.OUT_OF_ORDER: CloseReason.BAD_SEQUENCE,
    **dict.fromkeys(
        (
            Rule.NOT_JSON,
            Rule.NOT_ONE_MESSAGE,
            Rule.DUPLICATE_KEY,
            Rule.TWO_SPELLINGS,
            Rule.UNKNOWN_FIELD,
            Rule.WRONG_TYPE,
            Rule.TOO_DEEP,
            Rule.TOO_LARGE,
        ),
        CloseReason.BAD_FRAME,
    ),
}

FOUND = 0x1_0000
"""Added to a code that our engine found to fit what a peer did: larger than any that a peer can say itself."""

_CLIENT_CODES = {
    1006: CloseReason.CLIENT_LOST,
    FOUND + 1002: CloseReason.PROTOCOL_ERROR,
    FOUND + 1007: CloseReason.BAD_FRAME,
    FOUND + 1008: CloseReason.FRAME_FLOOD,
    FOUND + 1009: CloseReason.FRAME_TOO_BIG,
}


def of_rule(rule: Rule) -> CloseReason:
    """What breaking a rule is called at the end it leads to."""
    return _RULES.get(rule, CloseReason.REFUSED_BY_POLICY)


def of_client_close(code: int) -> CloseReason:
    """Classify the end of the client's socket: by its own code that it left, by ours what was wrong with it."""
    return _CLIENT_CODES.get(code, CloseReason.CLIENT_LEFT)
