"""The session's state machine: one synchronous method, events in, commands out.

Everything that may happen to a conversation is decided here, in one place and in one step, because policy, holding,
metering and closing all ask "may this happen now?". No await can come between the question and the answer.
Peers may do anything: an unexpected message is forwarded, ignored or answered by a close, never by an assertion.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from relay.core.client_frames import ClientFrame, Refusal, Rule, client_frame
from relay.core.closing import Close, CloseReason, of_upstream_close, of_upstream_status
from relay.core.commands import (
    CancelTimer,
    Command,
    End,
    OpenUpstream,
    Send,
    SetTimer,
    UpstreamSaid,
    Violated,
)
from relay.core.events import (
    DOWNSTREAM,
    Closed,
    DialFailed,
    DrainRequested,
    Event,
    Opened,
    Received,
    Stuck,
    Timer,
    TimerFired,
)
from relay.core.holding import Holding
from relay.core.meter import Meter
from relay.core.policy import Conversation, Policy
from relay.core.server_frames import ServerFrame, resumption_update, server_frame, with_resumption


class State(Enum):
    """Where a session is in its life."""

    AWAITING_SETUP = "awaiting_setup"
    CONNECTING = "connecting"
    RELAYING = "relaying"
    CLOSED = "closed"


NEXT: dict[State, frozenset[State]] = {
    State.AWAITING_SETUP: frozenset({State.CONNECTING, State.CLOSED}),
    State.CONNECTING: frozenset({State.RELAYING, State.CLOSED}),
    State.RELAYING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}
"""Every move the machine may make; `docs/life-of-a-session.md` draws it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one session, in seconds and bytes."""

    setup_s: float = 10.0
    """How long a client may take to send its setup."""
    connect_s: float = 15.0
    """How long dialling Gemini and its answer to the setup may take, retries included."""
    redial_base_s: float = 0.25
    """Upper end of the first pause between dials; each further one doubles it, up to `redial_max_s`."""
    redial_max_s: float = 4.0
    held_bytes: int = 1024 * 1024
    """Client messages that may wait for Gemini: about 20 s of microphone."""
    session_s: float | None = None
    """How long a session may last."""


class Handles(Protocol):
    """Seals Gemini's resumption handles for one tenant, policy and model, and opens them again."""

    def seal(self, handle: str, model: str) -> str:
        """The relay's own handle for one of Gemini's."""
        ...

    def unseal(self, handle: str, model: str) -> str | None:
        """Gemini's handle behind one of ours; None for a string that `seal` did not make for this tenant and model."""
        ...


