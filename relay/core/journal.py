"""Client messages since the state behind the newest resumption handle: what a new upstream leg is told again.

Gemini's state after a resume is that of the handle. What the client sent later exists only here, so it is kept in
order, bounded in bytes and in seconds of audio; what falls out is counted, never forgotten silently. In transparent
mode Gemini says how far a handle reaches, and replay is exact; without it, what was under way when the handle was
issued is in doubt: it is replayed, and counted as uncertain.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from relay.core.client_frames import ClientFrame

ASSUMED_RATE_HZ = 16_000
"""Sample rate of microphone audio whose mime type names none, as Gemini assumes."""

_USUAL_MIME = "audio/pcm;rate=16000"

ENTRY_BYTES = 128
"""What an entry takes beside its payload, at least: many small messages must not be a way past the bound."""

_FRAME_BYTES = 8
"""Header and mask of a client's frame of the size that microphone audio has (RFC 6455 5.2)."""

ACTIVITY_START = b'{"realtimeInput":{"activityStart":{}}}'
"""What opens a user's turn where automatic detection is off."""


class Sort(Enum):
    """What a client message is, as far as replaying it goes."""

    AUDIO = "audio"
    VIDEO = "video"
    ACTIVITY_START = "activity_start"
    ACTIVITY_END = "activity_end"
    CONTROL = "control"
    """Text, turns, answers of functions, updates: small, and never given up while there is room."""


# An attribute of an Enum class costs more than a global, and these are asked for with every message.
_MEDIA = frozenset({Sort.AUDIO, Sort.VIDEO})
_AUDIO, _VIDEO, _CONTROL = Sort.AUDIO, Sort.VIDEO, Sort.CONTROL


@dataclass(slots=True)
class Outgoing:
    """One client message in the form Gemini gets."""

    payload: bytes = field(repr=False)
    sort: Sort
    audio_s: float = 0.0
    """Seconds of microphone audio in it."""
    sent_at: float = 0.0
    """When it was last written to an upstream leg, on the clock of `now`."""
    place: int = 0
    """Its place on the present upstream leg, where the setup is 0."""
    wire_bytes: int = 0
    """What it takes on the way, without TLS."""
    answered: bool = False
    """The model has answered what led up to it; saying it again would have it answered twice."""
    doubtful: bool = False
    """It was under way when the newest handle was issued."""


def outgoing(frame: ClientFrame, payload: bytes) -> Outgoing:
    """Classify one canonical message; `payload` is its serialised form."""
    if frame.kind != "realtimeInput":
        return Outgoing(payload, _CONTROL)
    body = frame.body
    audio = body.get("audio")
    if audio is not None:
        sort = _AUDIO if len(body) == 1 else _CONTROL  # with a mark or text beside it, it is worth more than audio
        return Outgoing(payload, sort, audio_seconds(audio))
    if "activityStart" in body:
        return Outgoing(payload, Sort.ACTIVITY_START)
    if "activityEnd" in body:
        return Outgoing(payload, Sort.ACTIVITY_END)
    return Outgoing(payload, _VIDEO if "video" in body else _CONTROL)


