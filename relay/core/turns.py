"""Whose turn it is: what both sides said last, whether an answer is owed, until when it presumably plays.

Feeds two questions: is this a safe point for a planned handover, and is Gemini silent although it owes an answer?
"""

from collections import deque
from typing import Any

from relay.core.client_frames import ClientFrame
from relay.core.server_frames import ServerFrame

PCM_BYTES_PER_S = 48_000
"""What Gemini speaks: 24 kHz, 16 bit, mono."""

_REMEMBERED_TEXTS = 20
"""Newest pieces of transcript, to recognise those that a resumed session sends again."""


class Turns:
    """The state of the conversation's turns."""

    def __init__(self) -> None:
        self.speaking = False
        """A turn of the model is in progress, as far as messages tell."""
        self.generated = False
        """That turn's answer is complete; Gemini only waits until it has presumably been played."""
        self.activity_open = False
        """The client has marked the beginning of its turn, and not the end (manual activity detection)."""
        self.owed = False
        """The client said something that Gemini must answer."""
        self.plays_until = 0.0
        """When what was spoken so far has presumably been played."""
        self.began_at = 0.0
        """When the model's present turn began."""
        self.heard_at = 0.0
        """When Gemini last said anything."""
        self.completed = 0
        """Turns of the model whose answer was whole, or cut short by the user."""
        self._interrupted = False
        self._texts: deque[str] = deque(maxlen=_REMEMBERED_TEXTS)
        self._echoes: list[str] = []

    @property
    def idle(self) -> bool:
        """Nobody's turn is in progress, and nothing is owed."""
        return not (self.speaking or self.owed or self.activity_open)

    @property
    def waiting(self) -> bool:
        """Gemini must say something next."""
        return self.owed or (self.speaking and not self.generated)

    def from_client(self, frame: ClientFrame, now: float) -> None:
        """A message went, or waits to go, to Gemini."""
        body = frame.body
        if frame.kind == "realtimeInput":
            if "activityStart" in body:
                self.activity_open = True
            if "activityEnd" in body:
                self.activity_open = False
                self._owe(now)
            if "text" in body:
                self._owe(now)
        elif body.get("turnComplete") or any(_wants_answer(answer) for answer in body.get("functionResponses", ())):
            self._owe(now)

    def from_gemini(self, frame: ServerFrame, now: float) -> None:
        """Gemini said something."""
        self.heard_at = now
        if frame.speaks and not self.speaking:
            self.speaking, self.owed, self.began_at = True, False, now
            self.generated = self._interrupted = False
        if frame.call_ids:
            self.owed = False
        if frame.audio_bytes:
            self.plays_until = max(now, self.plays_until) + frame.audio_bytes / PCM_BYTES_PER_S
        if frame.output_text:
            self._texts.append(frame.output_text)
        if frame.generation_complete:
            self.generated = True
        if frame.interrupted:
            self._interrupted = True
            self.plays_until = now
        if frame.turn_complete:
            self.speaking, self.generated = frame.more_turns, False
            self.completed += not frame.more_turns
            # After an interruption the answer to what interrupted is still to come.
            self.owed = self.owed and self._interrupted
            self._interrupted = False

    def cut(self, now: float) -> None:
        """Gemini's turn ended in the middle, with its leg: it will never be continued."""
        if not self.generated:
            self.plays_until = now
        self.completed += self.generated
        self.speaking = self.generated = self._interrupted = False

    def resumed(self) -> None:
        """A new leg took over. Where no answer is owed, transcript that was sent before may come again."""
        self._echoes = [] if self.owed else list(self._texts)

    def repeats(self, frame: ServerFrame) -> bool:
        """Whether a message only says again, after a resume, what the client was told before it."""
        if not self._echoes:
            return False
        if not frame.output_text or frame.audio_bytes or frame.turn_complete or frame.output_text not in self._echoes:
            if frame.speaks:
                self._echoes = []
            return False
        del self._echoes[: self._echoes.index(frame.output_text) + 1]
        return True

    def _owe(self, now: float) -> None:
        self.owed = True
        self._echoes = []  # what is said from now on answers this
        self.heard_at = max(self.heard_at, now)


def _wants_answer(function_response: dict[str, Any]) -> bool:
    """Whether Gemini says something to a function's result: not to a part of it, nor where it was told to be silent."""
    return not function_response.get("willContinue") and function_response.get("scheduling") != "SILENT"