class Session:
    """One client conversation, from its upgrade to its end."""

    def __init__(
        self, policy: Policy, limits: Limits, handles: Handles, random: Callable[[], float], now: float
    ) -> None:
        """`random` draws from [0, 1) for the pauses between dials; `now` is the clock's reading, in seconds."""
        self.state = State.AWAITING_SETUP
        self.meter = Meter()
        self.model = ""
        """The model in use, once the setup was accepted."""
        self.started_at = now
        self.setup_at: float | None = None
        """When the client's setup was accepted."""
        self.ready_at: float | None = None
        """When Gemini's setupComplete arrived."""
        self.dials = 0
        self.holding = Holding(limits.held_bytes)
        self._policy = policy
        self._limits = limits
        self._handles = handles
        self._random = random
        self._conversation = Conversation()
        self._upstream = 0
        self._setup = b""
        self._wants_resumption = False
        self._last_failure: Close | None = None

    def start(self, now: float) -> list[Command]:
        """The commands that begin a session."""
        commands: list[Command] = [SetTimer(Timer.SETUP, now + self._limits.setup_s)]
        if self._limits.session_s is not None:
            commands.append(SetTimer(Timer.SESSION, now + self._limits.session_s))
        return commands

    def handle(self, event: Event, now: float) -> list[Command]:
        """Decide what an event means. `now` is in seconds on the clock that timers are set by."""
        if self.state is State.CLOSED:
            return []
        match event:
            case Received():
                if event.leg == DOWNSTREAM:
                    return self._from_client(event.payload, now)
                if event.leg == self._upstream:
                    return self._from_gemini(event.payload, event.text, now)
                return []  # a leg this session has already left
            case Opened(leg):
                return [Send(leg, self._setup, True)] if leg == self._upstream else []
            case Closed(leg, code, reason):
                return self._on_closed(leg, code, reason, now)
            case DialFailed(leg, status):
                return self._retry(Close(of_upstream_status(status)), now) if leg == self._upstream else []
            case Stuck(leg):
                if leg not in (DOWNSTREAM, self._upstream):
                    return []
                slow = CloseReason.CLIENT_TOO_SLOW if leg == DOWNSTREAM else CloseReason.UPSTREAM_TOO_SLOW
                return self._end(Close(slow))
            case TimerFired(timer):
                return self._on_timer(timer)
            case DrainRequested():
                return self._end(Close(CloseReason.DRAINING))

    # The client's messages ------------------------------------------------------------------------------------------

    def _from_client(self, payload: bytes, now: float) -> list[Command]:
        frame = client_frame(payload, pass_unknown=self._policy.behaviour.pass_unknown)
        if isinstance(frame, Refusal):
            return self._refuse(frame)
        if self.state is State.AWAITING_SETUP:
            return self._admit(frame, now)
        if frame.kind == "setup":
            return self._refuse(Refusal(Rule.OUT_OF_ORDER, "setup", "may be sent only once, as the first message"))
        violations = self._policy.check(frame, self._conversation)
        commands: list[Command] = []
        if violations:
            if not self._policy.behaviour.strip:
                return self._refuse(violations[0])
            commands.extend(_stripped(violations))
        if not frame.body:
            return commands
        payload = frame.encode()
        if self.state is State.RELAYING:
            self.meter.count_up(len(payload), now)
            commands.append(Send(self._upstream, payload, True))
        elif not self.holding.put(payload):
            return self._end(Close(CloseReason.HELD_FRAMES_OVERFLOW))
        return commands

    def _admit(self, frame: ClientFrame, now: float) -> list[Command]:
        if frame.kind != "setup":
            words = f"must be the first message, not {frame.kind}"
            return self._refuse(Refusal(Rule.OUT_OF_ORDER, "setup", words))
        ruling = self._policy.setup(frame.body, self._handles.unseal)
        if ruling.violations and not self._policy.behaviour.strip:
            return self._refuse(ruling.violations[0])
        self.setup_at = now
        self.model = ruling.body["model"]
        self._wants_resumption = ruling.wants_resumption
        self._conversation.seeding = _seeds_history(ruling.body)
        self._setup = ClientFrame("setup", self._policy.backend.addressed(ruling.body)).encode()
        self._enter(State.CONNECTING)
        return [
            *_stripped(ruling.violations),
            CancelTimer(Timer.SETUP),
            SetTimer(Timer.CONNECT, now + self._limits.connect_s),
            self._dial(),
        ]

    def _refuse(self, refusal: Refusal) -> list[Command]:
        reason = _REASONS.get(refusal.rule, CloseReason.REFUSED_BY_POLICY)
        return [
            Violated(refusal.rule.value, refusal.path, rejected=True),
            *self._end(Close(reason, refusal.detail)),
        ]

    # Gemini's messages ----------------------------------------------------------------------------------------------

    def _from_gemini(self, payload: bytes, text: bool, now: float) -> list[Command]:
        frame = server_frame(payload)
        if frame is None:
            return self._end(Close(CloseReason.UPSTREAM_NONSENSE))
        if self.state is State.CONNECTING:
            return self._before_ready(frame, payload, text, now)
        return self._pass_down(frame, payload, text, now)

    def _before_ready(self, frame: ServerFrame, payload: bytes, text: bool, now: float) -> list[Command]:
        if not frame.setup_complete:
            return []  # clients take whatever comes first for the answer to their setup
        self.ready_at = now
        self._enter(State.RELAYING)
        commands = [CancelTimer(Timer.CONNECT), *self._pass_down(frame, payload, text, now)]
        for held in self.holding.take_all():
            self.meter.count_up(len(held), now)
            commands.append(Send(self._upstream, held, True))
        return commands

    def _pass_down(self, frame: ServerFrame, payload: bytes, text: bool, now: float) -> list[Command]:
        if frame.call_ids:
            self._conversation.called(frame.call_ids)
        if frame.cancelled_ids:
            self._conversation.settled(frame.cancelled_ids)
        if frame.resumption is not None:
            rewritten = self._reseal(frame, payload)
            if rewritten is None:
                return []
            payload = rewritten
        elif not frame.known and not self._policy.behaviour.pass_unknown:
            return []
        self.meter.count_down(frame, len(payload), now)
        return [Send(DOWNSTREAM, payload, text or self._policy.behaviour.server_text)]

    def _reseal(self, frame: ServerFrame, payload: bytes) -> bytes | None:
        """The message with the relay's own handle in it, or none: Gemini's is a bearer token to the conversation."""
        assert frame.resumption is not None
        if not self._wants_resumption:
            return with_resumption(payload, None)  # Gemini 3.1 sends handles to those who never asked
        handle = frame.resumption.handle
        sealed = self._handles.seal(handle, self.model) if handle else ""
        return with_resumption(payload, resumption_update(sealed, frame.resumption.resumable))

    # Legs and timers ------------------------------------------------------------------------------------------------

    def _dial(self) -> OpenUpstream:
        self._upstream += 1
        self.dials += 1
        return OpenUpstream(self._upstream)

    def _on_closed(self, leg: int, code: int, reason: str, now: float) -> list[Command]:
        if leg == DOWNSTREAM:
            return self._end(Close(_CLIENT_CODES.get(code, CloseReason.CLIENT_LEFT)))
        if leg != self._upstream:
            return []
        said = UpstreamSaid(code, reason)
        meaning = of_upstream_close(code, reason)
        if self.state is State.CONNECTING and meaning in _WORTH_REDIALLING:
            return [said, *self._retry(Close(meaning), now)]
        return [said, *self._end(Close(meaning))]

    def _retry(self, failure: Close, now: float) -> list[Command]:
        if failure.reason not in _WORTH_REDIALLING:
            return self._end(failure)
        self._last_failure = failure
        # Full jitter (AWS architecture blog, 2015): a crowd of sessions must not dial in step.
        highest_s = min(self._limits.redial_max_s, self._limits.redial_base_s * 2 ** (self.dials - 1))
        return [SetTimer(Timer.REDIAL, now + highest_s * self._random())]

    def _on_timer(self, timer: Timer) -> list[Command]:
        match timer:
            case Timer.SETUP:
                return self._end(Close(CloseReason.SETUP_LATE))
            case Timer.REDIAL:
                return [self._dial()]
            case Timer.CONNECT:
                return self._end(self._last_failure or Close(CloseReason.UPSTREAM_SILENT))
            case Timer.SESSION:
                return self._end(Close(CloseReason.SESSION_TOO_LONG))

    def _end(self, close: Close) -> list[Command]:
        self._enter(State.CLOSED)
        return [End(close)]

    def _enter(self, state: State) -> None:
        assert state in NEXT[self.state], f"no way from {self.state} to {state}"
        self.state = state


