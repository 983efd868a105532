"""Moving a session from one upstream leg to the next: why, in which order, within which bounds, and what came of it."""

from dataclasses import dataclass
from enum import Enum, StrEnum

from relay.core.closing import CloseReason


class Cause(StrEnum):
    """Why a session left an upstream leg; the value is the metric label."""

    GO_AWAY = "go_away"
    """Gemini announced the end of its connection."""
    ROTATION = "rotation"
    """The leg had reached `rotate_after_s`."""
    CLOSED = "closed"
    """Gemini closed without a complaint."""
    EXPIRED = "expired"
    """Gemini closed because of the connection's age."""
    LOST = "lost"
    """The connection broke, or its peer is dead."""
    FAILED = "failed"
    """Gemini closed with an error."""
    OVERLOADED = "overloaded"
    STALLED = "stalled"
    """Gemini owed an answer and said nothing."""
    STUCK = "stuck"
    """Gemini took no more data."""


class Outcome(StrEnum):
    """What came of a handover; the value is the metric label."""

    RESTORED = "restored"
    """Resumed from the newest handle."""
    ROLLED_BACK = "rolled_back"
    """Resumed from an older handle, because the newest was dead."""
    REPLAYED = "replayed"
    """Begun anew before there was any handle, and told everything again."""
    FRESH = "fresh"
    """Begun anew: Gemini has forgotten the conversation."""
    FAILED = "failed"
    """The session ended."""


class Order(StrEnum):
    """What comes first in a planned handover; docs/adr/0004 has the measurements."""

    DIAL_FIRST = "dial_first"
    """Upgrade the new leg, close the old one, wait for its close, set up the new one."""
    CLOSE_FIRST = "close_first"
    """Close the old leg, wait for its close, then dial."""
    OVERLAP = "overlap"
    """Upgrade the new leg, then close the old one and set up the new one at once."""


class Phase(Enum):
    """How far the line is."""

    DOWN = "down"
    """No leg can be used; one is being dialled, or will be."""
    CLOSING = "closing"
    """The old leg is being closed; Gemini refuses a resume while it is open."""
    OPENING = "opening"
    """A leg got its setup and has not answered it."""
    UP = "up"


@dataclass(frozen=True, slots=True)
class Continuity:
    """Bounds of handovers, in seconds and bytes."""

    rotate_after_s: float | None = 510.0
    """Age of an upstream leg at which the next safe point is used; Gemini's own goAway came at 540 s (2026)."""
    order: Order = Order.DIAL_FIRST
    margin_s: float = 5.0
    """A planned handover is forced this long before the goAway's time is over."""
    deadline_s: float = 15.0
    """How long an unplanned handover may take."""
    journal_bytes: int = 1024 * 1024
    journal_audio_s: float = 10.0
    stall_after_s: float = 20.0
    """Silence of a Gemini that owes an answer before it counts as dead."""
    transparent: bool = False
    """Gemini tells how far a handle reaches (Vertex)."""


@dataclass(frozen=True, slots=True)
class Handover:
    """The record of one handover."""

    cause: Cause
    planned: bool
    outcome: Outcome
    stall_s: float
    """For how long nothing the client sent could reach Gemini."""
    frames_held: int
    """Client messages that waited meanwhile."""
    replayed: int
    """Client messages that were said again."""
    dropped: int
    """Client messages that the new leg was not told although its state may lack them."""
    uncertain: int
    """Of the replayed ones, those that Gemini may have had already."""
    turn_cut: bool
    """An answer was cut in the middle."""
    dials: int

    @property
    def restored(self) -> bool:
        """Whether Gemini knows all of the conversation, but for what `dropped` counts."""
        return self.outcome in (Outcome.RESTORED, Outcome.REPLAYED)

    @property
    def lossless(self) -> bool:
        """Whether there is nothing to announce."""
        return self.restored and not (self.dropped or self.uncertain or self.turn_cut)


@dataclass(slots=True)
class Crossing:
    """A handover in progress."""

    cause: Cause
    planned: bool
    began_at: float
    held_before: int
    """`Holding.held_frames` at its beginning."""
    dials_before: int
    """Dials of the session before it, but for the one that made the new leg ready in advance."""
    turn_cut: bool = False
    replayed: int = 0
    uncertain: int = 0
    dropped: int = 0
    """Client messages that the new leg will not be told."""
    refusals: int = 0
    """Attempts with the present handle that ended after its setup was sent."""
    rolled_back: bool = False
    fresh: bool = False
    without_audio: bool = False
    """Replayed audio was refused: replay only the rest."""

    def record(self, outcome: Outcome, held_frames: int, dials: int, now: float) -> Handover:
        """What there is to report, given the session's totals at the end."""
        return Handover(
            self.cause,
            self.planned,
            outcome,
            stall_s=now - self.began_at,
            frames_held=held_frames - self.held_before,
            replayed=self.replayed,
            dropped=self.dropped,
            uncertain=self.uncertain,
            turn_cut=self.turn_cut,
            dials=dials - self.dials_before,
        )

    def inherit(self, before: "Crossing") -> None:
        """This one follows so soon that what was tried before counts."""
        self.refusals, self.rolled_back, self.fresh = before.refusals, before.rolled_back, before.fresh
        self.without_audio = before.without_audio


_CAUSES = {
    CloseReason.UPSTREAM_FINISHED: Cause.CLOSED,
    CloseReason.UPSTREAM_EXPIRED: Cause.EXPIRED,
    CloseReason.UPSTREAM_OVERLOADED: Cause.OVERLOADED,
    CloseReason.UPSTREAM_UNREACHABLE: Cause.LOST,
}

_CLEAN_CODES = frozenset({1000, 1001, 1005})  # RFC 6455 7.4.1: finished, going away, no code given


_PASSING = frozenset(
    {
        CloseReason.UPSTREAM_UNREACHABLE,
        CloseReason.UPSTREAM_FAILED,
        CloseReason.UPSTREAM_OVERLOADED,
        CloseReason.UPSTREAM_SILENT,
        CloseReason.UPSTREAM_TOO_SLOW,
    }
)
"""Ends of a leg before it was ready that another dial may not meet."""
REFUSALS = frozenset({CloseReason.UPSTREAM_HANDLE_REFUSED, CloseReason.UPSTREAM_SETUP_REFUSED})
"""What Gemini says of a dead handle, or of what it was told again."""


def cause_of(code: int, meaning: CloseReason) -> Cause | None:
    """Why a leg that Gemini closed was left; None where resuming can't help, such as billing, quota, a bad key."""
    if meaning is CloseReason.UPSTREAM_FAILED:
        return Cause.CLOSED if code in _CLEAN_CODES else Cause.LOST if code == 1006 else Cause.FAILED
    return _CAUSES.get(meaning)


def may_pass(meaning: CloseReason, *, in_conversation: bool) -> bool:
    """Whether another dial may not meet what a leg met before it was ready."""
    return meaning in _PASSING or (in_conversation and cause_of(0, meaning) is not None)
