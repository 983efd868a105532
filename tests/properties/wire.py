"""The driver's part in the model of a session, and what it may be told to do."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from relay.core.budget import Quotas
from relay.core.commands import (
    CancelTimer,
    CloseLeg,
    Command,
    End,
    HandedOver,
    OpenUpstream,
    Send,
    SetTimer,
)
from relay.core.events import (
    DOWNSTREAM,
    Event,
    Opened,
    Received,
    Timer,
)
from relay.core.handover import Continuity, Order, Outcome
from relay.core.limits import Limits
from relay.core.policy import Messages
from relay.core.session import Session
from tests.core.playbook import (
    FakeHandles,
    client,
    compact,
    policy,
    setup_complete,
)
from tests.properties.caller import Caller
from tests.properties.google import At, Gemini, GeminiLeg

HELD_BYTES, JOURNAL_BYTES, PARKING_BYTES = 3000, 4000, 700
WRAP_UP = "say goodbye"


class Wire(RuleBasedStateMachine):
    """The driver's part: carries out commands, as long as they make sense, and keeps the timers."""

    @initialize(
        transparent=st.booleans(),
        order=st.sampled_from(Order),
        jitter=st.sampled_from([0.0, 0.5, 0.999]),
        asks=st.booleans(),
        counts=st.booleans(),
        connected=st.sampled_from([True, True, True, False]),
        audio_s=st.sampled_from([0.35, 60.0]),
    )
    def begin(
        self, transparent: bool, order: Order, jitter: float, asks: bool, counts: bool, connected: bool, audio_s: float
    ) -> None:
        """A client connects, and asks for handles or does not; it `counts` what it gets, or does not.

        In most runs the conversation has begun when anything can go wrong.
        """
        self.transparent, self.order, self.counts = transparent, order, counts
        self.now, self.number, self.ended = 0.0, 0, 0
        continuity = Continuity(
            rotate_after_s=100.0,
            order=order,
            journal_bytes=JOURNAL_BYTES,
            journal_audio_s=audio_s,
            transparent=transparent,
        )
        self.limits = Limits(
            held_bytes=HELD_BYTES,
            session_s=36_000.0,
            parking_bytes=PARKING_BYTES,
            continuity=continuity,
            quotas=Quotas(wrap_up=WRAP_UP, grace_s=60.0),
        )
        self.policy = policy(messages=Messages(video=True), announce="loss")
        self.session = Session("s1", self.policy, self.limits, FakeHandles(), lambda: jitter)
        self.gemini, self.caller = Gemini(), Caller()
        self.timers: dict[Timer, float] = {}
        self.dialled: list[float] = []
        self.sent: list[bytes] = []
        """What the client, and at the end the relay itself, said and the session took."""
        self.said: list[str] = []
        """What the model said while anybody listened."""
        self.uncertain = 0
        self.whole = True
        """The journal never had to give anything up."""
        self.carry_out(self.session.start(self.now))
        self.happen(client(b'{"setup":{"sessionResumption":{}}}' if asks else b'{"setup":{}}'))
        if connected:
            self.gemini.legs[1].at = At.OPEN
            self.happen(Opened(1))
            self.gemini.answer(1)
            self.happen(Received(1, setup_complete(), False))
            self.caller.receive(2)

    # The driver ------------------------------------------------------------------------------------------------------

    def happen(self, event: Event) -> None:
        """Deliver an event and carry out what follows."""
        self.now += 0.01
        had_the_floor = self.session.leaving.has_the_floor
        self.carry_out(self.session.handle(event, self.now))
        if self.session.leaving.has_the_floor and not had_the_floor:
            mark = {"audioStreamEnd": True} if self.session.meter.audio_bytes_up else {}
            self.sent.append(compact({"realtimeInput": {"text": WRAP_UP, **mark}}))
        self.whole = self.whole and not self.session.line.memory.journal.dropped

    def carry_out(self, commands: list[Command]) -> None:
        """Do what the session says, as long as it makes sense."""
        for command in commands:
            assert not self.ended, f"{command} after the end"
            match command:
                case OpenUpstream(leg):
                    assert leg == len(self.gemini.legs) + 1, "a leg has a number of its own"
                    assert self.gemini.find(At.DIALLED, At.OPEN) is None, "one dial at a time"
                    self.dialled = [at for at in self.dialled if at > self.now - 60.0] + [self.now]
                    assert len(self.dialled) <= 5, "in any minute"
                    self.gemini.legs[leg] = GeminiLeg()
                case Send(leg, payload, _) if leg == DOWNSTREAM:
                    assert not self.session.parked
                    self.caller.sent(payload)
                case Send(leg, payload, _):
                    self.gemini.written(leg, payload, self.now)
                    self.check_resume(leg, payload)
                case CloseLeg(leg, _, _) if leg != DOWNSTREAM:
                    assert self.gemini.legs[leg].at in (At.OPEN, At.SET_UP, At.READY)
                    self.gemini.legs[leg].at, self.gemini.legs[leg].awaited = At.CLOSING, True
                case SetTimer(timer, at):
                    assert at >= self.now
                    self.timers[timer] = at
                case CancelTimer(timer):
                    self.timers.pop(timer, None)
                case HandedOver(handover):
                    self.uncertain += handover.uncertain
                    assert handover.outcome is not Outcome.FAILED or type(commands[-1]) is End
                case End():
                    self.ended += 1
                case _:
                    pass

    def check_resume(self, leg: int, payload: bytes) -> None:
        """Gemini refuses a resume while another leg is open; a close that does not come is waited for a while."""
        if self.gemini.legs[leg].at is At.SET_UP and self.order is not Order.OVERLAP:
            others = [other for number, other in self.gemini.legs.items() if number != leg]
            assert not any(other.at in (At.SET_UP, At.READY) or other.awaited for other in others)
