"""What Gemini knows of the conversation: the state behind the newest handle, and the journal of what came after it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relay.core.client_frames import ClientFrame
from relay.core.closing import CloseReason
from relay.core.commands import Command, Ping, Send
from relay.core.downstream import Downstream
from relay.core.handover import REFUSALS, Cause, Continuity, Crossing, Outcome
from relay.core.holding import Holding
from relay.core.journal import ACTIVITY_START, Journal, Outgoing, Sort
from relay.core.meter import Meter
from relay.core.policy import Conversation
from relay.core.resumption import Resumption
from relay.core.secret import Secret
from relay.core.server_frames import Resumption as Update
from relay.core.turns import Turns


@dataclass(frozen=True, slots=True)
class Shared:
    """What a session and its line to Gemini both work with."""

    downstream: Downstream
    conversation: Conversation
    turns: Turns
    holding: Holding
    meter: Meter
    random: Callable[[], float]
    """Draws from [0, 1) for the pauses between dials."""

    @property
    def waits_for_gemini(self) -> bool:
        """Whether it is Gemini's move: it owes an answer, and waits for no function's."""
        return self.turns.waiting and not self.conversation.awaits_answers


@dataclass(frozen=True, slots=True)
class _Reach:
    """A handle, and how far the state behind it reaches on the present leg."""

    handle: Secret
    place: int
    doubtful_to: int


class Memory:
    """Writes to Gemini, and can tell a new leg again what the handle it was resumed from does not cover."""

    def __init__(self, continuity: Continuity, shared: Shared) -> None:
        self.resumption = Resumption()
        self.journal = Journal(continuity.journal_bytes, continuity.journal_audio_s)
        self._transparent = continuity.transparent
        self._downstream = shared.downstream
        self._turns = shared.turns
        self._conversation = shared.conversation
        self._holding = shared.holding
        self._meter = shared.meter
        self._unacknowledged: Callable[[int], int] = _none_unacknowledged
        self._pinged: tuple[int, float] | None = None
        """The newest message's place, and the instant, of the ping that has no pong yet."""
        self._echoed_place = 0
        """The place up to which the other end has read, as a pong has shown."""
        self._echo_s = 0.0
        """How long the newest pong took."""
        self._midway: _Reach | None = None
        """The newest handle from the middle of the present turn."""
        self._lacks_end = False
        """The newest handle is from the middle of a turn: the state behind it lacks that turn's end."""
        self._known = 0
        """Client messages that Gemini's state holds, or will hold once the journal was told again."""
        self._begun_whole = True
        """No message was ever behind a handle: the journal tells the whole session."""

    @property
    def restorable(self) -> bool:
        """Whether the newest handle and the journal together restore everything, exactly."""
        journal = self.journal
        whole = not (journal.dropped or journal.stale or journal.uncertain or self._lacks_end)
        return whole and bool(self.resumption.newest)

    def ask_tcp(self, unacknowledged: Callable[[int], int]) -> None:
        """From now on ask this how many bytes written to an upstream leg TCP has no acknowledgement for."""
        self._unacknowledged = unacknowledged

    def resume_from(self, handle: Secret) -> None:
        """The session goes on where another one ended."""
        self.resumption.add(handle, 0)
        self._begun_whole = False

    def setup(self, wanted: dict[str, Any]) -> bytes:
        """The setup of the next leg: what is wanted of Gemini, resumed from the newest handle."""
        handle = self.resumption.newest
        resumption: dict[str, Any] = {"handle": handle.reveal()} if handle else {}
        if self._transparent:
            resumption["transparent"] = True
        body = {**wanted, "sessionResumption": resumption}
        if not (self._begun_whole or self._conversation.seeding):
            body.pop("historyConfig", None)  # what comes next is no history: that is behind a handle, or lost
        return ClientFrame("setup", body).encode()

    def forward(self, message: Outgoing, leg: int, now: float) -> Command:
        """Write one client message."""
        payload = message.payload
        self._known += 1
        self.journal.append(message, now)
        self._meter.count_up(len(payload), now)
        return Send(leg, payload, True)

    def flush(self, leg: int, now: float) -> list[Command]:
        """Write what was held; what a newer picture made stale meanwhile counts as dropped."""
        self._meter.frames_dropped_up += self._holding.take_dropped()
        return [self.forward(message, leg, now) for message in self._holding.take_all()]

    def take_handle(self, update: Update, leg: int, in_flight_s: float, now: float) -> bool:
        """Whether an update brought a handle that a new leg may be resumed from.

        None from a time when a function call is open, since the state behind it may not know the call's id. None from
        the middle of a turn, whose state has swallowed the question and will never go on with the answer, unless the
        turn is so long that the question can't be said again anyway; once the turn is complete, that handle is as good
        as any. An empty update changes nothing.
        """
        if not update.handle or not update.resumable or self._conversation.awaits_answers:
            return False
        if self._transparent:
            reach = _Reach(update.handle, update.consumed, 0)
        else:
            place = self.journal.reached(now - in_flight_s, self._unacknowledged(leg))
            reach = _Reach(update.handle, max(place, self._echoed_place), self.journal.place)
        # A handle that comes behind a question may be from before it, and is as good as one that came before.
        in_turn = self._turns.speaking or reach.place >= self.journal.asked_at
        if in_turn and not self._turns.idle and not self.journal.dropped:
            self._midway = reach
            return False
        self._adopt(reach)
        return True

    def ping(self, leg: int, now: float) -> list[Command]:
        """Ask how far the other end has read, where Gemini itself will not tell how far a handle reaches."""
        if self._transparent or self._pinged is not None:
            return []
        self._pinged = self.journal.place, now
        return [Ping(leg)]

    def ponged(self, now: float) -> None:
        """The pong to our ping came."""
        if self._pinged is not None:
            self._echoed_place, sent_at = self._pinged
            self._pinged, self._echo_s = None, now - sent_at

    def lag_s(self, now: float) -> float:
        """How long the other end takes, by its pongs, to read what was written; 0 for one that never sent any."""
        if self._pinged is None or not self._echo_s:
            return self._echo_s
        return max(self._echo_s, now - self._pinged[1])

    def turn_completed(self) -> bool:
        """A turn of the model is complete; whether a handle from its middle may be resumed from now."""
        if self._midway is None or not self._turns.idle or self._conversation.awaits_answers:
            return False
        self._adopt(self._midway)
        self._lacks_end = True
        return True

    def _adopt(self, reach: _Reach) -> None:
        self._midway, self._lacks_end = None, False
        self.journal.cover(reach.place, reach.doubtful_to)
        self.resumption.add(reach.handle, self._known - len(self.journal) - self.journal.dropped)
        self._begun_whole = False

    def forget(self) -> None:
        """The session is over: keep nothing of what the client said any more, and nobody to ask."""
        self._unacknowledged = _none_unacknowledged
        self.journal.new_leg()
        self._holding.take_all()

    def learn(self, crossing: Crossing, before: Crossing, meaning: CloseReason) -> bool:
        """What a leg that was lost soon after a handover tells of its handle; False when nothing is left to try."""
        crossing.inherit(before)
        crossing.refusals += crossing.cause is Cause.FAILED
        if meaning is CloseReason.UPSTREAM_SETUP_REFUSED and not crossing.without_audio:
            crossing.without_audio = True  # 1007 right after a replay was seen where the replayed audio was the reason
            return True
        return self.blame_handle(crossing) if meaning in REFUSALS or crossing.refusals > 1 else True

    def blame_handle(self, crossing: Crossing) -> bool:
        """The newest handle is no good: go back to an older one, once, or begin anew, once; False when both were."""
        if crossing.fresh:
            return False
        covered = self.resumption.covered
        self.resumption.discard()
        if crossing.rolled_back or not self.resumption.newest:
            crossing.fresh = True
            self.resumption.clear()
        else:
            crossing.rolled_back = True
        crossing.refusals = 0
        crossing.dropped += covered - self.resumption.covered
        return True

    def cut_turn(self, crossing: Crossing | None, now: float) -> list[Command]:
        """End for the client what the leg that is left had begun, and no other leg will end."""
        turns, self._midway = self._turns, None
        calls = sorted(call for call in self._conversation.open_calls if call)
        if crossing is None or not (turns.speaking or self._conversation.awaits_answers):
            return []
        self._conversation.settled(self._conversation.open_calls.copy())  # with those that have no id to be named by
        self._conversation.nameless = False
        if turns.generated:  # the client has the whole answer: the question must not be answered again
            self.journal.settle(turns.began_at)
        complete = turns.generated and not calls
        crossing.turn_cut = crossing.turn_cut or not complete
        turns.cut(now)
        return self._downstream.end_turn(interrupted=not complete, cancelled=calls)

    def say_again(self, crossing: Crossing, leg: int, now: float) -> list[Command]:
        """Tell a new leg what its state lacks; what it can't or must not be told counts as dropped."""
        self._midway = self._pinged = None
        self._echoed_place, self._echo_s = 0, 0.0
        was_open, fallen_out = self.journal.activity_was_open, self.journal.dropped
        entries = self.journal.new_leg()
        again = [entry for entry in entries if _is_replayed(entry, crossing)]
        crossing.dropped += fallen_out + len(entries) - len(again)
        crossing.replayed = len(again)
        crossing.uncertain = sum(entry.doubtful for entry in again)
        self._known -= crossing.dropped
        if _must_reopen(was_open, entries, crossing):
            again.insert(0, Outgoing(ACTIVITY_START, Sort.ACTIVITY_START))  # outside a turn of the user's it is refused
            self._known += 1
        for entry in again:
            entry.doubtful = False
            self.journal.append(entry, now)
        return [Send(leg, entry.payload, True) for entry in again]

    def outcome(self, crossing: Crossing) -> Outcome:
        """How much of the conversation the new leg knows."""
        if self.resumption.newest:
            return Outcome.ROLLED_BACK if crossing.rolled_back else Outcome.RESTORED
        return Outcome.REPLAYED if self._begun_whole and not crossing.dropped else Outcome.FRESH


def _none_unacknowledged(_leg: int) -> int:
    """For as long as nobody has sockets to ask."""
    return 0


def _must_reopen(was_open: bool, entries: list[Outgoing], crossing: Crossing) -> bool:
    """Whether the first thing that is said again, or comes after it, belongs to a turn the user began before it."""
    for entry in entries:
        if _is_replayed(entry, crossing):
            return was_open and entry.sort is not Sort.ACTIVITY_START
        if entry.sort in (Sort.ACTIVITY_START, Sort.ACTIVITY_END):
            was_open = entry.sort is Sort.ACTIVITY_START
    return was_open


def _is_replayed(entry: Outgoing, crossing: Crossing) -> bool:
    return bool(entry.payload) and not entry.answered and not (crossing.without_audio and entry.sort is Sort.AUDIO)
