"""The session's state machine: one synchronous method, events in, commands out.

Everything that may happen to a conversation is decided here and in what the session has (its line to Gemini, its way
to the client), in one step, because all of it asks "may this happen now?", and no await can come between question and
answer. Peers may do anything: the unexpected is forwarded, ignored or answered by a close, never by an assertion.
"""

from collections.abc import Callable
from typing import Any

from relay.core.client_frames import ClientFrame, client_frame
from relay.core.closing import Close, CloseReason, of_client_close, of_rule
from relay.core.commands import (
    CancelTimer,
    ClientResumed,
    CloseLeg,
    Command,
    End,
    Parked,
    Rejoin,
    SetTimer,
    Violated,
)
from relay.core.downstream import Downstream, Handles, Ticket
from relay.core.events import (
    DOWNSTREAM,
    BudgetSpent,
    Closed,
    CredentialOver,
    Demand,
    DialFailed,
    Dismissed,
    DrainRequested,
    Event,
    Opened,
    Ponged,
    Reattached,
    Received,
    RejoinFailed,
    Stuck,
    Timer,
    TimerFired,
)
from relay.core.handover import Phase
from relay.core.holding import Holding
from relay.core.journal import Sort, outgoing
from relay.core.leaving import Leaving
from relay.core.limits import Limits
from relay.core.line import Line
from relay.core.memory import Shared
from relay.core.meter import Meter
from relay.core.policy import Conversation, Policy, seeds_history, update_setup
from relay.core.refusals import Refusal, Rule, distinct
from relay.core.secret import NOTHING, Secret
from relay.core.server_frames import ServerFrame, server_frame, without
from relay.core.state import NEXT, State
from relay.core.tab import Tab
from relay.core.turns import Turns


