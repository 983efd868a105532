"""Who got what: every client message consumed and every frame sent, per session, across its connections.

What was consumed is part of the state behind a handle: a trail is append-only, a handle keeps a mark in it, and
resuming from an older mark forks the trail there. Bounded: the oldest entries of a very long session are dropped
and counted.
"""

from collections import deque
from typing import Any, NamedTuple

TRAIL_LENGTH = 100_000  # more than an hour of 40 ms audio chunks, about 15 MB
SENT_LENGTH = 20_000


class Consumed(NamedTuple):
    """One client message the session's state contains."""

    connection: int
    place: int
    """Its place on its connection; the setup is 0."""
    kind: str
    number: int | None
    """The number it was stamped with (see `stamp`)."""
    text: str
    """Its text, if it is a textual message; at most 200 characters."""
    size: int
    """Its length in bytes as received."""


class Sent(NamedTuple):
    """One server frame that was written to a socket."""

    number: int
    connection: int
    kind: str
    size: int
    crc: int
    """CRC-32 of its payload: a client that counts what it got can tell which frames arrived."""


class Trail:
    """An append-only list of what was consumed; a fork shares its beginning with the trail it left."""

    def __init__(self, parent: "Trail | None" = None, fork: int = 0) -> None:
        self._parent = parent
        self._fork = fork
        self._entries: list[Consumed] = []
        self.dropped = 0
        """Entries that fell out at the old end."""

    @property
    def mark(self) -> int:
        """How many messages were consumed, dropped ones included."""
        return self._fork + len(self._entries)

    def append(self, entry: Consumed) -> None:
        """Consume one more message."""
        self._entries.append(entry)
        if self.mark - self.dropped > TRAIL_LENGTH * 5 // 4:  # in large steps, so that appending stays cheap
            total, self._entries = self.mark, self.entries()[-TRAIL_LENGTH:]
            self._parent, self._fork = None, total - len(self._entries)
            self.dropped = self._fork

    def at(self, mark: int) -> "Trail":
        """The trail as it was at `mark`: itself if nothing came after, else a fork."""
        return self if mark >= self.mark else Trail(self, mark)

    def entries(self) -> list[Consumed]:
        """What was consumed and is still remembered, oldest first."""
        segments: list[list[Consumed]] = []
        trail: Trail | None = self
        end = self.mark
        while trail is not None:
            segments.append(trail._entries[: max(0, end - trail._fork)])
            end = min(end, trail._fork)
            trail = trail._parent
        return [entry for segment in reversed(segments) for entry in segment]


class SentLog:
    """What a session was sent, numbered from 1 across its connections."""

    def __init__(self) -> None:
        self.count = 0
        self.entries: deque[Sent] = deque(maxlen=SENT_LENGTH)


def consumed_json(entry: Consumed) -> dict[str, Any]:
    """An entry for the inspection endpoint, without what it does not have."""
    return {name: value for name, value in entry._asdict().items() if value not in (None, "")}
