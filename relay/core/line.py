"""The upstream side of a session across its legs: dialling, setting up, handing over, and what is told again.

The first connection is the first crossing: dial, send the setup, wait for its answer, flush what was held. A handover
is the same with a resumption handle in the setup and a replay of what the handle does not cover. Which messages are
forwarded at all, and what the client gets, is the session's business; nothing here knows a policy.
"""

from typing import Any

from relay.core.closing import FOUND, Close, CloseReason, of_upstream_close, of_upstream_status
from relay.core.commands import CancelTimer, CloseLeg, Command, End, HandedOver, OpenUpstream, Send, SetTimer
from relay.core.commands import UpstreamSaid as Said
from relay.core.dialling import Dialling, Pace
from relay.core.events import Timer
from relay.core.handover import REFUSALS, Cause, Continuity, Crossing, Order, Outcome, Phase, cause_of, may_pass
from relay.core.journal import Outgoing
from relay.core.memory import Memory, Shared
from relay.core.planning import Planning
from relay.core.secret import Secret
from relay.core.server_frames import ServerFrame
from relay.core.watch import Watch

CLOSING_S = 1.0
"""For Gemini to answer our close before the new leg is set up all the same."""
PROBATION_S = 10.0
"""A resumed leg that dies within this, and before it issued a handle, speaks against the handle it was resumed from."""
FAILED_RESUMES = 2
"""As often may a resume fail without a word about its handle, before that handle is blamed."""
STILL_OPEN_S = 1.0
"""Gemini fails a resume while it takes the old connection for open: at least so long before the next try."""


