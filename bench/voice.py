"""The voice load: every session sends and hears its frames at the instants of real time, evenly out of step."""

import asyncio

from bench import payloads
from bench.session import Session

_UP_FRAME = payloads.up_frame()
_TURN = payloads.turn()
_GOLDEN = 0.6180339887  # multiples of it, modulo 1, spread evenly however many there are


class Voice:
    """A number of sessions that talk and listen."""

    def __init__(self, sessions: list[Session]) -> None:
        count = len(sessions)
        self._voices = [
            _OneVoice(session, (index * _GOLDEN) % 1.0, index * payloads.CYCLE_TICKS // count)
            for index, session in enumerate(sessions)
        ]

    def start(self) -> None:
        """Begin to talk, in all sessions."""
        for voice in self._voices:
            voice.start()

    def stop(self) -> None:
        """Fall silent."""
        for voice in self._voices:
            voice.stop()


class _OneVoice:
    """One session's microphone and Gemini's side of it, each on its own beat."""

    __slots__ = ("_down", "_down_at", "_loop", "_phase", "_tick", "_timers", "_up", "_up_at")

    def __init__(self, session: Session, phase: float, tick: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._up, self._down = session.up, session.down
        self._phase = phase
        self._tick = tick
        self._up_at = self._down_at = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        now = self._loop.time() + 0.02
        self._up_at = now + self._phase * payloads.TICK_S
        # Another step through the tick, so that both directions of a session meet only by chance.
        self._down_at = now + (self._phase * 7 % 1.0) * payloads.TICK_S
        self._timers["up"] = self._loop.call_at(self._up_at, self._send_up)
        self._timers["down"] = self._loop.call_at(self._down_at, self._send_down)

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def _send_up(self) -> None:
        self._up.send(_UP_FRAME)
        self._up_at += payloads.TICK_S
        self._timers["up"] = self._loop.call_at(self._up_at, self._send_up)

    def _send_down(self) -> None:
        frame = _TURN.get(self._tick)
        if frame is not None:
            self._down.send(frame)
        self._tick = (self._tick + 1) % payloads.CYCLE_TICKS
        self._down_at += payloads.TICK_S
        self._timers["down"] = self._loop.call_at(self._down_at, self._send_down)
