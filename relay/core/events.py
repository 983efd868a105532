"""What happened, in the past tense: the input of `session.Session.handle`. Plain data only.

Leg 0 is downstream (the client); legs 1, 2, … are the successive upstream legs (Gemini).
"""

from dataclasses import dataclass
from enum import Enum

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
    SESSION = "session"
    """The session's permitted length is over."""


@dataclass(slots=True)
class Received:
    """A leg delivered one whole message: its payload bytes and whether its opcode was text.

    Not frozen, like `commands.Send`: there is one for every message, and a frozen one takes twice as long to make.
    """

    leg: int
    payload: bytes
    text: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """A leg is gone: the peer's code (1006 when there was none) and reason, or our engine's complaint."""

    leg: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream leg finished its WebSocket upgrade."""

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
class DrainRequested:
    """The relay is shutting down and this session must end now."""


Event = Received | Closed | Opened | DialFailed | Stuck | TimerFired | DrainRequested
