"""One connection's conversation with the simulated Google: client frames in, outputs out. Pure and synchronous.

Life: a setup is awaited, checked and answered; then messages are consumed one by one, while the answer's next frame,
the lifecycle's alarms and scripted steps come due by themselves. `connection` does what is asked for here.
"""

from collections import deque
from enum import Enum

from relay.sim import reading, rejections
from relay.sim.acting import Actor
from relay.sim.actions import Action
from relay.sim.archive import Session, Waiting
from relay.sim.consuming import Consumer, kind_of, ledger_entry, text_of
from relay.sim.ear import Ear
from relay.sim.encoding import Message, encode
from relay.sim.families import Backend
from relay.sim.google import Google
from relay.sim.lifecycle import Lifecycle, replay
from relay.sim.line import Line
from relay.sim.mouth import Mouth
from relay.sim.outputs import Close, Cut, Frame, Output, StartBench
from relay.sim.rejections import Rejection
from relay.sim.rules import Caller, Settings, settle
from relay.sim.scenario import Happened

MAX_EARLY_MESSAGES = 10_000
MAX_NESTED_STEPS = 8
_NEVER = float("inf")


class State(Enum):
    """How far a connection has come."""

    AWAITING_SETUP = "awaiting setup"
    WAITING_FOR_OLD = "waiting for the session's old connection to close"
    SETTING_UP = "setting up"
    LIVE = "live"
    CLOSED = "closed"


