"""The watch over a Gemini that owes an answer: silence is the only sign of some deaths."""

from typing import Any

from relay.core.commands import Command, SetTimer
from relay.core.events import Timer
from relay.core.memory import Shared


class Watch:
    """Looks, while an answer is owed, whether Gemini says anything at all; costs nothing while none is."""

    def __init__(self, stall_after_s: float, shared: Shared) -> None:
        self._stall_after_s = stall_after_s
        self._shared = shared
        self._set = False

    def begin(self, setup: dict[str, Any], now: float) -> list[Command]:
        """Begin to look, unless that is being done or there is nothing to wait for."""
        # With proactivity, Gemini may stay silent.
        if self._set or not self._shared.waits_for_gemini or "proactivity" in setup:
            return []
        self._set = True
        return [SetTimer(Timer.STALL, now + self._stall_after_s)]

    def look(self, now: float) -> list[Command] | None:
        """The timer is due: None when Gemini has stalled, else when to look again, if ever."""
        self._set = False
        if not self._shared.waits_for_gemini:
            return []
        due_at = self._shared.turns.heard_at + self._stall_after_s
        if due_at <= now:
            return None
        self._set = True
        return [SetTimer(Timer.STALL, due_at)]

    def end(self) -> None:
        """The leg is being left."""
        self._set = False
