"""Runs one session: what its legs and timers do becomes events; the commands that come back become input and output.

The only place that starts tasks, all in one TaskGroup per session: when `run` returns, nothing of the session is
left. `dispatch` is synchronous and never re-entrant. No rule of the protocol lives here.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from relay.core.closing import Close, CloseReason
from relay.core.commands import (
    CancelTimer,
    CloseLeg,
    Command,
    End,
    OpenUpstream,
    Send,
    SetTimer,
    UpstreamSaid,
    Violated,
)
from relay.core.events import DOWNSTREAM, Closed, DialFailed, DrainRequested, Event, Opened, Received, Stuck, Timer
from relay.core.events import TimerFired as Fired
from relay.core.session import Session
from relay.net.engine import Socket
from relay.net.leg import Leg, LegLimits
from relay.net.upstream import DialError


class Observer(Protocol):
    """Learns what an operator wants to know while a session runs."""

    def violated(self, violation: Violated) -> None:
        """The client broke a rule."""
        ...

    def upstream_said(self, said: UpstreamSaid) -> None:
        """Gemini closed, in its own words, which may hold anything it was sent."""
        ...

    def dialled(self, status: int | None, cause: str) -> None:
        """A dial ended: None when it was answered with an upgrade, else its HTTP status or 0."""
        ...

    def crashed(self, error: Exception) -> None:
        """A bug of ours ended the session."""
        ...


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a driver needs of the process around it."""

    dial: Callable[[], Coroutine[Any, Any, Socket]]
    downstream: LegLimits
    upstream: LegLimits
    observer: Observer


class Driver:
    """One session and its legs."""

    def __init__(self, session: Session, wiring: Wiring) -> None:
        self.session = session
        self.close: Close | None = None
        """Why the session ended, once it has."""
        self._wiring = wiring
        self._loop = asyncio.get_running_loop()
        self._legs: dict[int, Leg] = {}
        self._timers: dict[Timer, asyncio.TimerHandle] = {}
        self._dials: dict[int, asyncio.Task[None]] = {}
        self._events: deque[Event] = deque()
        self._dispatching = False
        self._group = asyncio.TaskGroup()

    async def run(self, socket: Socket) -> Close:
        """Run the session on the client's WebSocket until it has ended and both legs are gone."""
        try:
            async with self._group:
                leg = self._attach(DOWNSTREAM, socket, self._wiring.downstream)
                self._execute_all(self.session.start(self._loop.time()))
                self._spawn(self._read(DOWNSTREAM, leg), "downstream")
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for leg in self._legs.values():
                leg.abort()
        assert self.close is not None, "a session ends by a command"
        return self.close

    def dispatch(self, event: Event) -> None:
        """Hand one event to the session and carry out what it decides; events raised meanwhile wait their turn."""
        self._events.append(event)
        if self._dispatching:
            return
        self._dispatching = True
        try:
            while self._events:
                self._execute_all(self.session.handle(self._events.popleft(), self._loop.time()))
        except Exception as error:  # a bug in one session must not touch another one
            self._wiring.observer.crashed(error)
            self._finish(Close(CloseReason.RELAY_ERROR))
        finally:
            self._dispatching = False

    def tick(self, now: float) -> None:
        """Look after the legs; the registry calls this about once a second for every session, on one timer."""
        for number, leg in list(self._legs.items()):
            if leg.is_stuck(now):
                self.dispatch(Stuck(number))
                leg.abort()
            elif leg.is_silent(now):
                self.dispatch(Closed(number, 1006, ""))
                leg.abort()

    def drain(self) -> None:
        """The relay is going away."""
        self.dispatch(DrainRequested())

    def _execute_all(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Send():
                    leg = self._legs.get(command.leg)
                    if leg is not None:
                        leg.send(command.payload, command.text)
                case OpenUpstream(number):
                    self._dials[number] = self._spawn(self._open(number), f"upstream {number}")
                case CloseLeg(number, code, reason):
                    if number in self._legs:
                        self._legs[number].close(code, reason)
                case SetTimer(timer, at):
                    self._cancel(timer)
                    self._timers[timer] = self._loop.call_at(at, self._fire, timer)
                case CancelTimer(timer):
                    self._cancel(timer)
                case Violated():
                    self._wiring.observer.violated(command)
                case UpstreamSaid():
                    self._wiring.observer.upstream_said(command)
                case End(close):
                    self._finish(close)

    def _finish(self, close: Close) -> None:
        if self.close is not None:
            return
        self.close = close
        for timer in list(self._timers):
            self._cancel(timer)
        for number, dial in self._dials.items():
            if number not in self._legs:
                dial.cancel()
        for number, leg in self._legs.items():
            if number == DOWNSTREAM:
                leg.close(close.reason.code, close.text)
            else:
                # Gemini is told nothing of why; 1000 is how its own clients leave.
                leg.close(1000, "")

    def _cancel(self, timer: Timer) -> None:
        handle = self._timers.pop(timer, None)
        if handle is not None:
            handle.cancel()

    def _fire(self, timer: Timer) -> None:
        del self._timers[timer]
        self.dispatch(Fired(timer))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=name)

    def _attach(self, number: int, socket: Socket, limits: LegLimits) -> Leg:
        leg = Leg(
            socket,
            limits,
            lambda congested: self._on_congestion(number, congested),
            lambda begins: self._on_batch(number, begins),
        )
        if any(other.congested for other in self._across(number)):
            leg.pause()
        self._legs[number] = leg
        return leg

    def _across(self, number: int) -> list[Leg]:
        """The legs on the other side: what one side reads is written to the other."""
        return [leg for other, leg in self._legs.items() if (other == DOWNSTREAM) != (number == DOWNSTREAM)]

    def _on_congestion(self, number: int, congested: bool) -> None:
        """A leg's outbox filled or emptied: whoever feeds it waits or goes on."""
        for leg in self._across(number):
            if congested:
                leg.pause()
            else:
                leg.resume()

    def _on_batch(self, number: int, begins: bool) -> None:
        """One read brought several messages: what they become is written with one system call too."""
        for leg in self._across(number):
            if begins:
                leg.cork()
            else:
                leg.uncork()

    async def _open(self, number: int) -> None:
        observer = self._wiring.observer
        try:
            socket = await self._wiring.dial()
        except DialError as error:
            observer.dialled(error.status, str(error))
            self.dispatch(DialFailed(number, error.status))
            return
        finally:
            del self._dials[number]
        observer.dialled(None, "")
        leg = self._attach(number, socket, self._wiring.upstream)
        self.dispatch(Opened(number))
        await self._read(number, leg)

    async def _read(self, number: int, leg: Leg) -> None:
        dispatch = self.dispatch
        code, reason = await leg.run(lambda payload, text: dispatch(Received(number, payload, text)))
        self.dispatch(Closed(number, code, reason))
        leg.close(1000, "")  # unless the session has closed it with better words
        await leg.gone()
        del self._legs[number]
