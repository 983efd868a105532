"""Client messages that wait for an upstream leg: in order, bounded in bytes."""

from collections import deque


class Holding:
    """A queue of serialised messages that refuses what would pass its bound; nothing is dropped silently."""

    __slots__ = ("_max_bytes", "_queue", "held_bytes", "held_frames")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._queue: deque[bytes] = deque()
        self.held_bytes = 0
        """Bytes waiting now."""
        self.held_frames = 0
        """Messages that ever had to wait."""

    def put(self, payload: bytes) -> bool:
        """Add one message; False, and nothing added, when the bound would be passed."""
        if self.held_bytes + len(payload) > self._max_bytes:
            return False
        self._queue.append(payload)
        self.held_bytes += len(payload)
        self.held_frames += 1
        return True

    def take_all(self) -> list[bytes]:
        """Everything that waited, oldest first; the queue is empty afterwards."""
        taken = list(self._queue)
        self._queue.clear()
        self.held_bytes = 0
        return taken
