"""The load generator's half of the simulator: endless speech from precomputed frames, at as little CPU as can be.

Each connection speaks for 2 s of every 4 s: 25 frames of 160 ms (12.5 a second, about 10.4 KB each), some with a
piece of transcript, then generationComplete, turnComplete with usage, and a handle if the client wanted any. One
timer serves all connections, spread over its slots, and writes straight to their transports.
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field

from relay.sim import speech, stamp
from relay.sim.encoding import encode
from relay.sim.framing import BINARY, TEXT, frame

FRAME_S = 0.08
"""Between two audio frames of a connection."""
SPEAKING_FRAMES = 25
PERIOD_FRAMES = 50
"""Frames and pauses until a connection's schedule begins anew: 4 s."""
SUBSLOTS = 8
"""A connection is served in one of so many ticks per frame time, to spread the load: every 10 ms."""
_CHUNK_BYTES = int(0.16 * speech.BYTES_PER_S)
_MAX_UNSENT_BYTES = 1 << 20  # a client this far behind misses frames; they are counted
_STAMP_CHARACTERS = stamp.SIZE_BYTES * 4 // 3


@dataclass(slots=True, eq=False)
class Speaker:
    """One connection on the wheel."""

    transport: asyncio.Transport
    turn_over: Callable[[], None]
    """Called after turnComplete, where a handle may be issued."""
    phase: int
    """Where in its schedule the connection is: 0 to 49."""
    slot: int
    sent: int = 0
    skipped: int = 0
    """Frames not sent because the client was too far behind."""


@dataclass(slots=True)
class Wheel:
    """Turns while anyone is on it."""

    text_frames: bool = False
    speakers: list[list[Speaker]] = field(default_factory=lambda: [[] for _ in range(SUBSLOTS)])
    _audio: list[bytearray] = field(default_factory=list)
    _stamp_at: list[int] = field(default_factory=list)
    _ends: list[bytes] = field(default_factory=list)
    _timer: asyncio.TimerHandle | None = None
    _tick_at: float = 0.0
    _tick: int = 0
    _joined: int = 0

    def join(self, transport: asyncio.Transport, turn_over: Callable[[], None]) -> Speaker:
        """Put a connection on the wheel."""
        if not self._audio:
            self._prepare()
        phase = self._joined * 7 % PERIOD_FRAMES  # 7 is coprime to 50: neighbours are far apart
        speaker = Speaker(transport, turn_over, phase, self._joined % SUBSLOTS)
        self._joined += 1
        self.speakers[speaker.slot].append(speaker)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._tick_at = loop.time()
            self._timer = loop.call_at(self._tick_at, self._turn)
        return speaker

    def leave(self, speaker: Speaker) -> None:
        """Take a connection off."""
        if speaker in self.speakers[speaker.slot]:
            self.speakers[speaker.slot].remove(speaker)
        if not any(self.speakers):
            self.stop()

    def stop(self) -> None:
        """Turn no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _prepare(self) -> None:
        opcode = TEXT if self.text_frames else BINARY
        spoken = b"".join(
            speech.render(
                sound
                for word in speech.words_of("the quick brown fox jumps over a lazy dog again and again " * 2, "Puck")
                for sound in word.sounds
            )
        )
        for at in range(SPEAKING_FRAMES):
            start = at * _CHUNK_BYTES % (len(spoken) - _CHUNK_BYTES)
            blob = base64.b64encode(spoken[start : start + _CHUNK_BYTES]).decode()
            part = {"inlineData": {"mimeType": f"audio/pcm;rate={speech.RATE}", "data": blob}}
            content: dict[str, object] = {"modelTurn": {"parts": [part]}}
            if at % 5 == 0:
                content["outputTranscription"] = {"text": f" piece {at}"}
            whole = bytearray(frame(encode({"serverContent": content}), opcode))
            self._stamp_at.append(whole.index(blob[:_STAMP_CHARACTERS].encode()))
            self._audio.append(whole)
        usage = {
            "promptTokenCount": 1131,
            "responseTokenCount": 50,
            "totalTokenCount": 1181,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1100}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
        }
        done = {"serverContent": {"turnComplete": True}, "usageMetadata": usage}
        ends = ({"serverContent": {"generationComplete": True}}, done)
        self._ends = [frame(encode(message), opcode) for message in ends]

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for speaker in list(self.speakers[self._tick % SUBSLOTS]):
            self._serve(speaker, now)
        self._tick += 1
        self._tick_at = max(self._tick_at + FRAME_S / SUBSLOTS, now - FRAME_S)  # after a freeze, do not rush
        self._timer = loop.call_at(self._tick_at, self._turn) if any(self.speakers) else None

    def _serve(self, speaker: Speaker, now: float) -> None:
        phase, speaker.phase = speaker.phase, (speaker.phase + 1) % PERIOD_FRAMES
        if phase > SPEAKING_FRAMES + 1:
            return
        transport = speaker.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            speaker.skipped += 1
            return
        if phase >= SPEAKING_FRAMES:
            transport.write(self._ends[phase - SPEAKING_FRAMES])
            if phase == SPEAKING_FRAMES + 1:
                speaker.turn_over()
            return
        speaker.sent += 1
        whole, at = self._audio[phase], self._stamp_at[phase]
        whole[at : at + _STAMP_CHARACTERS] = base64.b64encode(stamp.make(speaker.sent, now))
        transport.write(bytes(whole))
