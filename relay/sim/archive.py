"""All sessions the simulated Google knows, and the handles that lead back to them. Pure, bounded, told the time."""

import base64
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

from relay.sim import rejections
from relay.sim.conversation import Conversation
from relay.sim.encoding import Message
from relay.sim.ledger import SentLog, Trail, consumed_json
from relay.sim.profile import Profile
from relay.sim.rejections import Rejection

MAX_SESSIONS = 5_000
MAX_HANDLES = 1_000
"""Handles remembered per session, the newest."""
MAX_USAGE = 10_000


class Waiting(Enum):
    """The session's old connection is still open: ask again."""

    OLD_CONNECTION_OPEN = "open"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The immutable moment a handle stands for."""

    session: str
    conversation: Conversation
    trail: Trail
    mark: int


@dataclass(slots=True)
class Session:
    """One conversation across its connections."""

    id: str
    public_id: str
    """The UUID that Vertex tells its clients."""
    conversation: Conversation
    trail: Trail = field(default_factory=Trail)
    sent: SentLog = field(default_factory=SentLog)
    connections: list[int] = field(default_factory=list)
    """The ids of its connections, oldest first."""
    open_connection: int | None = None
    ended_at: float | None = None
    """When its last connection ended; None while one is open."""
    usage: list[dict[str, Any]] = field(default_factory=list)
    """Every usageMetadata it was sent."""
    bills: int = 0
    """How many were made: those under way, and those a connection took with it, too."""
    last_content: list[Message] = field(default_factory=list)
    """The newest serverContent messages without audio, for replays."""
    handles: OrderedDict[str, Snapshot] = field(default_factory=OrderedDict)
    uses: dict[str, int] = field(default_factory=dict)
    """How often each handle was used."""


class Archive:
    """Sessions by id and by handle."""

    def __init__(self, profile: Profile, random: Random) -> None:
        self._profile = profile
        self._random = random
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._owners: dict[str, str] = {}
        self._opened = 0

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def open(self, model: str, connection: int) -> Session:
        """Start a session."""
        self._opened += 1
        session = Session(f"session-{self._opened}", self._uuid(), Conversation(model))
        self._sessions[session.id] = session
        self._attach(session, connection)
        self._trim()
        return session

    def resume(self, handle: str, model: str, connection: int, now: float) -> Session | Rejection | Waiting:
        """Roll the session behind a handle back to that handle's moment and attach a connection to it."""
        profile = self._profile
        session = self._sessions.get(self._owners.get(handle, ""))
        snapshot = session.handles.get(handle) if session else None
        if session is None or snapshot is None or self._expired(session, handle, now):
            if profile.dead_handle == "amnesia":
                return self.open(model, connection)
            return rejections.DEAD_HANDLES[profile.dead_handle]
        if session.open_connection is not None and profile.resume_while_open == "refuse":
            return Waiting.OLD_CONNECTION_OPEN
        if snapshot.conversation.model != model:
            return rejections.BAD_ARGUMENT
        session.uses[handle] = session.uses.get(handle, 0) + 1
        session.conversation = snapshot.conversation
        session.trail = snapshot.trail.at(max(0, snapshot.mark - profile.restore_skew))
        self._attach(session, connection)
        return session

    def issue(self, session: Session, opaque: bool) -> str:
        """A new handle for the session as it is now."""
        style = self._profile.handle_style
        if style == "opaque" or (style == "model" and opaque):
            handle = base64.urlsafe_b64encode(b"\x0a\x28h" + self._random.randbytes(39)).decode()  # `Cih…`, as seen
        else:
            handle = self._uuid()
        session.handles[handle] = Snapshot(session.id, session.conversation, session.trail, session.trail.mark)
        self._owners[handle] = session.id
        if len(session.handles) > MAX_HANDLES:
            oldest, _ = session.handles.popitem(last=False)
            self._forget(session, oldest)
        return handle

    def detach(self, session: Session, connection: int, now: float) -> None:
        """A connection of the session ended."""
        if session.open_connection == connection:
            session.open_connection, session.ended_at = None, now

    def expire_handles(self, session: Session | None = None) -> None:
        """Make the handles of one session, or of all, dead."""
        for one in [session] if session else list(self._sessions.values()):
            for handle in list(one.handles):
                self._forget(one, handle)
            one.handles.clear()

    def clear(self) -> None:
        """Forget every session that has no connection."""
        for session in [s for s in self._sessions.values() if s.open_connection is None]:
            self.expire_handles(session)
            del self._sessions[session.id]

    def _attach(self, session: Session, connection: int) -> None:
        session.connections.append(connection)
        session.open_connection, session.ended_at = connection, None

    def _expired(self, session: Session, handle: str, now: float) -> bool:
        profile = self._profile
        ended = session.ended_at
        too_old = ended is not None and profile.handle_valid_s > 0 and now - ended > profile.handle_valid_s
        used_up = profile.handle_uses > 0 and session.uses.get(handle, 0) >= profile.handle_uses
        return too_old or used_up

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _forget(self, session: Session, handle: str) -> None:
        self._owners.pop(handle, None)
        session.uses.pop(handle, None)

    def _trim(self) -> None:
        if len(self._sessions) <= MAX_SESSIONS:
            return
        ended = next((s for s in self._sessions.values() if s.open_connection is None), None)
        if ended is not None:
            self.expire_handles(ended)
            del self._sessions[ended.id]


def session_json(session: Session) -> dict[str, Any]:
    """A session for the inspection endpoint: what its state contains, what each handle stands for, what it was sent."""
    return {
        "session": session.id,
        "model": session.conversation.model,
        "turns": session.conversation.turns,
        "connections": session.connections,
        "open": session.open_connection,
        "consumed_dropped": session.trail.dropped,
        "consumed": [consumed_json(entry) for entry in session.trail.entries()],
        "handles": {
            handle: {
                "consumed": snapshot.mark,
                "turns": snapshot.conversation.turns,
                "uses": session.uses.get(handle, 0),
            }
            for handle, snapshot in session.handles.items()
        },
        "sent_count": session.sent.count,
        "sent": [entry._asdict() for entry in session.sent.entries],
        "usage": session.usage,
    }
