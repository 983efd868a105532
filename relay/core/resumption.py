"""Gemini's resumption handles of one session: the newest usable one, and a few to go back to."""

from collections import deque

from relay.core.secret import NOTHING, Secret

KEPT = 3
"""Handles remembered: the newest, and some to go back to when that one turns out to be dead."""


class Resumption:
    """The handles that were issued, newest last."""

    def __init__(self) -> None:
        self.issued = 0
        """Usable handles so far."""
        self._handles: deque[tuple[Secret, int]] = deque(maxlen=KEPT)

    @property
    def newest(self) -> Secret:
        """The handle to resume from; empty when there is none."""
        return self._handles[-1][0] if self._handles else NOTHING

    @property
    def covered(self) -> int:
        """How many client messages are in the state behind the newest handle."""
        return self._handles[-1][1] if self._handles else 0

    def add(self, handle: Secret, covered: int) -> None:
        """Gemini issued a usable handle for a state that holds `covered` client messages: the newest from now on."""
        self._handles.append((handle, covered))
        self.issued += 1

    def discard(self) -> None:
        """The newest handle is dead, or the state behind it is: never use it again."""
        if self._handles:
            self._handles.pop()

    def clear(self) -> None:
        """Nothing that was issued leads to the present session: it was begun anew."""
        self._handles.clear()