def audio_seconds(blob: dict[str, Any]) -> float:
    """How long a canonical blob of PCM16 mono plays, by its decoded bytes and the rate its mime type names."""
    data: str = blob.get("data", "")
    mime: str = blob.get("mimeType", "")
    hertz = ASSUMED_RATE_HZ if mime == _USUAL_MIME else _rate_hz(mime)
    return (len(data) * 3 // 4 - data.count("=", -2)) / (2 * hertz)


def _rate_hz(mime: str) -> int:
    rate = mime.partition("rate=")[2].partition(";")[0]
    return (int(rate) if rate.isascii() and rate.isdigit() and len(rate) < 7 else 0) or ASSUMED_RATE_HZ


class Journal:
    """What the newest handle does not cover, oldest first."""

    def __init__(self, max_bytes: int, max_audio_s: float) -> None:
        self._max_bytes = max_bytes
        self._max_audio_s = max_audio_s
        self._entries: deque[Outgoing] = deque()
        self._kept: list[Outgoing] = []
        """What is not audio and older than all of `_entries`: audio fell out around it."""
        self._newest_lost: Outgoing | None = None
        """Of the messages that fell out, the one that was sent last."""
        self._bytes = 0
        self._audio_s = 0.0
        self._place = 0
        self._activity_before = False
        self.dropped = 0
        """Messages since the newest handle that fell out."""

    def __len__(self) -> int:
        return len(self._kept) + len(self._entries)

    def __iter__(self) -> Iterator[Outgoing]:
        yield from self._kept
        yield from self._entries

    @property
    def held_bytes(self) -> int:
        """Bytes kept, with `ENTRY_BYTES` for each message: at most the bound."""
        return self._bytes

    @property
    def uncertain(self) -> int:
        """Messages that Gemini may have had when it issued the newest handle."""
        return sum(entry.doubtful for entry in self)

    @property
    def stale(self) -> bool:
        """Whether a turn was completed that the newest handle does not know of."""
        return any(entry.answered for entry in self)

    def append(self, entry: Outgoing, now: float) -> None:
        """One more message was written to the present upstream leg."""
        self._place += 1
        entry.place = self._place
        entry.sent_at = now
        entry.wire_bytes = len(entry.payload) + _FRAME_BYTES
        if entry.sort is _VIDEO:
            entry.payload = b""  # never replayed: Gemini was seen to close with 1007 on old pictures; only counted
        self._entries.append(entry)
        self._bytes += len(entry.payload) + ENTRY_BYTES
        self._audio_s += entry.audio_s
        while self._bytes > self._max_bytes or self._audio_s > self._max_audio_s:
            self._give_up_one()

    def new_leg(self) -> list[Outgoing]:
        """Begin a new upstream leg: returns what was kept, in order, and starts over empty with the leg's setup.

        What is replayed comes back by `append`.
        """
        entries = list(self)
        self._kept, self._entries, self._newest_lost = [], deque(), None
        self._bytes, self._audio_s, self._place, self.dropped = 0, 0.0, 0, 0
        return entries

    @property
    def place(self) -> int:
        """The place of the newest message on the present leg."""
        return self._place

    @property
    def asked_at(self) -> int:
        """The place of the first words, or mark, that wait for an answer; beyond the newest where none do."""
        waiting = (entry.place for entry in self if entry.sort not in _MEDIA and not entry.answered)
        return next(waiting, self._place + 1)

    def reached(self, instant: float, unacknowledged_bytes: int) -> int:
        """The place up to which all has surely reached Gemini: sent before `instant`, and acknowledged by TCP."""
        for entry in reversed([*self._kept, *self._entries] if self._kept else self._entries):
            if unacknowledged_bytes <= 0 and entry.sent_at < instant:
                return entry.place
            unacknowledged_bytes -= entry.wire_bytes
        doubtful, lost = list(self)[:1], self._newest_lost
        if lost is not None and (lost.sent_at >= instant or unacknowledged_bytes > 0):
            doubtful.append(lost)
        return min((entry.place - 1 for entry in doubtful), default=self._place)

    def cover(self, place: int, doubtful_to: int = 0) -> None:
        """A handle was issued that covers the leg's messages up to `place`; whether those up to `doubtful_to`, too,
        nobody can say."""
        self._forget(lambda entry: entry.place <= place)
        for entry in self:
            entry.doubtful = entry.place <= doubtful_to

    def settle(self, before: float) -> None:
        """A turn was completed that began at `before`: what was sent by then has been answered."""
        for entry in self:
            if entry.sent_at > before:
                break
            entry.answered = True

    @property
    def activity_was_open(self) -> bool:
        """Whether the user's turn was already open before the first entry, where the client marks its turns."""
        return self._activity_before

    def _forget(self, covered: Callable[[Outgoing], bool]) -> None:
        """Drop what a handle covers from the old end, and forget what fell out if all of that is behind it too."""
        while self._kept and covered(self._kept[0]):
            self._release(self._kept.pop(0))
        while not self._kept and self._entries and covered(self._entries[0]):
            self._release(self._entries.popleft())
        if self._newest_lost is None or covered(self._newest_lost):
            self.dropped, self._newest_lost = 0, None

    def _release(self, entry: Outgoing) -> None:
        self._bytes -= len(entry.payload) + ENTRY_BYTES
        self._audio_s -= entry.audio_s
        if entry.sort is Sort.ACTIVITY_START:
            self._activity_before = True
        elif entry.sort is Sort.ACTIVITY_END:
            self._activity_before = False

    def _give_up_one(self) -> None:
        """Make room: the oldest audio goes first, then whatever is oldest."""
        while self._entries and self._entries[0].sort is not _AUDIO:
            self._kept.append(self._entries.popleft())
        entry = self._entries.popleft() if self._entries else self._kept.pop(0)
        self._release(entry)
        self.dropped += 1
        if self._newest_lost is None or entry.place > self._newest_lost.place:
            self._newest_lost = entry
