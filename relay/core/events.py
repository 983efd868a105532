"""What happened, in the past tense: the input of `session.Session.handle`. Plain data only.

Leg 0 is downstream (the client); legs 1, 2, … are the successive upstream legs (Gemini).
"""

from dataclasses import dataclass, field
from enum import Enum

from relay.core.closing import Close

DOWNSTREAM = 0
"""The number of the client's leg."""


class Timer(Enum):
    """Every timer a session can have; setting one again replaces it."""

    SETUP = "setup"
    """The client owes its setup message."""
    CONNECT = "connect"
    """Gemini must have answered the setup by now, however many dials that took."""
    REDIAL = "redial"
    """The pause before the next dial is over."""
    ANSWER = "answer"
    """The leg that got its setup must have answered it by now."""
    CLOSING = "closing"
    """The upstream leg that is being left has had its time to answer our close."""
    ROTATE = "rotate"
    """The upstream leg is old enough to be exchanged at the next safe point."""
    DEADLINE = "deadline"
    """A planned handover can't wait for a safe point any longer."""
    SAFE_POINT = "safe_point"
    """What was said so far has presumably been played: a safe point may have come."""
    QUIET = "quiet"
    """A handle is due: client messages begin, or have ended, to wait for it."""
    STALL = "stall"
    """Look whether Gemini owes an answer and says nothing."""
    PARKING = "parking"
    """A client that dropped has had its time to come back."""
    DRAIN = "drain"
    """The relay's own end: who has not left by now is closed."""
    IDLE = "idle"
    """Look whether anybody has spoken or written lately."""
    GRACE = "grace"
    """The turn in progress has had its time to end after the budget was spent."""
    SESSION = "session"
    """The session's permitted length is over."""


@dataclass(slots=True)
class Received:
    """A leg delivered one whole message: its payload bytes and whether its opcode was text.

    Not frozen, like `commands.Send`: there is one for every message, and a frozen one takes twice as long to make.
    """

    leg: int
    payload: bytes = field(repr=False)
    text: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """A leg is gone: the peer's code (1006 when there was none) and reason, or what our engine found."""

    leg: int
    code: int
    reason: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream leg finished its WebSocket upgrade; TCP's round trip to it in seconds, where the system knows it."""

    leg: int
    round_trip_s: float = 0.1


@dataclass(frozen=True, slots=True)
class Ponged:
    """The pong to our ping: what was written before it has been read at the other end."""

    leg: int


@dataclass(frozen=True, slots=True)
class DialFailed:
    """An upstream leg never opened: the HTTP status Gemini answered, or 0 when nothing answered."""

    leg: int
    status: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """A leg took no byte for longer than its limit although there was something to write."""

    leg: int


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer that was set, and not cancelled since, is due."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Reattached:
    """The client came back on a new socket, which is leg 0 from now on; it has every message up to that place."""

    received: int


@dataclass(frozen=True, slots=True)
class RejoinFailed:
    """There is no session to take over: gone, of another replica, or (`taken`) claimed with this handle before."""

    taken: bool = False


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """The relay is shutting down; the client has `time_left_s` seconds to go elsewhere by itself."""

    time_left_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    """The tenant has used up a budget: its name, in words for the client."""

    budget: str


@dataclass(frozen=True, slots=True)
class Dismissed:
    """The operator wants this session to end, now."""


@dataclass(frozen=True, slots=True)
class CredentialOver:
    """What let the client in does so no longer; the close that says why."""

    close: Close


Demand = Reattached | RejoinFailed | BudgetSpent | Dismissed | CredentialOver | DrainRequested
"""What comes from the process around a session."""

Event = Received | Closed | Opened | Ponged | DialFailed | Stuck | TimerFired | Demand
