"""What to do, in the imperative: the output of `session.Session.handle`. Plain data only."""

from dataclasses import dataclass

from relay.core.closing import Close
from relay.core.events import Timer


@dataclass(frozen=True, slots=True)
class OpenUpstream:
    """Dial Gemini; answer with `Opened(leg)` or `DialFailed(leg)`."""

    leg: int


@dataclass(slots=True)
class Send:
    """Write one message on a leg, as a text or a binary frame. Not frozen, as `events.Received` is not."""

    leg: int
    payload: bytes
    text: bool


@dataclass(frozen=True, slots=True)
class CloseLeg:
    """Close a leg with this code and reason; whatever it still says is of no interest."""

    leg: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Answer with `TimerFired(timer)` at the instant `at`, on the clock of `now`, in seconds."""

    timer: Timer
    at: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget a timer, set or not."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class Violated:
    """Tell the operator that the client broke a rule: which, where, and whether the message was refused for it."""

    rule: str
    path: str
    rejected: bool


@dataclass(frozen=True, slots=True)
class UpstreamSaid:
    """Tell the operator in Google's words why an upstream leg ended; never meant for the client."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The last command, exactly once: the session is over for this reason; both legs are to be closed with it."""

    close: Close


Command = OpenUpstream | Send | CloseLeg | SetTimer | CancelTimer | Violated | UpstreamSaid | End
