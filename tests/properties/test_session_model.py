"""A stateful model: a mostly well-behaved client and Gemini, on a bad network, with any interleaving of events.

The model plays the driver: it carries out commands, keeps the legs and timers, and delivers only what a driver could
deliver. Whatever happens, a client's messages reach Gemini in order and once, and a session ends exactly once.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.core.commands import CancelTimer, Command, End, OpenUpstream, Send, SetTimer, UpstreamSaid, Violated
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
from relay.core.session import Limits, Session, State
from tests.core.playbook import FakeHandles, compact, content, policy, pretty, setup_complete, spoken

LIMITS = Limits(held_bytes=300, session_s=3600.0)
SETUPS = [b'{"setup":{}}', b'{"setup":{"session_resumption":{}}}']
FORBIDDEN = [b"", b"{}", b'{"realtimeInput":{"video":{}}}', b'{"setup":{}}', b'{"contextUpdate":{}}']
FROM_GEMINI = [
    content("x"),
    pretty({"serverContent": {"turnComplete": True}, "usageMetadata": {"promptTokenCount": 3}}),
    pretty({"sessionResumptionUpdate": {"newHandle": "theirs", "resumable": True}}),
    pretty({"toolCall": {"functionCalls": [{"id": "a"}]}}),
    pretty({"toolCallCancellation": {"ids": ["a"]}}),
    pretty({"somethingNew": {}}),
    setup_complete(),
]
ANSWER = compact({"toolResponse": {"functionResponses": [{"id": "a", "response": {}}]}})
CLOSES = [(1000, ""), (1006, ""), (1007, "API key not valid"), (1011, "Internal error"), (1011, "Deadline expired")]


class Network(RuleBasedStateMachine):
    """The driver's part, with everything that can go wrong around it."""

    @initialize(strip=st.booleans(), jitter=st.sampled_from([0.0, 0.5, 0.999]))
    def begin(self, strip: bool, jitter: float) -> None:
        """A client connects."""
        self.strip = strip
        self.jitter = jitter
        self.now = 0.0
        self.connect()

    def connect(self) -> None:
        """A session begins, and nothing was said yet."""
        self.legs: dict[int, str] = {DOWNSTREAM: "open"}
        self.timers: dict[Timer, float] = {}
        self.sent: list[bytes] = []
        """What the client sent after its setup, and may send."""
        self.reached: dict[int, list[bytes]] = {}
        """What reached Gemini, by leg."""
        self.heard: list[bytes] = []
        """What reached the client."""
        self.ended = 0
        under = policy(strip=self.strip)
        self.session = Session(under, LIMITS, FakeHandles(), lambda: self.jitter, self.now)
        self.carry_out(self.session.start(self.now))

    # The driver ------------------------------------------------------------------------------------------------------

    def happen(self, event: Event) -> None:
        """Deliver an event and carry out what follows."""
        self.now += 0.01
        self.carry_out(self.session.handle(event, self.now))

    def carry_out(self, commands: list[Command]) -> None:
        """Do what the session says, as long as it makes sense."""
        for command in commands:
            assert not self.ended, f"{command} after the end"
            match command:
                case OpenUpstream(leg):
                    assert leg not in self.legs, "a leg has a number of its own"
                    assert all(state == "closed" for number, state in self.legs.items() if number != DOWNSTREAM)
                    self.legs[leg] = "dialling"
                case Send(leg, payload, _):
                    assert self.legs[leg] == "open", f"leg {leg} is {self.legs[leg]}"
                    (self.heard if leg == DOWNSTREAM else self.reached.setdefault(leg, [])).append(payload)
                case SetTimer(timer, at):
                    assert at >= self.now
                    self.timers[timer] = at
                case CancelTimer(timer):
                    self.timers.pop(timer, None)
                case End():
                    self.ended += 1
                case _:
                    assert isinstance(command, Violated | UpstreamSaid), command

    def upstream(self, state: str) -> int | None:
        """The number of the upstream leg that is in this state."""
        return next((leg for leg, is_ in self.legs.items() if leg != DOWNSTREAM and is_ == state), None)

    # The client ------------------------------------------------------------------------------------------------------

    @rule(setup=st.sampled_from(SETUPS))
    @precondition(lambda self: not self.ended and self.session.state is State.AWAITING_SETUP)
    def client_sets_up(self, setup: bytes) -> None:
        """The first message."""
        self.happen(Received(DOWNSTREAM, setup, True))

    @rule(words=st.text("ab", min_size=1, max_size=30))
    @precondition(lambda self: not self.ended and self.session.state is not State.AWAITING_SETUP)
    def client_speaks(self, words: str) -> None:
        """A message that is allowed, and unlike every other."""
        payload = spoken(f"{len(self.sent)} {words}")
        self.sent.append(payload)
        self.happen(Received(DOWNSTREAM, payload, True))

    @rule()
    @precondition(lambda self: not self.ended and self.session.state is State.RELAYING)
    def client_answers_a_call(self) -> None:
        """Late, early, twice: only an answer to an open call goes through."""
        before = len(self.delivered)
        self.happen(Received(DOWNSTREAM, ANSWER, True))
        if len(self.delivered) > before:
            self.sent.append(ANSWER)

    # Gemini and the network ------------------------------------------------------------------------------------------

    @rule()
    @precondition(lambda self: not self.ended and self.upstream("dialling") is not None)
    def dial_succeeds(self) -> None:
        """The upgrade is done."""
        leg = self.upstream("dialling")
        assert leg is not None
        self.legs[leg] = "open"
        self.happen(Opened(leg))

    @rule(status=st.sampled_from([0, 0, 0, 500, 503, 503, 403]))
    @precondition(lambda self: not self.ended and self.upstream("dialling") is not None)
    def dial_fails(self, status: int) -> None:
        """Nobody there, or an answer that is no upgrade."""
        leg = self.upstream("dialling")
        assert leg is not None
        self.legs[leg] = "closed"
        self.happen(DialFailed(leg, status))

    @rule()
    @precondition(lambda self: not self.ended and self.upstream("open") is not None)
    def gemini_is_ready(self) -> None:
        """The answer to the setup, or one too many."""
        leg = self.upstream("open")
        assert leg is not None
        self.happen(Received(leg, setup_complete(), False))

    @rule(payload=st.sampled_from(FROM_GEMINI))
    @precondition(lambda self: not self.ended and self.upstream("open") is not None)
    def gemini_speaks(self, payload: bytes) -> None:
        """Any message, expected or not."""
        leg = self.upstream("open")
        assert leg is not None
        self.happen(Received(leg, payload, False))

    @rule(close=st.sampled_from(CLOSES), chance=st.integers(0, 3))
    @precondition(lambda self: not self.ended and self.upstream("open") is not None)
    def gemini_leaves(self, close: tuple[int, str], chance: int) -> None:
        """The upstream leg is gone; in a conversation only seldom."""
        if self.session.state is State.RELAYING and chance:
            return
        leg = self.upstream("open")
        assert leg is not None
        self.legs[leg] = "closed"
        self.happen(Closed(leg, *close))

    @rule(payload=st.sampled_from(FROM_GEMINI), event=st.sampled_from(["said", "stuck", "closed"]))
    @precondition(lambda self: not self.ended and (self.upstream("open") or self.upstream("dialling")))
    def an_old_leg_stirs(self, payload: bytes, event: str) -> None:
        """Something arrives late from a leg that has a successor."""
        old = max((leg for leg, state in self.legs.items() if leg != DOWNSTREAM and state == "closed"), default=None)
        if old is not None:
            before = self.heard[:], dict(self.reached), dict(self.timers)
            late: dict[str, Event] = {
                "said": Received(old, payload, False),
                "stuck": Stuck(old),
                "closed": Closed(old, 1007, "API key not valid"),
            }
            self.happen(late[event])
            assert (self.heard, self.reached, self.timers) == before
            assert not self.ended

    @rule(chance=st.integers(0, 7))
    @precondition(lambda self: not self.ended)
    def time_passes(self, chance: int) -> None:
        """The next timer is due; seldom one that ends the session."""
        timer = min(self.timers, key=lambda timer: self.timers[timer])
        if timer is Timer.REDIAL or chance == 0:
            self.now = max(self.now, self.timers.pop(timer))
            self.happen(TimerFired(timer))

    @rule(data=st.data(), chance=st.integers(0, 9))
    @precondition(lambda self: not self.ended)
    def something_goes_wrong(self, data: st.DataObject, chance: int) -> None:
        """Seldom: the client breaks a rule, leaves or stalls, or the relay shuts down."""
        if chance == 0:
            mishaps: list[Event] = [
                *(Received(DOWNSTREAM, payload, True) for payload in FORBIDDEN),
                Closed(DOWNSTREAM, 1006, ""),
                Stuck(DOWNSTREAM),
                DrainRequested(),
            ]
            mishap = data.draw(st.sampled_from(mishaps))
            if not (mishap == Received(DOWNSTREAM, SETUPS[0], True) and self.session.state is State.AWAITING_SETUP):
                self.happen(mishap)

    @rule(payload=st.sampled_from([*SETUPS, *FROM_GEMINI, *FORBIDDEN]), leg=st.integers(0, 2))
    @precondition(lambda self: self.ended)
    def something_comes_after_the_end(self, payload: bytes, leg: int) -> None:
        """Nothing follows from it; then the next client connects."""
        self.happen(Received(leg, payload, True))
        assert self.ended == 1
        self.connect()

    # What must hold --------------------------------------------------------------------------------------------------

    @property
    def delivered(self) -> list[bytes]:
        """What reached Gemini on the last leg, after the setup."""
        return self.reached[max(self.reached)][1:] if self.reached else []

    @invariant()
    def gemini_gets_the_client_s_messages_in_order_and_once(self) -> None:
        """What reached Gemini is a beginning of what was sent; in a conversation it is all of it."""
        assert self.delivered == self.sent[: len(self.delivered)]
        if self.session.state is State.RELAYING:
            assert self.delivered == self.sent
        assert self.session.meter.frames_up == len(self.delivered)
        assert self.session.meter.bytes_up == sum(map(len, self.delivered))

    @invariant()
    def every_leg_begins_with_the_setup_and_only_the_last_has_more(self) -> None:
        """Nothing of the conversation is said to a leg that did not answer the setup."""
        for leg, payloads in self.reached.items():
            assert [payload.startswith(b'{"setup":{"model"') for payload in payloads] == [
                True,
                *[False] * (len(payloads) - 1),
            ]
            assert leg == max(self.reached) or len(payloads) == 1

    @invariant()
    def the_client_hears_the_answer_to_its_setup_first(self) -> None:
        """Nothing reaches it before setupComplete, and no handle of Gemini's ever."""
        assert not self.heard or self.heard[0] == setup_complete()
        assert not any(b'"theirs"' in payload for payload in self.heard)

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        """Messages wait only before the conversation, and never more than the bound."""
        held = self.session.holding.held_bytes
        assert 0 <= held <= LIMITS.held_bytes
        assert held == 0 or self.session.state in (State.CONNECTING, State.CLOSED)

    @invariant()
    def a_session_has_ended_when_its_state_says_so(self) -> None:
        """One End, and only with it the last state."""
        assert self.ended == (self.session.state is State.CLOSED)

    @invariant()
    def a_session_never_waits_for_nothing(self) -> None:
        """As long as it lives there is a timer that will end it, and none that no longer applies."""
        if not self.ended:
            assert Timer.SESSION in self.timers
            assert (Timer.SETUP in self.timers) == (self.session.state is State.AWAITING_SETUP)
            assert (Timer.CONNECT in self.timers) == (self.session.state is State.CONNECTING)
            if self.session.state is State.CONNECTING:
                assert Timer.REDIAL in self.timers or self.upstream("open") or self.upstream("dialling")

    def teardown(self) -> None:
        """Whatever came before, a drain ends it, once."""
        self.happen(DrainRequested())
        assert self.ended == 1
        self.happen(DrainRequested())


TestNetwork: Any = Network.TestCase
TestNetwork.settings = settings(max_examples=5 * settings().max_examples)