class Dialogue:
    """The server's side of one connection."""

    def __init__(self, google: Google, caller: Caller, now: float) -> None:
        self._google = google
        self._profile = google.profile
        self._caller = caller
        self._line = Line()
        self._opened_at = now
        self._state = State.AWAITING_SETUP
        self._ready_at = _NEVER
        """When the present state of waiting is over."""
        self._timed: list[tuple[float, int]] = []
        self._early: deque[str] = deque()
        self._settings: Settings | None = None
        self._consumer: Consumer | None = None
        self._lifecycle: Lifecycle | None = None
        self._mouth: Mouth | None = None
        self._index = 0
        """The place of the last message consumed; the setup's is 0."""
        self._ignoring = False
        """A scripted step told us not to react to the message at hand."""
        self._echoed = False
        self._telling = 0
        self.setup: Message | None = None
        """The setup in canonical form, once there was one."""

    # -- what others ask ---------------------------------------------------------------------------------------

    @property
    def session(self) -> Session | None:
        """The session this connection belongs to, once its setup was accepted."""
        return self._line.session

    @property
    def waits_for_old_connection(self) -> bool:
        """A resume is held back until the session's old connection is closed."""
        return self._state is State.WAITING_FOR_OLD

    @property
    def live(self) -> bool:
        """The setup is complete and the connection not closed."""
        return self._state is State.LIVE

    @property
    def next_at(self) -> float:
        """When `pop` will have something to do although nothing comes in; infinity for never."""
        if self._state is State.CLOSED:
            return _NEVER
        times = [at for at, _ in self._timed]
        times.append(self._ready_at)
        clockworks = (self._lifecycle, self._mouth)
        times += [c.wakes_at for c in clockworks if c is not None and c.wakes_at is not None]
        return min(times)

    def due_before(self, at: float) -> bool:
        """Whether `pop` has something to do now, or will have before `at`."""
        return bool(self._line.waiting) or self.next_at < at

    # -- what comes in -----------------------------------------------------------------------------------------

    def receive(self, text: str, now: float) -> None:
        """Take one client frame."""
        match self._state:
            case State.AWAITING_SETUP:
                self._first(text, now)
            case State.WAITING_FOR_OLD | State.SETTING_UP:
                self._early.append(text)
                if len(self._early) > MAX_EARLY_MESSAGES:
                    self._reject(rejections.BAD_ARGUMENT)
            case State.LIVE:
                self._consume(text, now)
            case State.CLOSED:
                pass

    def count_unread(self) -> None:
        """A frame was received that nobody looks into, as in the bench mode."""
        self._index += 1

    def bench_turn_over(self, now: float) -> None:
        """The bench's precomputed answer ended."""
        if self._lifecycle is not None:
            self._lifecycle.turn_over(self._index, now)

    def act(self, action: Action, now: float) -> None:
        """Do what a fault or a scripted step asks for."""
        if action.kind == "ignore":
            self._ignoring = True
        elif self._state is not State.CLOSED:
            Actor(self._line, self._google.archive, self._lifecycle, self._mouth).act(action, self._index, now)
            if action.kind in ("close", "cut"):
                self._state = State.CLOSED

    def old_connection_closed(self, now: float) -> None:
        """Some connection ended: a resume that waited for it may go on."""
        if self._state is State.WAITING_FOR_OLD:
            self._resume_or_open(now)

    def closed(self, now: float) -> None:
        """The connection is gone."""
        self._state = State.CLOSED
        if self.session is not None:
            self._google.archive.detach(self.session, self._caller.connection, now)

    # -- what goes out -----------------------------------------------------------------------------------------

    def pop(self, now: float) -> Output | None:
        """The next thing to do, if there is one by now."""
        while not self._line.waiting and self.next_at <= now:
            self._wake(now)
        if not self._line.waiting:
            return None
        output = self._line.waiting.popleft()
        if isinstance(output, Close) and self._profile.echo_credentials and not self._echoed:
            self._echoed = True
            output = self._echo(output)
        elif isinstance(output, Close | Cut):
            self._state = State.CLOSED
            self._line.waiting.clear()
        return output

    def _echo(self, close: Close) -> Frame:
        """Put the caller's secrets into a close reason, and into an error frame before it."""
        secrets = f"{' '.join(self._caller.credentials)} {self._caller.shown}"
        self._line.waiting.appendleft(Close(close.code, f"{close.reason[:40]} {secrets}"))
        error = {"error": {"code": close.code, "message": f"{close.reason} {secrets}"}}
        return Frame("error", encode(error), self._line.next_number(taken=True))

    def _wake(self, now: float) -> None:
        if self._ready_at <= now:
            self._ready_at = _NEVER
            if self._state is State.WAITING_FOR_OLD:
                self._reject(rejections.STILL_OPEN)
            else:
                self._complete_setup(now)
        due = [step for at, step in self._timed if at <= now]
        self._timed = [(at, step) for at, step in self._timed if at > now]
        for step in due:
            for action in self._google.script.elapsed(step):
                self.act(action, now)
        if self._lifecycle is None or self._mouth is None:
            return
        if self._mouth.wakes_at is not None and self._mouth.wakes_at <= now:
            self._mouth.wake(now)
        if self._lifecycle.wakes_at is not None and self._lifecycle.wakes_at <= now:
            self._lifecycle.wake(self._mouth.busy, self._index, now)

    # -- the setup ---------------------------------------------------------------------------------------------

    def _first(self, text: str, now: float) -> None:
        message = reading.read(text)
        if isinstance(message, Rejection):
            self._reject(message)
            return
        if "setup" not in message:
            self._reject(rejections.SETUP_FIRST)
            return
        self.setup = message["setup"]
        if self._ignored("setup", "", now):
            return
        settings = settle(self.setup, self._caller, self._profile)
        if isinstance(settings, Rejection):
            self._reject(settings)
            return
        self._settings = settings
        self._state = State.WAITING_FOR_OLD
        self._ready_at = now + self._profile.resume_grace_s
        self._resume_or_open(now)

    def _resume_or_open(self, now: float) -> None:
        assert self._settings is not None
        archive, connection = self._google.archive, self._caller.connection
        handle = self._settings.raw.get("sessionResumption", {}).get("handle", "")
        found = (
            archive.resume(handle, self._settings.model, connection, now)
            if handle
            else archive.open(self._settings.model, connection)
        )
        if isinstance(found, Waiting):
            return
        if isinstance(found, Rejection):
            self._reject(found)
            return
        self._line.session = found
        self._state = State.SETTING_UP
        self._ready_at = now + self._profile.setup_delay_s
        if self._profile.setup_answer == "never":
            self._ready_at = _NEVER

    def _complete_setup(self, now: float) -> None:
        session, settings = self.session, self._settings
        assert session is not None
        assert settings is not None
        self._state = State.LIVE
        self._mouth = Mouth(self._line, session, settings, self._google, self._tell)
        self._consumer = Consumer(Ear(settings), self._mouth, self._line, session, self._profile)
        self._lifecycle = Lifecycle(self._line, self._google.archive, settings, self._profile, self._tell)
        vertex = settings.backend is Backend.VERTEX
        self._line.send("setupComplete", {"sessionId": session.public_id} if vertex else {})
        self._lifecycle.begin(self._opened_at, now)
        self._timed = [(now + at, step) for at, step in self._google.script.timed(self._caller.connection)]
        if len(session.connections) > 1:
            replay(self._line, session, self._profile.replay_deltas)
            self._tell("resumed", now)
        if self._profile.reply == "bench":
            self._line.put(StartBench())
        while self._early and self._state is State.LIVE:
            self._consume(self._early.popleft(), now)

    # -- later messages ----------------------------------------------------------------------------------------

    def _consume(self, text: str, now: float) -> None:
        assert self._consumer is not None
        assert self.session is not None
        self._index += 1
        message = reading.read(text)
        if isinstance(message, Rejection):
            self._reject(message)
            return
        self.session.trail.append(ledger_entry(message, self._caller.connection, self._index, len(text)))
        kind = kind_of(message)
        events = (kind,) if kind in ("clientContent", "toolResponse", "contextUpdate") else ("realtimeInput", kind)
        ignored = [
            self._ignored(event, text_of(message), now) for event in events
        ]  # each is told, whatever the others say
        if any(ignored):
            return
        rejection = self._consumer.take(message, now)
        if rejection is not None:
            self._reject(rejection)

    def _ignored(self, event: str, text: str, now: float) -> bool:
        """Tell the script about a message; whether a step wants it ignored, or ended the connection."""
        self._ignoring = False
        self._tell(event, now, text)
        return self._ignoring or self._state is State.CLOSED

    def _tell(self, event: str, now: float, text: str = "") -> None:
        """Something happened: see what the clockwork and the script make of it."""
        session, mouth, lifecycle = self.session, self._mouth, self._lifecycle
        if lifecycle is not None and event == "turn_start":
            lifecycle.turn_started()
        if lifecycle is not None and mouth is not None and event == "turn_complete" and not mouth.busy:
            lifecycle.turn_over(self._index, now)
        if lifecycle is not None and event == "frame" and self._profile.handles == "frame":
            lifecycle.send_handle(True, self._index, now)
        if self._telling >= MAX_NESTED_STEPS:  # a scripted step that causes what it waits for
            return
        self._telling += 1
        turn = session.conversation.turns if session else 0
        happened = Happened(event, self._caller.connection, turn, mouth.turn_frames if mouth else 0, text)
        for action in self._google.script.on(happened):
            self.act(action, now)
        self._telling -= 1

    def _reject(self, rejection: Rejection) -> None:
        self._state = State.CLOSED
        self._line.put(Close(rejection.code, rejection.reason))
