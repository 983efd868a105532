"""What the simulator remembers of each connection, for tests and the inspection endpoint. Bounded.

It plays Google, so it may show the keys it was given: here and nowhere else.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MAX_BYTES = 64 * 1024 * 1024
"""All recorded message text together; beyond it the oldest connections lose theirs."""
MAX_PER_CONNECTION_BYTES = 8 * 1024 * 1024
_MEDIA = re.compile(r'("data"\s*:\s*")([^"\\]{256,})(")')


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One client frame."""

    raw: str
    """The text exactly as received, unless it brought media: then each long `data` is its size and digest."""
    size: int
    """Bytes as received."""
    binary: bool
    """It came in a BINARY frame."""
    at: float
    """Seconds on the loop's clock."""

    @property
    def parsed(self) -> Any:
        """What an ordinary JSON reader makes of `raw`; None if it is not JSON."""
        try:
            return json.loads(self.raw)
        except ValueError:
            return None


@dataclass(slots=True)
class ConnectionRecord:
    """One upgrade request and what came of it."""

    id: int
    """1 for the simulator's first connection."""
    path: str
    """As requested, slashes and all, without the query."""
    query: str
    """The raw query string."""
    headers: dict[str, str]
    """With lower-case names; repeated ones joined by a comma."""
    opened_at: float
    status: int = 101
    """What the upgrade was answered with."""
    messages: list[ReceivedMessage] = field(default_factory=list)
    message_count: int = 0
    setup: dict[str, Any] | None = None
    """The setup in canonical form, as the simulated Google understood it."""
    session: str | None = None
    frames_sent: int = 0
    sent_close: tuple[int, str] | None = None
    """The code and reason the simulator closed with."""
    close_code: int | None = None
    """The close code seen from the client: 1005 for a close without one, 1006 for no close at all."""
    closed_at: float | None = None
    recorded_bytes: int = 0


class Recorder:
    """The records of all connections, newest kept."""

    def __init__(self, messages: int, connections: int, keep_media: bool) -> None:
        self._messages = messages
        self._connections = connections
        self._keep_media = keep_media
        self._bytes = 0
        self.records: list[ConnectionRecord] = []

    def open(self, record: ConnectionRecord) -> None:
        """Remember a connection; forget the oldest closed one if there are too many."""
        self.records.append(record)
        if len(self.records) > self._connections:
            oldest = next((r for r in self.records if r.closed_at is not None), self.records[0])
            self._bytes -= oldest.recorded_bytes
            self.records.remove(oldest)

    def received(self, record: ConnectionRecord, text: str, binary: bool, at: float) -> None:
        """Remember one client frame, as far as there is room."""
        record.message_count += 1
        if len(record.messages) >= self._messages or record.recorded_bytes > MAX_PER_CONNECTION_BYTES:
            return
        raw = text if self._keep_media else _MEDIA.sub(_digest, text)
        record.messages.append(ReceivedMessage(raw, len(text.encode()), binary, at))
        record.recorded_bytes += len(raw)
        self._bytes += len(raw)
        for old in self._oldest():
            if self._bytes <= MAX_BYTES:
                break
            self._bytes -= old.recorded_bytes
            old.messages, old.recorded_bytes = [], 0

    def clear(self) -> None:
        """Forget the closed connections, and the messages of the open ones."""
        self.records[:] = [record for record in self.records if record.closed_at is None]
        for record in self.records:
            record.messages, record.recorded_bytes = [], 0
        self._bytes = 0

    def _oldest(self) -> Iterator[ConnectionRecord]:
        return (record for record in self.records if record.messages)


def record_json(record: ConnectionRecord) -> dict[str, Any]:
    """A record for the inspection endpoint."""
    return {
        "id": record.id,
        "path": record.path,
        "query": record.query,
        "headers": record.headers,
        "status": record.status,
        "session": record.session,
        "setup": record.setup,
        "message_count": record.message_count,
        "messages": [{"raw": m.raw, "size": m.size, "binary": m.binary, "at": m.at} for m in record.messages],
        "frames_sent": record.frames_sent,
        "sent_close": record.sent_close,
        "close_code": record.close_code,
        "opened_at": record.opened_at,
        "closed_at": record.closed_at,
    }


def _digest(match: re.Match[str]) -> str:
    body = match[2].encode()
    return f"{match[1]}<{len(body)} characters, sha256 {hashlib.sha256(body).hexdigest()[:16]}>{match[3]}"