_WORTH_REDIALLING = frozenset(
    {
        CloseReason.UPSTREAM_UNREACHABLE,
        CloseReason.UPSTREAM_FAILED,
        CloseReason.UPSTREAM_OVERLOADED,
    }
)

_REASONS = {
    Rule.OUT_OF_ORDER: CloseReason.BAD_SEQUENCE,
    **dict.fromkeys(
        (
            Rule.NOT_JSON,
            Rule.NOT_ONE_MESSAGE,
            Rule.DUPLICATE_KEY,
            Rule.TWO_SPELLINGS,
            Rule.UNKNOWN_FIELD,
            Rule.WRONG_TYPE,
            Rule.TOO_DEEP,
            Rule.TOO_LARGE,
        ),
        CloseReason.BAD_FRAME,
    ),
}

_CLIENT_CODES = {
    1002: CloseReason.PROTOCOL_ERROR,
    1006: CloseReason.CLIENT_LOST,
    1007: CloseReason.BAD_FRAME,
    1009: CloseReason.FRAME_TOO_BIG,
}


def _stripped(violations: list[Refusal]) -> list[Command]:
    return [Violated(violation.rule.value, violation.path, rejected=False) for violation in violations]


def _seeds_history(setup: dict[str, Any]) -> bool:
    return bool(setup.get("historyConfig", {}).get("initialHistoryInClientContent"))
