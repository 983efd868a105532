"""A stateful model: a mostly well-behaved client and Gemini, on a bad network, with any interleaving of events.

The model plays the driver: it carries out commands, keeps the timers, and delivers only what a driver could deliver.
`google.Gemini` keeps a ledger of what it consumed as part of the state behind each handle, `caller.Caller` one of what
it heard. Whatever happens: in order, exactly once or else counted, within bounds, and every session ends, once.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from relay.core.commands import (
    Rejoin,
)
from relay.core.events import (
    DOWNSTREAM,
    BudgetSpent,
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
from relay.core.session import Session
from relay.core.state import State
from tests.core.playbook import (
    FakeHandles,
    compact,
    content,
    gemini,
    generated,
    go_away,
    interrupted,
    issued,
    microphone,
    pretty,
    setup_complete,
    spoken,
    tool_answer,
    tool_call,
    turn_complete,
)
from tests.properties.google import At
from tests.properties.wire import HELD_BYTES, JOURNAL_BYTES, PARKING_BYTES, Wire

FORBIDDEN = [
    b"",
    b"{}",
    b'{"setup":{}}',
    b'{"contextUpdate":{}}',
    b'{"toolResponse":{"functionResponses":[{"id":"x"}]}}',
]
UNUSABLE = [{}, {"newHandle": "", "resumable": True}, {"newHandle": "not now"}]
CLOSES = [
    (1000, ""),
    (1006, ""),
    (1006, ""),
    (1011, "Internal error"),
    (1011, "Deadline expired"),
    (1008, "BidiGenerateContent session not found"),
    (1007, "Request contains an invalid argument."),
    (1011, "You exceeded your current quota"),
]
ENDING = {Timer.SETUP, Timer.CONNECT, Timer.PARKING, Timer.SESSION, Timer.GRACE}
"""Timers that end a session, or may: in most runs time does not get there."""


SELDOM = st.sampled_from([False] * 15 + [True])


def picture(number: int) -> bytes:
    """A frame of video, unlike every other."""
    return compact({"realtimeInput": {"video": {"data": f"{number:04}", "mimeType": "image/jpeg"}}})


class Network(Wire):
    """Everything that can happen, and go wrong."""

    # The client ------------------------------------------------------------------------------------------------------

    def say(self, payload: bytes) -> None:
        """The client says something; it is told to Gemini, held, or of no use to anybody."""
        if self.session.leaving.has_the_floor:
            self.sent.append(payload)  # it goes nowhere, and is counted as dropped
            self.happen(Received(DOWNSTREAM, payload, True))
            return
        before = self.session.meter.frames_up + self.session.holding.held_frames
        waiting = len(self.session.holding)
        self.happen(Received(DOWNSTREAM, payload, True))
        flushed = waiting and len(self.session.holding) == 0  # what waited was counted when it began to wait
        after = self.session.meter.frames_up + self.session.holding.held_frames - (waiting if flushed else 0)
        if after > before and not self.ended:
            self.sent.append(payload)

    @rule(how=st.lists(st.sampled_from(["audio", "audio", "audio", "text", "video"]), min_size=1, max_size=5))
    @precondition(lambda self: not self.ended and self.caller.here and not self.session.parked and self.may_speak())
    def client_speaks(self, how: list[str]) -> None:
        """Messages unlike every other."""
        for sort in how:
            self.number += 1
            said = {"text": spoken(f"{self.number}"), "audio": microphone(self.number), "video": picture(self.number)}
            if not self.ended:
                self.say(said[sort])

    def may_speak(self) -> bool:
        """Before it has come back for the first time a client may be in a hurry; then it waits for its new handle."""
        return self.caller.ready or self.session.downstream.generation == 0

    @rule()
    @precondition(lambda self: not self.ended and self.caller.calls and not self.session.parked and self.may_speak())
    def client_answers_a_call(self) -> None:
        """In time or late."""
        self.say(tool_answer(self.caller.calls.pop()))

    @rule(count=st.integers(1, 5))
    @precondition(lambda self: not self.ended and self.caller.pipe)
    def client_receives(self, count: int) -> None:
        """Some of what is under way."""
        self.caller.receive(count)

    @rule(received=st.integers(0, 5), code=st.sampled_from([1001, 1006]), noticed=st.booleans())
    @precondition(lambda self: not self.ended and self.caller.here and self.caller.handle)
    def client_drops(self, received: int, code: int, noticed: bool) -> None:
        """Its socket dies with some of what was under way; the relay may notice only later."""
        self.caller.drop(received)
        if noticed:
            self.happen(Closed(DOWNSTREAM, code, ""))

    @rule()
    @precondition(lambda self: not self.ended and not self.caller.here)
    def client_returns(self) -> None:
        """On another socket, whose own session turns out to be this one: always, within the window."""
        handle = self.caller.come_back(counted=self.counts)
        visitor = Session("s2", self.policy, self.limits, FakeHandles(), lambda: 0.0)
        setup = compact({"setup": {"sessionResumption": {"handle": handle}}})
        rejoin = visitor.handle(Received(DOWNSTREAM, setup, True), self.now)[-1]
        assert isinstance(rejoin, Rejoin)
        assert self.session.claims(rejoin) is True
        self.happen(self.session.reattachment(rejoin))

    # Gemini ----------------------------------------------------------------------------------------------------------

    def speaker(self) -> int | None:
        """A leg on which Gemini may say something."""
        number = self.gemini.find(At.READY, At.CLOSING)
        return number if number is not None and self.gemini.legs[number].was_ready else None

    @rule()
    @precondition(lambda self: not self.ended and self.gemini.find(At.DIALLED))
    def dial_succeeds(self) -> None:
        """The upgrade is done."""
        leg = self.gemini.find(At.DIALLED)
        assert leg is not None
        self.gemini.legs[leg].at = At.OPEN
        self.happen(Opened(leg))

    @rule(status=st.sampled_from([0, 0, 500, 503, 503, 403]), really=SELDOM)
    @precondition(lambda self: not self.ended and self.gemini.find(At.DIALLED))
    def dial_fails(self, status: int, really: bool) -> None:
        """Nobody there, or an answer that is no upgrade."""
        leg = self.gemini.find(At.DIALLED)
        assert leg is not None
        if really:
            self.gemini.legs[leg].at = At.GONE
            self.happen(DialFailed(leg, status))

    @rule()
    @precondition(lambda self: not self.ended and self.gemini.find(At.SET_UP))
    def gemini_is_ready(self) -> None:
        """The answer to the setup."""
        leg = self.gemini.find(At.SET_UP)
        assert leg is not None
        self.gemini.answer(leg)
        self.happen(Received(leg, setup_complete(), False))

    @rule(count=st.integers(1, 9))
    @precondition(lambda self: not self.ended and self.speaker())
    def gemini_consumes(self, count: int) -> None:
        """Some of what is under way has arrived."""
        leg = self.speaker()
        assert leg is not None
        self.gemini.consume(leg, count)

    @rule(what=st.sampled_from(["word", "word", "turn", "turn", "generated", "interrupted", "call", "cancel", "odd"]))
    @precondition(lambda self: not self.ended and self.speaker())
    def gemini_speaks(self, what: str) -> None:
        """A word of its own, the end of a turn, a call, or something that it should not say."""
        leg = self.speaker()
        assert leg is not None
        self.number += 1
        word = f"word {self.number}"
        said = {
            "word": content(word),
            "turn": turn_complete(),
            "generated": generated(),
            "interrupted": interrupted(),
            "call": tool_call(f"fc_{self.number}"),
            "cancel": pretty({"toolCallCancellation": {"ids": [f"fc_{self.number - 1}"]}}),
            "odd": setup_complete(),
        }
        if what == "word" and self.session.line.hears(leg) and leg in self.heard_legs():
            self.said.append(word)
        self.happen(gemini(said[what], leg=leg))

    def heard_legs(self) -> set[int]:
        """The legs whose words reach the client: the one in use, and the one that is being left."""
        line = self.session.line
        return {line.old} if self.session.state is State.HANDOVER else {line.leg}

    @rule(usable=st.sampled_from([True, True, True, False]), which=st.integers(0, 2))
    @precondition(lambda self: not self.ended and self.speaker())
    def gemini_issues_a_handle(self, usable: bool, which: int) -> None:
        """Or an update that brings none."""
        leg = self.speaker()
        assert leg is not None
        if usable:
            handle = self.gemini.issue(leg, self.now + 0.01)
            index = self.gemini.legs[leg].consumed if self.transparent else 0
            self.happen(gemini(issued(handle, index), leg=leg))
        else:
            self.happen(gemini(pretty({"sessionResumptionUpdate": UNUSABLE[which]}), leg=leg))

    @rule(time_left=st.sampled_from([None, "0s", "4s", "50s", "50s"]))
    @precondition(lambda self: not self.ended and self.gemini.find(At.SET_UP, At.READY))
    def gemini_goes_away(self, time_left: str | None) -> None:
        """Also before it has answered."""
        leg = self.gemini.find(At.SET_UP, At.READY)
        assert leg is not None
        self.happen(gemini(go_away(time_left), leg=leg))

    @rule()
    @precondition(lambda self: not self.ended and self.gemini.find(At.CLOSING))
    def gemini_answers_a_close(self) -> None:
        """With all that was under way consumed."""
        leg = self.gemini.find(At.CLOSING)
        assert leg is not None
        self.lose(leg, 1000, "")

    @rule(close=st.sampled_from(CLOSES), really=SELDOM)
    @precondition(lambda self: not self.ended and self.gemini.find(At.OPEN, At.SET_UP, At.READY))
    def gemini_leaves(self, close: tuple[int, str], really: bool) -> None:
        """A leg is gone, with all that is under way on it; what ends a session is seldom said."""
        leg = self.gemini.find(At.OPEN, At.SET_UP, At.READY)
        assert leg is not None
        if really or close[0] in (1000, 1006):
            self.lose(leg, *close)

    def lose(self, leg: int, code: int, reason: str) -> None:
        """A leg is closed, and the relay hears of it."""
        self.gemini.legs[leg].at, self.gemini.legs[leg].awaited = At.GONE, False
        self.happen(Closed(leg, code, reason))

    @rule(really=SELDOM)
    @precondition(lambda self: not self.ended and self.gemini.find(At.SET_UP, At.READY))
    def gemini_takes_no_data(self, really: bool) -> None:
        """Seldom."""
        leg = self.gemini.find(At.SET_UP, At.READY)
        assert leg is not None
        if really:
            self.happen(Stuck(leg))

    @rule(event=st.sampled_from(["said", "stuck", "closed", "opened", "failed"]))
    @precondition(lambda self: not self.ended and self.gemini.find(At.GONE))
    def a_leg_that_is_gone_stirs(self, event: str) -> None:
        """Nothing follows from it."""
        leg = self.gemini.find(At.GONE)
        assert leg is not None
        late: dict[str, Event] = {
            "said": Received(leg, content("late"), False),
            "stuck": Stuck(leg),
            "closed": Closed(leg, 1007, "API key not valid"),
            "opened": Opened(leg),
            "failed": DialFailed(leg, 403),
        }
        assert self.session.handle(late[event], self.now) == []

    # Time, and what goes wrong ----------------------------------------------------------------------------------------

    @rule(really=SELDOM)
    @precondition(lambda self: not self.ended)
    def time_passes(self, really: bool) -> None:
        """The next timer is due; seldom one that may end the session."""
        timer = min(self.timers, key=lambda timer: self.timers[timer])
        if timer not in ENDING or really:
            self.fire(timer)

    def fire(self, timer: Timer) -> None:
        """A timer is due."""
        self.now = max(self.now, self.timers.pop(timer))
        if timer is Timer.CLOSING:
            for leg in self.gemini.legs.values():
                leg.awaited = False
        self.happen(TimerFired(timer))

    @rule(really=SELDOM)
    @precondition(lambda self: not self.ended)
    def a_budget_is_spent(self, really: bool) -> None:
        """Seldom: from then on the session takes leave, with words of the relay's own."""
        if really:
            self.happen(BudgetSpent("tokens of this day"))

    @rule(payload=st.sampled_from(FORBIDDEN), which=st.integers(0, 2), really=SELDOM)
    @precondition(lambda self: not self.ended and self.caller.here)
    def something_goes_wrong(self, payload: bytes, which: int, really: bool) -> None:
        """Seldom: the client breaks a rule or leaves, or the relay shuts down."""
        mishaps: list[Event] = [Closed(DOWNSTREAM, 1000, ""), DrainRequested()]
        if really and which:
            self.happen(mishaps[which - 1])
        elif really:
            self.say(payload)

    @rule(leg=st.integers(0, 3), payload=st.sampled_from([setup_complete(), spoken("x"), b""]))
    @precondition(lambda self: self.ended)
    def nothing_follows_the_end(self, leg: int, payload: bytes) -> None:
        """Whatever still comes in."""
        assert self.session.handle(Received(leg, payload, True), self.now) == []

    # What must hold --------------------------------------------------------------------------------------------------

    @invariant()
    def gemini_has_every_message_in_order_or_it_is_counted(self) -> None:
        """In the state of the leg in use: lost is at most what was reported dropped, doubled what was uncertain."""
        session = self.session
        if session.state is not State.RELAYING or len(session.holding):
            return  # while something waits it is neither told nor dropped
        told = self.gemini.told(session.line.leg)
        places = {payload: place for place, payload in enumerate(self.sent)}
        firsts = [places[payload] for payload in dict.fromkeys(told)]
        assert firsts == sorted(firsts)
        lost, doubled = len(self.sent) - len(firsts), len(told) - len(firsts)
        dropped = session.meter.frames_dropped_up
        assert lost <= dropped
        assert doubled <= self.uncertain
        if self.transparent:
            assert doubled == 0
            assert lost == dropped or not self.whole

    @invariant()
    def the_client_hears_every_word_in_order_or_it_is_counted(self) -> None:
        """Over all its sockets: once, whether it counts or lets everything since its handle come again."""
        if self.ended or self.session.parked or not self.caller.here:
            return
        heard = self.caller.heard()
        places = {word: place for place, word in enumerate(self.said)}
        found = [places[word] for word in heard]
        assert found == sorted(set(found))
        assert len(self.said) - len(heard) <= self.session.meter.frames_dropped_down

    @invariant()
    def memory_is_bounded(self) -> None:
        """What waits, what is kept for a new leg, what is kept for a client that drops."""
        session = self.session
        assert 0 <= session.holding.held_bytes <= HELD_BYTES
        assert 0 <= session.line.memory.journal.held_bytes <= JOURNAL_BYTES
        assert 0 <= session.downstream.kept_bytes <= PARKING_BYTES

    @invariant()
    def a_session_has_ended_when_its_state_says_so(self) -> None:
        """One End, and only with it the last state."""
        assert self.ended == (self.session.state is State.CLOSED)

    @invariant()
    def a_session_never_waits_for_nothing(self) -> None:
        """Without a usable leg there is always something under way, and a deadline."""
        if not self.ended and self.session.state in (State.CONNECTING, State.HANDOVER):
            assert Timer.CONNECT in self.timers
            under_way = self.gemini.find(At.DIALLED, At.SET_UP) or {Timer.REDIAL, Timer.CLOSING} & self.timers.keys()
            assert under_way

    def teardown(self) -> None:
        """Whatever came before, a session that everybody has left ends by its own clock, once."""
        if self.ended:
            return
        self.happen(Closed(DOWNSTREAM, 1006, ""))
        for _ in range(200):
            if self.ended:
                break
            leg = self.gemini.find(At.DIALLED)
            if leg is not None:
                self.gemini.legs[leg].at = At.GONE
                self.happen(DialFailed(leg, 0))
            else:
                self.fire(min(self.timers, key=lambda timer: self.timers[timer]))
        assert self.session.state is State.CLOSED
        self.happen(DrainRequested())


TestNetwork: Any = Network.TestCase
TestNetwork.settings = settings(max_examples=5 * settings().max_examples, stateful_step_count=60)
