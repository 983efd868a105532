"""What a dialogue asks its connection to do: plain data, in the imperative."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Frame:
    """Send one server message."""

    kind: str
    """The name of the message's main key, for the ledger."""
    payload: bytes
    number: int
    """Its place among everything the session was sent, across connections."""
    usage: dict[str, Any] | None = None
    """The bill in it, which counts once it is written: one that waits when the connection ends was told to nobody."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close with this code and reason."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cut:
    """End the TCP connection without a close frame: by a reset, or by an orderly FIN."""

    reset: bool


@dataclass(frozen=True, slots=True)
class Stall:
    """Send nothing for so long; with `deaf`, read nothing either."""

    seconds: float
    deaf: bool


@dataclass(frozen=True, slots=True)
class StartBench:
    """Start the precomputed frames."""


Output = Frame | Close | Cut | Stall | StartBench