class Line:
    """One session's connection to Gemini, whichever leg carries it."""

    def __init__(self, continuity: Continuity, pace: Pace, shared: Shared) -> None:
        self.phase = Phase.DOWN
        self.leg = 0
        """The leg in use, or being set up; 0 when there is none."""
        self.old = 0
        """The leg that is being closed: what it still says counts."""
        self.handovers = 0
        self.setup: dict[str, Any] = {}
        """What every leg is set up with, in canonical form."""
        self.memory = Memory(continuity, shared)
        self.dialling = Dialling(pace, shared.random)
        self._continuity = continuity
        self._pace = pace
        self._shared = shared
        self._planning = Planning(continuity, shared, self.memory)
        self._crossing: Crossing | None = None
        self._spare = 0
        self._spare_open = False
        self._redial_at = 0.0
        """Not before this is another leg dialled."""
        self._old_was_ready = True
        self._last_failure: Close | None = None
        self._probation_until = 0.0
        self._ready_behind_old = False
        self._watch = Watch(continuity.stall_after_s, shared)

    # What the session asks for ----------------------------------------------------------------------------------------

    def begin(self, setup: dict[str, Any], handle: Secret, now: float) -> list[Command]:
        """Connect for the first time; `handle` is Gemini's, of a session that the client wants to resume, or empty."""
        self.setup = setup
        if handle:
            self.memory.resume_from(handle)
        return [SetTimer(Timer.CONNECT, now + self._pace.connect_s), *self._dial(now)]

    def send(self, message: Outgoing, now: float) -> list[Command]:
        """Forward one client message, or hold it until there is a leg for it."""
        if self.phase is Phase.UP and self._planning.quiet_since is None:
            return [self.memory.forward(message, self.leg, now)]
        if self._shared.holding.put(message):
            return []
        if self.phase is Phase.UP:  # it only waited for a handle
            return [*self._end_quiet(now), self.memory.forward(message, self.leg, now)]
        return self._give_up(Close(CloseReason.HELD_FRAMES_OVERFLOW), now)

    def hears(self, leg: int) -> bool:
        """Whether what a leg says is of any interest."""
        return leg == self.leg or (leg == self.old and self._old_was_ready)

    def watch(self, now: float) -> list[Command]:
        """Begin to look after an answer that is owed, unless that is being done."""
        if self._planning.forced:  # better now than after the answer has begun
            return self._consider(now)
        return self._watch.begin(self.setup, now) if self.phase is Phase.UP else []

    def stuck(self, now: float) -> list[Command]:
        """The leg takes no more data."""
        if self.phase is Phase.UP:
            return [*self._cross(self._crossing_for(Cause.STUCK, now), now), *self._leave_leg(now)]
        return self._setup_failed(CloseReason.UPSTREAM_TOO_SLOW, now, still_open=True)

    # Legs -------------------------------------------------------------------------------------------------------------

    def opened(self, leg: int, round_trip_s: float, now: float) -> list[Command]:
        """A leg finished its upgrade."""
        if leg != self._spare:
            return []
        self._spare_open = True
        self._planning.round_trip_s = round_trip_s
        return self._set_up(now) if self.phase is Phase.DOWN else self._consider(now)

    def dial_failed(self, leg: int, status: int, now: float) -> list[Command]:
        """A leg never opened."""
        return self._spare_gone(of_upstream_status(status), now) if leg == self._spare else []

    def closed(self, leg: int, code: int, reason: str, now: float) -> list[Command]:
        """A leg is gone."""
        if leg == self.old:
            return [CancelTimer(Timer.CLOSING), *self._old_gone(now)]
        if leg not in (self.leg, self._spare):
            return []
        meaning = of_upstream_close(code, reason)
        if leg == self._spare:
            return [Said(code % FOUND, reason), *self._spare_gone(meaning, now)]
        if self.phase is Phase.UP:
            return [Said(code % FOUND, reason), *self._lost_in_use(code, meaning, now)]
        return [Said(code % FOUND, reason), *self._setup_failed(meaning, now, cut=code == 1006)]

    def timer(self, timer: Timer, now: float) -> list[Command]:
        """A timer of the line is due."""
        match timer:
            case Timer.REDIAL:
                return self._redial(now)
            case Timer.CLOSING:
                return self._old_gone(now)
            case Timer.ANSWER:
                return self._setup_failed(CloseReason.UPSTREAM_SILENT, now, still_open=True)
            case Timer.CONNECT:
                return self._give_up(self._last_failure or Close(CloseReason.UPSTREAM_SILENT), now)
            case Timer.ROTATE:
                return self._plan(Cause.ROTATION, None, now)
            case Timer.DEADLINE:
                return self._planning.deadline(now) + self._consider(now)
            case Timer.SAFE_POINT:
                return self._consider(now)
            case Timer.QUIET:
                return self._on_quiet(now)
            case _:
                return self._on_stall(now)

    # Gemini's messages ------------------------------------------------------------------------------------------------

    def heard(self, leg: int, frame: ServerFrame, now: float) -> list[Command]:
        """Gemini said something, which the client has been given: what it means for the line."""
        turns, planning = self._shared.turns, self._planning
        if frame.turn_complete:
            self.memory.journal.settle(turns.began_at)
            self._probation_until = 0.0
        turns.from_gemini(frame, now)
        commands: list[Command] = []
        # Once a new leg has its setup, another handle would leave the journal short of what that leg lacks.
        if self.phase in (Phase.UP, Phase.CLOSING) and self._handle_came(leg, frame, now):
            self._probation_until = 0.0
            if leg == self.leg:
                commands += planning.handle_came(now) + self.memory.ping(leg, now)
        if leg != self.leg:  # no function's answer can reach it any more
            return commands + (self.memory.cut_turn(self._crossing, now) if frame.call_ids else [])
        if frame.go_away_s is not None:
            commands += self._plan(Cause.GO_AWAY, frame.go_away_s, now)
        elif planning.due is not None:
            if frame.generation_complete:
                commands += planning.expect_handle(now)
            commands += self._consider(now)
        return commands + self.watch(now)

    def _handle_came(self, leg: int, frame: ServerFrame, now: float) -> bool:
        """Whether there is another handle to resume from."""
        update, in_flight_s = frame.resumption, self._planning.in_flight_s(now)
        if update is not None and self.memory.take_handle(update, leg, in_flight_s, now):
            return True
        return frame.turn_complete and self.memory.turn_completed()

    def ready(self, leg: int, now: float) -> list[Command]:
        """The setup was answered: what is said again, and what waited."""
        if self.phase is not Phase.OPENING or leg != self.leg:
            return []
        if self.old:
            self._ready_behind_old = True  # the old leg may still speak, and comes first
            return []
        return self._finish(now)

    # Planned ----------------------------------------------------------------------------------------------------------

    def _plan(self, cause: Cause, time_left_s: float | None, now: float) -> list[Command]:
        if self._planning.due is Cause.GO_AWAY and cause is Cause.ROTATION:
            return []
        return self._planning.want(cause, time_left_s, now) + self._consider(now)

    def _on_quiet(self, now: float) -> list[Command]:
        if self.phase is not Phase.UP or self._planning.due is None:
            return []
        if self._planning.quiet_since is None:
            return self.memory.ping(self.leg, now) + self._planning.quiet(now)
        return self._end_quiet(now) + self._consider(now)

    def _end_quiet(self, now: float) -> list[Command]:
        self._planning.end_quiet()
        return [CancelTimer(Timer.QUIET), *self.memory.flush(self.leg, now)]

    def _consider(self, now: float) -> list[Command]:
        """Hand over if one is due and may happen now."""
        planning, order = self._planning, self._continuity.order
        if self.phase is not Phase.UP or planning.due is None:
            return []
        wait = planning.may_cross(now)
        if wait is not None:
            return wait
        if order is not Order.CLOSE_FIRST and not self._spare_open:
            wait = planning.keep_idle(now) if self._spare or now >= self._redial_at else []
            return wait if self._spare or now < self._redial_at else wait + self._dial(now)
        crossing = self._crossing_for(planning.due, now, planned=True)
        commands = [*self._cross(crossing, now), *self._leave_leg(now)]
        return commands + self._set_up(now) if order is Order.OVERLAP else commands

    def _crossing_for(self, cause: Cause, now: float, *, planned: bool = False) -> Crossing:
        since, holding = self._planning.quiet_since, self._shared.holding
        held_before, dialled = holding.held_frames - len(holding), self.dialling.dials - bool(self._spare)
        return Crossing(cause, planned, now if since is None else since, held_before, dialled)

    def _cross(self, crossing: Crossing, now: float) -> list[Command]:
        """Begin a handover: from here on everything the client says waits."""
        self._crossing = crossing
        self._watch.end()
        self._last_failure, self.dialling.failures = None, 0
        self._planning.clear()
        timers = (Timer.ROTATE, Timer.DEADLINE, Timer.SAFE_POINT, Timer.STALL, Timer.QUIET)
        # The model's turn may still end by itself on a leg that is being closed; functions' answers can't reach it.
        cut = self.memory.cut_turn(crossing, now) if self._shared.conversation.awaits_answers else []
        connect = SetTimer(Timer.CONNECT, now + self._continuity.deadline_s)
        return [*(CancelTimer(timer) for timer in timers), *cut, connect]

    def _leave_leg(self, now: float) -> list[Command]:
        """Close the leg in use, and wait for its close as long as it may take."""
        self._old_was_ready = self.phase is Phase.UP
        self.old, self.leg, self.phase = self.leg, 0, Phase.CLOSING
        return [CloseLeg(self.old, 1000, ""), SetTimer(Timer.CLOSING, now + CLOSING_S)]

    def _old_gone(self, now: float) -> list[Command]:
        self.old = 0
        commands = self.memory.cut_turn(self._crossing, now)
        if self.phase is Phase.CLOSING:
            return commands + self._on_to_next(now)
        if self._ready_behind_old:
            self._ready_behind_old = False
            return commands + self._finish(now)
        return commands

    # Unplanned --------------------------------------------------------------------------------------------------------

    def _lost_in_use(self, code: int, meaning: CloseReason, now: float) -> list[Command]:
        before = self._crossing if now < self._probation_until else None
        cause = cause_of(code, meaning)
        if cause is None and before is not None and meaning in REFUSALS:
            cause = Cause.FAILED
        if cause is None:
            return self._give_up(Close(meaning), now)
        crossing = self._crossing_for(cause, now)
        goes_on = before is None or self.memory.learn(crossing, before, meaning)
        commands = self._cross(crossing, now)
        self.leg, self.phase, self._last_failure = 0, Phase.DOWN, Close(meaning)
        if not goes_on:
            return commands + self._give_up(Close(meaning), now)
        commands += self.memory.cut_turn(crossing, now)
        return commands + (self._on_to_next(now) if self._spare else self._pause(now))

    def _on_to_next(self, now: float) -> list[Command]:
        """There is no leg any more: set up the one that was dialled in advance, or dial."""
        self.phase = Phase.DOWN
        if self._spare_open:
            return self._set_up(now)
        return [] if self._spare or now < self._redial_at else self._dial(now)

    def _on_stall(self, now: float) -> list[Command]:
        again = self._watch.look(now) if self.phase is Phase.UP else []
        if again is not None:
            return again
        before, crossing = self._crossing, self._crossing_for(Cause.STALLED, now)
        goes_on = True
        if before is not None and now < self._probation_until + self._continuity.stall_after_s:
            # A session that hears and never speaks again was seen after resumes: its state is broken, not the leg.
            crossing.inherit(before)
            goes_on = self.memory.blame_handle(crossing)
        commands = [*self._cross(crossing, now), *self._leave_leg(now)]
        return commands if goes_on else commands + self._give_up(Close(CloseReason.UPSTREAM_SILENT), now)

    # Dialling and setting up ------------------------------------------------------------------------------------------

    def _dial(self, now: float) -> list[Command]:
        leg = self.dialling.next_leg(now)
        if not leg:
            return self._dial_at(self.dialling.allowed_at(now))
        self._spare, self._spare_open = leg, False
        return [OpenUpstream(leg)]

    def _pause(self, now: float, at_least_s: float = 0.0) -> list[Command]:
        return self._dial_at(now + at_least_s + self.dialling.pause_s())

    def _dial_at(self, instant: float) -> list[Command]:
        self._redial_at = instant
        return [SetTimer(Timer.REDIAL, instant)]

    def _redial(self, now: float) -> list[Command]:
        self._redial_at = 0.0
        if self._spare or self.phase is Phase.OPENING or (self.phase is Phase.UP and self._planning.due is None):
            return []
        return self._consider(now) if self.phase is Phase.UP else self._dial(now)

    def _spare_gone(self, meaning: CloseReason, now: float) -> list[Command]:
        """The leg that was dialled is not to be had."""
        self._spare, self._spare_open = 0, False
        if self.phase is not Phase.UP:
            return self._retry(meaning, now)
        if not may_pass(meaning, in_conversation=True):
            self._planning.clear()  # the leg in use is all there will be
            return self._end_quiet(now)
        self.dialling.failures += 1
        return self._pause(now)

    def _set_up(self, now: float) -> list[Command]:
        self.leg, self._spare, self._spare_open = self._spare, 0, False
        self.phase = Phase.OPENING
        send = Send(self.leg, self.memory.setup(self.setup), True)
        return [send, SetTimer(Timer.ANSWER, now + self._pace.answer_s)]

    def _setup_failed(
        self, meaning: CloseReason, now: float, *, still_open: bool = False, cut: bool = False
    ) -> list[Command]:
        """A leg ended, or is given up, before it answered its setup; `cut` when it was the network's doing."""
        if self.phase is not Phase.OPENING:
            return []
        self._ready_behind_old = False
        self._planning.clear()  # that leg may have announced its end
        commands: list[Command] = [CancelTimer(Timer.ANSWER)]
        if still_open and not self.old:
            commands += self._leave_leg(now)
        else:
            commands += [CloseLeg(self.leg, 1000, "")] if still_open else []
            self.leg, self.phase = 0, Phase.DOWN
        crossing = self._crossing
        if crossing is None:  # the client's own first setup: it may know better what to do
            return commands + self._retry(meaning, now)
        crossing.refusals += meaning is CloseReason.UPSTREAM_FAILED and not cut
        if meaning not in REFUSALS and not (self.memory.resumption.newest and crossing.refusals > FAILED_RESUMES):
            return commands + self._retry(meaning, now)
        if not self.memory.blame_handle(crossing):
            return commands + self._give_up(Close(meaning), now)
        return commands + self._pause(now)

    def _retry(self, meaning: CloseReason, now: float) -> list[Command]:
        if not may_pass(meaning, in_conversation=self._crossing is not None):
            return self._give_up(Close(meaning), now)
        self.dialling.failures += 1
        self._last_failure = Close(meaning)
        failed_resume = meaning is CloseReason.UPSTREAM_FAILED and bool(self.memory.resumption.newest)
        return self._pause(now, STILL_OPEN_S if failed_resume else 0.0)

    def _give_up(self, close: Close, now: float) -> list[Command]:
        """The session is over; a handover in progress has failed, and what it would have told Gemini is lost."""
        crossing = self._crossing
        if crossing is None or self.phase is Phase.UP:
            return [End(close)]
        crossing.dropped += len(self.memory.journal) + self.memory.journal.dropped + len(self._shared.holding)
        return [self._over(crossing, Outcome.FAILED, now), End(close)]

    # The end of a crossing --------------------------------------------------------------------------------------------

    def _finish(self, now: float) -> list[Command]:
        self.phase = Phase.UP
        self.dialling.failures = 0
        crossing = self._crossing
        commands: list[Command] = [CancelTimer(Timer.CONNECT), CancelTimer(Timer.ANSWER)]
        if self._continuity.rotate_after_s is not None:
            commands.append(SetTimer(Timer.ROTATE, now + self._continuity.rotate_after_s))
        if crossing is None:
            return commands + self.memory.flush(self.leg, now)
        self.handovers += 1
        self._probation_until = now + PROBATION_S
        commands += self.memory.say_again(crossing, self.leg, now)
        crossing.dropped += self._shared.holding.take_dropped()
        commands += self.memory.flush(self.leg, now)
        self._shared.turns.resumed()
        over = self._over(crossing, self.memory.outcome(crossing), now)
        commands += [over, *self._shared.downstream.announce(over.handover)]
        return commands + self._consider(now) + self.watch(now)

    def _over(self, crossing: Crossing, outcome: Outcome, now: float) -> HandedOver:
        """The record of a crossing that is over, one way or the other."""
        holding = self._shared.holding
        crossing.dropped += holding.take_dropped()
        self._shared.meter.frames_dropped_up += crossing.dropped
        return HandedOver(crossing.record(outcome, holding.held_frames, self.dialling.dials, now))