class Session:
    """One client conversation, from its upgrade to its end."""

    def __init__(
        self, session_id: str, policy: Policy, limits: Limits, handles: Handles, random: Callable[[], float]
    ) -> None:
        """`random` draws from [0, 1) for the pauses between dials."""
        self.state = State.AWAITING_SETUP
        self.meter = Meter()
        self.holding = Holding(limits.held_bytes)
        self.model = ""
        """The model in use, once the setup was accepted."""
        self.started_at = 0.0
        self.setup_at: float | None = None
        """When the client's setup was accepted."""
        self.ready_at: float | None = None
        """When Gemini's setupComplete arrived."""
        kept_bytes = limits.parking_bytes if limits.parking_s > 0 else 0
        self.downstream = Downstream(session_id, handles, kept_bytes, policy.behaviour, self.meter)
        self._policy = policy
        self._limits = limits
        self._handles = handles
        self._conversation = Conversation()
        self._turns = Turns()
        shared = Shared(self.downstream, self._conversation, self._turns, self.holding, self.meter, random)
        self.tab = Tab(limits.quotas, limits.prices, self.meter)
        self.line = Line(limits.continuity, limits.pace, shared)
        self.leaving = Leaving(limits, shared, self.line)
        self.returning: Ticket | None = None
        """What the handle said that the client came with."""
        self._received_since = 0
        self._setup: dict[str, Any] = {}
        self._draining = False

    @property
    def parked(self) -> bool:
        """Whether the session waits for its client to come back."""
        return not self.downstream.attached

    def ask_tcp(self, unacknowledged: Callable[[int], int]) -> None:
        """From now on ask this how many bytes written to an upstream leg TCP has no acknowledgement for."""
        self.line.memory.ask_tcp(unacknowledged)

    def forget(self) -> None:
        """The session is over: keep nothing that was said, and nobody to ask.

        Else thousands of messages would wait, with the session, for the collector of cycles to find them.
        """
        self.line.memory.forget()
        self.downstream.forget()

    def start(self, now: float) -> list[Command]:
        """The commands that begin a session; `now` is in seconds on the clock that timers are set by."""
        self.started_at = now
        self.tab.begin(now)
        return [SetTimer(Timer.SETUP, now + self._limits.setup_s), *self.leaving.begin(now)]

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide what an event means."""
        if self.state is State.CLOSED:
            return []
        self.downstream.now = now
        commands = self._decide(event, now)
        if self.leaving.close is not None and not (commands and type(commands[-1]) is End):
            commands += self.leaving.concluded(now)
        if commands and type(commands[-1]) is End:
            self._enter(State.CLOSED)
        elif self.ready_at is not None:
            state = State.RELAYING if self.line.phase is Phase.UP else State.HANDOVER
            if state is not self.state:
                self._enter(state)
        return commands

    def _decide(self, event: Event, now: float) -> list[Command]:
        line = self.line
        match event:
            case Received():
                if event.leg == DOWNSTREAM:
                    return self._unheard() if self.leaving.has_the_floor else self._from_client(event.payload, now)
                if line.hears(event.leg):
                    return self._from_gemini(event, now)
                return []  # a leg this session has already left
            case Opened(leg, round_trip_s):
                return line.opened(leg, round_trip_s, now)
            case Closed(leg, code, reason):
                return self._client_gone(code, now) if leg == DOWNSTREAM else line.closed(leg, code, reason, now)
            case Ponged(leg):
                if leg == line.leg:
                    line.memory.ponged(now)
                return []
            case DialFailed(leg, status):
                return line.dial_failed(leg, status, now)
            case Stuck(leg):
                if leg == DOWNSTREAM:
                    return self._drop_client(CloseReason.CLIENT_TOO_SLOW, now)
                return line.stuck(now) if leg == line.leg else []
            case TimerFired(timer):
                return self._on_timer(timer, now)
            case _:
                return self._asked(event, now)

    def _asked(self, event: Demand, now: float) -> list[Command]:
        match event:
            case Reattached(received):
                return self._reattached(received, now)
            case RejoinFailed(taken):
                return self._resume_by_handle(taken, now)
            case BudgetSpent(budget):
                return self.leaving.leave(Close(CloseReason.BUDGET_SPENT, budget), now)
            case Dismissed():
                return [End(Close(CloseReason.ENDED_BY_OPERATOR))]
            case CredentialOver(close):
                return [End(close)]
            case DrainRequested(time_left_s):
                return self._drain(time_left_s, now)

    # The client's messages ------------------------------------------------------------------------------------------

    def _from_client(self, payload: bytes, now: float) -> list[Command]:
        if self.tab.limited and (ended := self.tab.sent(len(payload), now)):
            return ended
        frame = client_frame(payload, pass_unknown=self._policy.behaviour.pass_unknown)
        if isinstance(frame, Refusal):
            return self._refuse(frame)
        if self.state is State.AWAITING_SETUP:
            return self._admit(frame, now)
        self.downstream.heard()
        if frame.kind == "setup":
            return self._refuse(Refusal(Rule.OUT_OF_ORDER, "setup", "may be sent only once, as the first message"))
        seeding = self._conversation.seeding
        violations = self._policy.check(frame, self._conversation)
        commands: list[Command] = []
        if violations:
            if not self._policy.behaviour.strip:
                return self._refuse(violations[0])
            commands.extend(_stripped(violations))
        if not frame.body:
            return commands
        if ended := self.tab.accepted(frame, now):
            return ended
        message = outgoing(frame, frame.encode())
        if message.sort is Sort.AUDIO:  # most messages are, and it changes nobody's turn by itself
            return commands + self.line.send(message, now)
        if not seeding:
            self._turns.from_client(frame, now)
        if frame.kind == "contextUpdate":
            update_setup(self.line.setup, frame.body)
        commands += self.line.send(message, now)
        return commands + self.line.watch(now)

    def _unheard(self) -> list[Command]:
        self.downstream.heard()
        self.meter.frames_dropped_up += 1
        return []

    def _admit(self, frame: ClientFrame, now: float) -> list[Command]:
        if frame.kind != "setup":
            words = f"must be the first message, not {frame.kind}"
            return self._refuse(Refusal(Rule.OUT_OF_ORDER, "setup", words))
        ruling = self._policy.setup(frame.body, self._unseal)
        if ruling.violations and not self._policy.behaviour.strip:
            return self._refuse(ruling.violations[0])
        self.setup_at = now
        self.model = ruling.body["model"]
        self.tab.named(self.model)
        self.downstream.resumable = ruling.wants_resumption
        self._conversation.seeding = seeds_history(ruling.body)
        self._setup = {name: value for name, value in ruling.body.items() if name != "sessionResumption"}
        commands = [*_stripped(ruling.violations), CancelTimer(Timer.SETUP)]
        if self.returning is not None:
            return [*commands, Rejoin(self.returning, self._received_since, self._setup)]
        return commands + self._connect(NOTHING, now)

    def _unseal(self, handle: str, model: str) -> str | None:
        """Gemini's handle behind the client's, to which it may have added how many messages it got since."""
        sealed, _, count = handle.partition(".")
        self.returning = self._handles.unseal(sealed, model)
        if count.isascii() and count.isdigit() and len(count) < 10:
            self._received_since = int(count)
        return self.returning.handle.reveal() if self.returning is not None else None

    def _connect(self, handle: Secret, now: float) -> list[Command]:
        self._enter(State.CONNECTING)
        return self.line.begin(self._policy.backend.addressed(self._setup), handle, now)

    def _refuse(self, refusal: Refusal) -> list[Command]:
        close = Close(of_rule(refusal.rule), refusal.detail)
        return [Violated(refusal.rule.value, refusal.path, rejected=True), End(close)]

    # Gemini's messages ----------------------------------------------------------------------------------------------

    def _from_gemini(self, event: Received, now: float) -> list[Command]:
        frame = server_frame(event.payload)
        if frame is None:
            return [End(Close(CloseReason.UPSTREAM_NONSENSE))]
        charged = self.tab.read(frame, event.leg, now)
        if event.leg == self.line.leg and self.line.phase is Phase.OPENING:
            return [*self._before_ready(frame, event, now), *charged]
        commands = self._pass_down(frame, event, now)
        return commands + charged if charged else commands

    def _before_ready(self, frame: ServerFrame, event: Received, now: float) -> list[Command]:
        if not frame.setup_complete:
            # Clients take whatever comes first for the answer to their setup; only an announced end matters already.
            return self.line.heard(event.leg, frame, now) if frame.go_away_s is not None else []
        commands: list[Command] = []
        if self.ready_at is None:
            self.ready_at = now
            payload = without(event.payload, _RELAY_S_OWN - {"setupComplete"}) or event.payload
            self.downstream.setup_complete = payload
            commands += self.downstream.send(payload, event.text)
            self.tab.ready(now)
            commands += self.leaving.ready(now)
            if self.returning is not None:
                via = "handle" if self.returning.handle else "fresh"  # it dropped before Gemini had issued one
                commands.append(ClientResumed(via, 0, None))
                commands += self.downstream.announce_resumed(via, 0, None)
            commands += self.downstream.send_handle(self.line.memory.resumption.newest, self.model)
        return commands + self.line.ready(event.leg, now)

    def _pass_down(self, frame: ServerFrame, event: Received, now: float) -> list[Command]:
        if frame.call_ids:
            self._conversation.called(frame.call_ids)
        if frame.cancelled_ids:
            self._conversation.settled(frame.cancelled_ids)
        payload: bytes | None = event.payload
        if not _RELAY_S_OWN.isdisjoint(frame.names):
            payload = without(event.payload, _RELAY_S_OWN)
        elif self._turns.repeats(frame) or not (frame.known or self._policy.behaviour.pass_unknown):
            payload = None
        commands: list[Command] = []
        if payload is not None:
            commands = self.downstream.send(payload, event.text)
        resumption = self.line.memory.resumption
        issued = resumption.issued
        commands += self.line.heard(event.leg, frame, now)
        if resumption.issued > issued:
            commands += self.downstream.send_handle(resumption.newest, self.model)
        return commands

    # The client goes and comes back -----------------------------------------------------------------------------------

    def _client_gone(self, code: int, now: float) -> list[Command]:
        if self.parked:
            return []  # its socket was given up before it was gone
        if code in _WITHOUT_GOODBYE and self._may_park():
            return self._park(now)
        return [End(Close(of_client_close(code)))]

    def _drop_client(self, reason: CloseReason, now: float) -> list[Command]:
        """The client's socket is of no use any more, whatever the client is."""
        if self.parked:
            return []  # it was given up already
        if not self._may_park():
            return [End(Close(reason))]
        return [CloseLeg(DOWNSTREAM, reason.code, Close(reason).text), *self._park(now)]

    def _may_park(self) -> bool:
        waits = self._limits.parking_s > 0 and self.ready_at is not None
        return waits and self.downstream.resumable and self.downstream.attached

    def _park(self, now: float) -> list[Command]:
        if self._draining:
            return [End(Close(CloseReason.CLIENT_LOST))]
        self.downstream.attached = False
        self.tab.parked(now)
        return [Parked(), SetTimer(Timer.PARKING, now + self._limits.parking_s)]

    def claims(self, rejoin: Rejoin) -> bool | None:
        """Whether a client that comes back may have this session: None when it asks for something else than it has."""
        if self.ready_at is None or self.state is State.CLOSED or rejoin.setup != self._setup:
            return None
        return self.downstream.may_claim(rejoin.ticket)

    def reattachment(self, rejoin: Rejoin) -> Reattached:
        """The event by which a client that `claims` takes this session over."""
        return Reattached(self.downstream.place_of(rejoin.ticket, rejoin.received_since))

    def _reattached(self, received: int, now: float) -> list[Command]:
        self.tab.resumed(now)
        sent, replayed, missed = self.downstream.attach(received, self.line.memory.resumption.newest, self.model)
        self.meter.frames_dropped_down = self.downstream.missed
        return [CancelTimer(Timer.PARKING), ClientResumed("parked", replayed, missed), *sent]

    def _resume_by_handle(self, taken: bool, now: float) -> list[Command]:
        assert self.returning is not None, "only a ticket leads to a rejoin"
        path = "setup.sessionResumption.handle"
        if taken:
            return self._refuse(Refusal(Rule.HANDLE, path, "was used already: each leads back once"))
        return self._connect(self.returning.handle, now)

    # Timers and ends --------------------------------------------------------------------------------------------------

    def _on_timer(self, timer: Timer, now: float) -> list[Command]:
        match timer:
            case Timer.SETUP:
                return [End(Close(CloseReason.SETUP_LATE))]
            case Timer.SESSION | Timer.IDLE | Timer.GRACE:
                return self.leaving.timer(timer, now)
            case Timer.PARKING:
                return [End(Close(CloseReason.CLIENT_LOST))]
            case Timer.DRAIN:
                return [End(Close(CloseReason.DRAINING))]
            case _:
                return self.line.timer(timer, now)

    def _drain(self, time_left_s: float, now: float) -> list[Command]:
        if time_left_s <= 0 or self.parked or self.ready_at is None:
            return [End(Close(CloseReason.DRAINING))]
        self._draining = True
        return [*self.downstream.go_away(time_left_s), SetTimer(Timer.DRAIN, now + time_left_s)]

    def _enter(self, state: State) -> None:
        assert state in NEXT[self.state], f"no way from {self.state} to {state}"
        self.state = state


_RELAY_S_OWN = frozenset({"goAway", "sessionResumptionUpdate", "setupComplete"})
"""Messages of Gemini's that concern the relay alone: a leg's end, a way back to the session, a leg's beginning."""

_WITHOUT_GOODBYE = frozenset({1001, 1006})  # a page that is left or loaded again, and no close frame at all


def _stripped(violations: list[Refusal]) -> list[Command]:
    return [Violated(violation.rule.value, violation.path, rejected=False) for violation in distinct(violations)]
