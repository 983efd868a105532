"""Where a session is in its life, and every move it may make; `docs/life-of-a-session.md` draws it."""

from enum import Enum


class State(Enum):
    """Where a session is in its life."""

    AWAITING_SETUP = "awaiting_setup"
    CONNECTING = "connecting"
    RELAYING = "relaying"
    HANDOVER = "handover"
    CLOSED = "closed"


NEXT: dict[State, frozenset[State]] = {
    State.AWAITING_SETUP: frozenset({State.CONNECTING, State.CLOSED}),
    State.CONNECTING: frozenset({State.RELAYING, State.CLOSED}),
    State.RELAYING: frozenset({State.HANDOVER, State.CLOSED}),
    State.HANDOVER: frozenset({State.RELAYING, State.CLOSED}),
    State.CLOSED: frozenset(),
}
