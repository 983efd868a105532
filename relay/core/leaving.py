"""How a session ends in its own time: its length is over, nobody speaks or writes, its tenant's budget is spent.

A spent budget lets the turn in progress end, for a grace. Where the operator has words for the end, the relay then says
them to Gemini as a turn of its own, and what Gemini makes of them is the last that the client hears. The words are a
prompt: they go to Gemini and nowhere else.
"""

from relay.core.client_frames import ClientFrame
from relay.core.closing import Close, CloseReason
from relay.core.commands import Command, End, SetTimer
from relay.core.events import Timer
from relay.core.journal import outgoing
from relay.core.limits import Limits
from relay.core.line import Line
from relay.core.memory import Shared


class Leaving:
    """The ends that limits put to one session."""

    def __init__(self, limits: Limits, shared: Shared, line: Line) -> None:
        self.close: Close | None = None
        """With which words the session ends when its turn has ended."""
        self.has_the_floor = False
        """The relay has said the last thing that Gemini is to answer: what the client says goes nowhere."""
        self._session_s = limits.session_s
        self._quotas = limits.quotas
        self._shared = shared
        self._line = line
        self._ready_at: float | None = None
        self._completed = 0
        """Turns that were complete when the relay took the floor."""

    def begin(self, now: float) -> list[Command]:
        """The session begins."""
        return [] if self._session_s is None else [SetTimer(Timer.SESSION, now + self._session_s)]

    def ready(self, now: float) -> list[Command]:
        """Gemini is ready: from now on somebody should speak or write."""
        self._ready_at = now
        return [] if self._quotas.idle_s is None else [SetTimer(Timer.IDLE, now + self._quotas.idle_s)]

    def leave(self, close: Close, now: float) -> list[Command]:
        """The session is to end like this: the turn in progress may end, and then the session does."""
        if self.close is not None:
            return []
        self.close = close
        return [SetTimer(Timer.GRACE, now + self._quotas.grace_s)]

    def concluded(self, now: float) -> list[Command]:
        """After every event: what is to be said at the end, or the end, if no turn is in progress any more."""
        turns = self._shared.turns
        if self.close is None or not turns.idle or self._shared.conversation.awaits_answers:
            return []
        if self.has_the_floor:  # a handover may have cut the answer; then it is asked for again
            return [End(self.close)] if turns.completed > self._completed else []
        return self._wrap_up(now) if self._may_wrap_up() else [End(self.close)]

    def timer(self, timer: Timer, now: float) -> list[Command]:
        """The grace or the session's length is over, or it is time to look whether somebody is there."""
        match timer:
            case Timer.SESSION:
                close = Close(CloseReason.SESSION_TOO_LONG)
                return self.leave(close, now) if self._may_wrap_up() else [End(close)]
            case Timer.IDLE:
                return self._look(now)
            case _:
                return [End(self.close)] if self.close is not None else []

    def _look(self, now: float) -> list[Command]:
        lively_at = self._shared.meter.lively_at
        if lively_at is None:
            lively_at = self._ready_at
        if self._quotas.idle_s is None or lively_at is None or self.close is not None:
            return []
        ends_at = lively_at + self._quotas.idle_s
        return [SetTimer(Timer.IDLE, ends_at)] if now < ends_at else [End(Close(CloseReason.IDLE))]

    def _may_wrap_up(self) -> bool:
        """Whether there is something to say, and somebody to hear the answer."""
        hears = self._ready_at is not None and self._shared.downstream.attached
        return bool(self._quotas.wrap_up) and hears and not self._shared.conversation.seeding

    def _wrap_up(self, now: float) -> list[Command]:
        turns = self._shared.turns
        self.has_the_floor, self._completed = True, turns.completed
        # As realtimeInput, which every model takes: 3.1 was seen to refuse clientContent in mid-session (2026).
        frame = ClientFrame("realtimeInput", {"text": self._quotas.wrap_up})
        if self._shared.meter.audio_bytes_up and self._hears_speech():
            # Who speaks just now is not heard any more: Gemini would wait for the end of the sentence for ever.
            frame.body["audioStreamEnd"] = True
        turns.from_client(frame, now)
        return self._line.send(outgoing(frame, frame.encode()), now) + self._line.watch(now)

    def _hears_speech(self) -> bool:
        """Whether Gemini finds out by itself who speaks; elsewhere the mark is refused."""
        config = self._line.setup.get("realtimeInputConfig", {})
        return not config.get("automaticActivityDetection", {}).get("disabled")
