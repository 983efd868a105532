"""When a planned handover may happen: a safe point, waited for until a deadline.

A point is safe when a resume restores everything: nobody's turn is in progress, what was said has presumably been
played, no function call is open, and the newest handle together with the journal tells all. Where Gemini does not say
how far a handle reaches (the Developer API), that is sure only of a handle that came while nothing was under way to
Gemini; so when the next handle is about to come, client messages wait for it a moment.
"""

from math import inf

from relay.core.commands import Command, SetTimer
from relay.core.events import Timer
from relay.core.handover import Cause, Continuity
from relay.core.memory import Memory, Shared

SERVER_LAG_S = 0.02
"""What Gemini may take, beyond the network's round trip, between consuming a message and issuing a handle."""
MOST_IN_FLIGHT_S = 1.0
"""Gemini's pongs were seen to take 8 to 30 s: then they tell of the pongs, not of the messages before them."""
QUIET_S = 0.15
"""How long client messages wait, at most, for a handle that is due any moment."""
STEADY_S = 10.0
"""Handles that come in shorter intervals than this come by a clock, and the next one can be foretold."""


class Planning:
    """The handover that is due, if one is."""

    def __init__(self, continuity: Continuity, shared: Shared, memory: Memory) -> None:
        self.due: Cause | None = None
        """Why a handover is wanted; None when none is."""
        self.forced = False
        """It can't wait for a safe point any longer."""
        self._patient_until = inf
        """From then on what still plays is not waited for: a barge-in into it is worse heard than a turn cut later."""
        self._grace_until = 0.0
        self.quiet_since: float | None = None
        """Since when client messages wait: for a handle, or for the next leg."""
        self._handle_is_due = False
        self.round_trip_s = 0.1
        """Of the leg in use."""
        self._continuity = continuity
        self._turns = shared.turns
        self._conversation = shared.conversation
        self._memory = memory
        self._handle_at: tuple[float, float] | None = None
        """When the two newest handles of this leg came."""

    def in_flight_s(self, now: float) -> float:
        """How long a message may have been under way when a handle came that did not cover it."""
        known_s = 2 * self.round_trip_s + SERVER_LAG_S
        return max(known_s, min(self._memory.lag_s(now), MOST_IN_FLIGHT_S))

    def want(self, cause: Cause, time_left_s: float | None, now: float) -> list[Command]:
        """A handover is due; at the latest a margin before `time_left_s` is over, if that is given.

        Of a short notice half is waited for. In the last part of the wait, nothing new is waited for.
        """
        self.due = cause
        commands: list[Command] = []
        if time_left_s is not None:
            wait_s = max(time_left_s - self._continuity.margin_s, time_left_s / 2)
            self._patient_until, self._grace_until = now + wait_s / 2, now + wait_s
            self.forced = self.forced or wait_s <= 0
            grace_s = min(self._continuity.margin_s / 2, wait_s / 4)
            commands.append(SetTimer(Timer.DEADLINE, now + wait_s - grace_s))
        return commands + self.expect_handle(now)

    def deadline(self, now: float) -> list[Command]:
        """A safe point is not waited for any longer; only a handle that is about to come is, for a moment."""
        if self.due is None or self.forced:
            return []
        self.forced = True
        return [SetTimer(Timer.DEADLINE, self._grace_until)] if self._lacks_a_handle() else []

    def clear(self) -> None:
        """The leg is being left: what was due is being done."""
        self.due, self.forced, self._patient_until, self._grace_until = None, False, inf, 0.0
        self.end_quiet()
        self._handle_at = None

    def may_cross(self, now: float) -> list[Command] | None:
        """None when the handover that is due may happen now, else what to wait for."""
        if self.forced:
            return [] if self._handle_is_due or (now < self._grace_until and self._lacks_a_handle()) else None
        if not self._is_safe():
            return []
        wait_until = min(self._turns.plays_until, self._patient_until)
        return [SetTimer(Timer.SAFE_POINT, wait_until)] if wait_until > now else None

    def handle_came(self, now: float) -> list[Command]:
        """The leg in use has issued a usable handle."""
        self._handle_at = (self._handle_at[1] if self._handle_at else now, now)
        self._handle_is_due = False
        return self.expect_handle(now)

    def expect_handle(self, now: float) -> list[Command]:
        """Have client messages wait for the next handle, shortly before it comes, where that is worth something."""
        if self._continuity.transparent or self.due is None or self.quiet_since is not None:
            return []
        if self._turns.speaking and self._turns.generated:
            at = self._turns.plays_until  # Gemini ends the turn about then, and issues a handle
        elif self._handle_at is not None and 0 < self._handle_at[1] - self._handle_at[0] < STEADY_S:
            at = 2 * self._handle_at[1] - self._handle_at[0]
        else:
            return []
        return [SetTimer(Timer.QUIET, max(at - self.in_flight_s(now), now))]

    def quiet(self, now: float) -> list[Command]:
        """The moment before the next handle has come: client messages wait."""
        self._handle_is_due = True
        return self._hold(now)

    def end_quiet(self) -> None:
        """The handle did not come, or is not waited for any more."""
        self.quiet_since, self._handle_is_due = None, False

    def _hold(self, now: float) -> list[Command]:
        self.quiet_since = now
        return [SetTimer(Timer.QUIET, now + self.in_flight_s(now) + QUIET_S)]

    def keep_idle(self, now: float) -> list[Command]:
        """The leg will be left as soon as the next one is open: where nothing is in progress, begin nothing on it."""
        return self._hold(now) if self.forced and self._turns.idle and self.quiet_since is None else []

    def _lacks_a_handle(self) -> bool:
        """Whether the handle that follows a turn, which comes any moment, would make good what is lost without it."""
        turns, memory = self._turns, self._memory
        over = turns.generated or (turns.idle and not memory.restorable)
        return over and bool(memory.resumption.newest) and not self._conversation.awaits_answers

    def _is_safe(self) -> bool:
        return self._turns.idle and not self._conversation.awaits_answers and self._memory.restorable
