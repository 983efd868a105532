"""The answers of one connection: when they start, what they say, how they are called off. Pure; told the time.

Owns the turn in progress and the open function calls. What was heard comes from the dialogue; frames go to the line.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from relay.sim import rejections, replies, speech, stamp, tools, turns
from relay.sim.archive import Session
from relay.sim.conversation import Call, Utterance, audio_tokens, text_tokens
from relay.sim.families import Backend
from relay.sim.google import Google
from relay.sim.line import Line
from relay.sim.rejections import Rejection
from relay.sim.replies import Heard
from relay.sim.rules import Settings
from relay.sim.turns import Step
from relay.sim.usage import Spoken, usage_metadata


@dataclass(slots=True)
class Turn:
    """An answer in progress; without steps it waits for functions to answer."""

    steps: Iterator[Step]
    begun_at: float
    next_step: Step | None = None
    frames: int = 0
    words: str = ""
    audio_s: float = 0.0
    """Audio sent so far."""
    ends_at: float | None = None
    """When turnComplete is due; None until everything was generated."""


class Mouth:
    """Speaks for one connection."""

    def __init__(
        self, line: Line, session: Session, settings: Settings, google: Google, tell: Callable[[str, float], None]
    ) -> None:
        self._line = line
        self._session = session
        self.settings = settings
        """How the connection behaves; a contextUpdate exchanges it."""
        self._profile = google.profile
        self._random = google.random
        self._tell = tell
        """Told what happened (an event of `scenario.EVENTS`) and when."""
        self._turn: Turn | None = None
        self._queue: deque[Heard | str] = deque()

    # -- what others ask ---------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """An answer or a function call is going on, or due: the state can't be resumed."""
        return self._turn is not None or bool(self._session.conversation.calls or self._queue)

    @property
    def turn_frames(self) -> int:
        """Frames of the answer in progress sent so far."""
        return self._turn.frames if self._turn else 0

    @property
    def wakes_at(self) -> float | None:
        """When `wake` has something to do."""
        turn = self._turn
        if turn is None:
            return None
        if turn.next_step is None:
            return turn.ends_at
        burst = self._profile.burst
        return turn.begun_at + (turn.next_step.offset_s / burst if burst else 0.0)

    # -- what others do ----------------------------------------------------------------------------------------

    def answer(self, what: Heard | str, now: float) -> None:
        """Answer what was heard, or say these words; after the present answer, if there is one."""
        if self._turn is not None or self._blocked():
            self._queue.append(what)
            return
        if isinstance(what, Heard):
            functions = tools.asked_for(what.text, self.settings.functions)
            if functions:
                calls = [self._call(f.name, tools.arguments_for(f, what.text), f.blocking) for f in functions]
                self.call(calls, now)
                return
        self._begin(now)
        if isinstance(what, Heard) and self.settings.manner.family.interaction_status:
            self._queue.appendleft(self._words_for(what))  # this family answers in more than one turn
            what = "Let me think about that."
        self._speak(self._words_for(what), now)

    def call(self, calls: list[Call], now: float) -> None:
        """Call functions; an answer in progress goes on beside non-blocking ones."""
        blocking = any(call.blocking for call in calls)
        if self._turn is None:
            self._begin(now)
        conversation = self._session.conversation
        self._session.conversation = replace(conversation, calls=(*conversation.calls, *calls))
        self._line.send("toolCall", {"functionCalls": [tools.function_call(call) for call in calls]})
        self._tell("tool_call", now)
        if blocking and self._profile.call_ends_turn:
            self._end(now)
        elif not blocking and self._turn is not None and self._turn.next_step is None:
            names = " and ".join(call.name for call in calls)
            self._speak(f"One moment, I am asking {names}.", now)

    def new_call(self, name: str, arguments: dict[str, Any], blocking: bool) -> Call:
        """A call with a fresh id."""
        return self._call(name, arguments, blocking)

    def tool_response(self, body: dict[str, Any], now: float) -> Rejection | None:
        """Take the answers of functions; speak of them as their scheduling asks."""
        outcomes: list[tuple[str, str]] = []
        interrupts = waited = False
        for response in body.get("functionResponses", []):
            call = self._call_of(response)
            if call is None:
                if self._profile.unknown_call == "close":
                    return rejections.BAD_ARGUMENT
                continue
            said = tools.outcome(response.get("response", {}))
            self._note(Utterance("tool", said, text_tokens=text_tokens(said)))
            if not response.get("willContinue"):
                self._forget_calls([call.id])
            if call.blocking or response.get("scheduling", "WHEN_IDLE") != "SILENT":
                outcomes.append((call.name, said))
            interrupts |= not call.blocking and response.get("scheduling") == "INTERRUPT"
            waited |= call.blocking
        if not outcomes or self._blocked():
            return None
        words = self._words_about(outcomes)
        if waited:
            self._resume_turn(words, now)
        else:
            if interrupts:
                self.interrupt(now)
            self.answer(words, now)
        return None

    def interrupt(self, now: float) -> None:
        """The user takes the floor: cancel blocking calls, end the answer where it is, forget what was queued."""
        blocking = [call.id for call in self._session.conversation.calls if call.blocking]
        if blocking:
            self.cancel(blocking)
        self._queue.clear()
        if self._turn is not None:
            self._line.send("serverContent", {"interrupted": True})
            self._end(now)

    def cancel(self, ids: list[str]) -> None:
        """Cancel open calls."""
        self._forget_calls(ids)
        self._line.send("toolCallCancellation", {"ids": ids})

    def open_calls(self) -> list[str]:
        """The ids of the calls that wait for an answer."""
        return [call.id for call in self._session.conversation.calls]

    def wake(self, now: float) -> None:
        """Send the next frame of the answer, or end it."""
        turn = self._turn
        if turn is None:
            return
        step = turn.next_step
        if step is None:
            self._end(now)
            return
        pcm = step.pcm
        if pcm and self._profile.numbered:
            pcm = stamp.put(pcm, self._line.next_number(), now)
        self._line.send("serverContent", turns.server_content(step, self.settings.manner, pcm))
        turn.frames += 1
        turn.words += step.words
        turn.audio_s += len(pcm) / speech.BYTES_PER_S
        turn.next_step = next(turn.steps, None)
        if turn.next_step is None:
            played_at = turn.begun_at + turn.audio_s
            turn.ends_at = max(now, played_at) if self._profile.playback_wait else now
            self._tell("generation_complete", now)
        self._tell("frame", now)

    # -- inside ------------------------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        conversation = self._session.conversation
        self._session.conversation = replace(conversation, turns=conversation.turns + 1)
        self._turn = Turn(iter(()), now + self._profile.first_audio_delay_s)
        self._tell("turn_start", now)

    def _speak(self, words: str, now: float) -> None:
        turn = self._turn
        if turn is None:  # a scripted step ended it at once
            return
        turn.steps = turns.plan(words, self.settings.manner)
        turn.begun_at = now + self._profile.first_audio_delay_s
        turn.next_step = next(turn.steps, None)

    def _resume_turn(self, words: str, now: float) -> None:
        """Go on after blocking calls: in the same turn, or for some models in a second one."""
        if self._turn is not None and self.settings.manner.family.splits_tool_turn:
            if self.settings.manner.transcript:
                self._line.send("serverContent", {"outputTranscription": {"finished": True}})
            self._line.send("serverContent", {"generationComplete": True})
            self._end(now, next_queued=False)
        if self._turn is None:
            self._begin(now)
        self._speak(words, now)

    def _end(self, now: float, next_queued: bool = True) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        family, audio = self.settings.manner.family, self.settings.manner.audio
        spoken = Spoken(
            text_tokens=0 if audio else text_tokens(turn.words),
            audio_tokens=audio_tokens(turn.audio_s) if audio else 0,
        )
        if turn.words or turn.audio_s:
            self._note(Utterance("model", turn.words, spoken.text_tokens, spoken.audio_tokens))
        before = replace(self._session.conversation, utterances=self._session.conversation.utterances[:-1])
        billed = before if turn.words or turn.audio_s else self._session.conversation
        usage = usage_metadata(billed, self.settings.instruction, spoken, family, self.settings.backend)
        self._session.bills += 1
        content: dict[str, Any] = {"turnComplete": True}
        if family.transcript_first:
            content["groundingMetadata"] = {}
        if family.interaction_status:
            content["interactionStatus"] = "IN_PROGRESS" if self.busy else "IDLE"
        self._line.send("serverContent", content, {"usageMetadata": usage})
        self._tell("turn_complete", now)
        if next_queued and self._queue and not self._blocked():
            self.answer(self._queue.popleft(), now)

    def _words_for(self, what: Heard | str) -> str:
        if isinstance(what, str):
            return what
        session = self._session
        return replies.answer(what, session.conversation, len(session.connections), self.settings.manner.voice)

    def _words_about(self, outcomes: list[tuple[str, str]]) -> str:
        return replies.answer_to_tools(outcomes, self._session.conversation, len(self._session.connections))

    def _call(self, name: str, arguments: dict[str, Any], blocking: bool) -> Call:
        return Call(tools.call_id(self.settings.manner.family.call_id, self._random), name, arguments, blocking)

    def _call_of(self, response: dict[str, Any]) -> Call | None:
        calls = self._session.conversation.calls
        if response.get("id"):
            return next((call for call in calls if call.id == response["id"]), None)
        if self.settings.backend is Backend.VERTEX:  # there the id is optional and the name tells
            return next((call for call in calls if call.name == response.get("name")), None)
        return None

    def _blocked(self) -> bool:
        return any(call.blocking for call in self._session.conversation.calls)

    def _forget_calls(self, ids: list[str]) -> None:
        conversation = self._session.conversation
        self._session.conversation = replace(
            conversation, calls=tuple(call for call in conversation.calls if call.id not in ids)
        )

    def _note(self, utterance: Utterance) -> None:
        self._session.conversation = self._session.conversation.say(utterance)
