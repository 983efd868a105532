"""Client messages that wait for an upstream leg: in order, bounded in bytes."""

from collections import deque

from relay.core.journal import Outgoing, Sort


class Holding:
    """A queue of messages that refuses what would pass its bound; nothing is dropped silently."""

    __slots__ = ("_dropped", "_max_bytes", "_queue", "_video", "held_bytes", "held_frames")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._queue: deque[Outgoing] = deque()
        self._video: Outgoing | None = None
        self.held_bytes = 0
        """Bytes waiting now."""
        self.held_frames = 0
        """Messages that ever had to wait."""
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Outgoing) -> bool:
        """Add one message; False, and nothing added, when the bound would be passed.

        Of pictures only the newest waits: an old one is refused by Gemini, and shows what is no longer so.
        """
        if message.sort is Sort.VIDEO:
            self._drop_stale_video()
        if self.held_bytes + len(message.payload) > self._max_bytes:
            return False
        if message.sort is Sort.VIDEO:
            self._video = message
        self._queue.append(message)
        self.held_bytes += len(message.payload)
        self.held_frames += 1
        return True

    def take_all(self) -> list[Outgoing]:
        """Everything that waited, oldest first; the queue is empty afterwards."""
        taken = list(self._queue)
        self._queue.clear()
        self._video = None
        self.held_bytes = 0
        return taken

    def take_dropped(self) -> int:
        """How many pictures a newer one made stale while they waited, since this was last asked."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def _drop_stale_video(self) -> None:
        if self._video is not None:
            self._queue.remove(self._video)
            self.held_bytes -= len(self._video.payload)
            self._video = None
            self._dropped += 1
