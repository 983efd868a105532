"""What to do, in the imperative: the output of `session.Session.handle`. Plain data only."""

from dataclasses import dataclass, field
from typing import Any

from relay.core.closing import Close
from relay.core.events import Timer
from relay.core.handover import Handover


@dataclass(frozen=True, slots=True)
class OpenUpstream:
    """Dial Gemini; answer with `Opened(leg)` or `DialFailed(leg)`."""

    leg: int


@dataclass(slots=True)
class Send:
    """Write one message on a leg, as a text or a binary frame. Not frozen, as `events.Received` is not."""

    leg: int
    payload: bytes = field(repr=False)
    text: bool


@dataclass(frozen=True, slots=True)
class CloseLeg:
    """Close a leg with this code and reason; whatever it still says is of no interest."""

    leg: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a WebSocket ping on a leg; answer with `Ponged(leg)` when its pong comes, however late that is."""

    leg: int


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
    reason: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Tell the operator of a handover that is over."""

    handover: Handover


@dataclass(frozen=True, slots=True)
class Charged:
    """Put what the session has used since on its tenant's account: Gemini has reported usage."""


@dataclass(frozen=True, slots=True)
class Rejoin:
    """Give this session's client to the one it comes back to; answer with `RejoinFailed` where that can't be."""

    ticket: Any
    """What the client's handle says (`downstream.Ticket`)."""
    received_since: int
    """Messages the client has, beyond the one that brought the handle."""
    setup: dict[str, Any] = field(repr=False)
    """What it asks Gemini for, as its policy decided; the session it comes back to must run on the same."""


@dataclass(frozen=True, slots=True)
class Parked:
    """Tell the operator that the client is gone and the session waits for it."""


@dataclass(frozen=True, slots=True)
class ClientResumed:
    """Tell the operator that a client came back."""

    via: str
    """parked: to its own session; handle: to Gemini's memory of it; fresh: to nothing, for there was no handle yet."""
    replayed: int
    """Messages it was sent again."""
    missed: int | None
    """Messages that are lost to it; None when nobody can say."""


@dataclass(frozen=True, slots=True)
class End:
    """The last command, exactly once: the session is over for this reason; both legs are to be closed with it."""

    close: Close


Command = (
    OpenUpstream
    | Send
    | CloseLeg
    | Ping
    | SetTimer
    | CancelTimer
    | Violated
    | UpstreamSaid
    | HandedOver
    | Charged
    | Rejoin
    | Parked
    | ClientResumed
    | End
)
