"""Runs one session: what its legs and timers do becomes events; the commands that come back become input and output.

The only place that starts tasks, all in one TaskGroup per session: when `run` returns, nothing of the session is
left. `dispatch` is synchronous and never re-entrant. No rule of the protocol lives here.

A client that comes back brings a new socket, and with it a driver of its own, whose session turns out to be a parked
one: that driver gives its leg to the parked session's, and lives on only to own the socket's task.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from relay.core.closing import Close, CloseReason
from relay.core.commands import (
    CancelTimer,
    Charged,
    ClientResumed,
    CloseLeg,
    Command,
    End,
    HandedOver,
    OpenUpstream,
    Parked,
    Ping,
    Rejoin,
    Send,
    SetTimer,
    UpstreamSaid,
    Violated,
)
from relay.core.events import (
    DOWNSTREAM,
    Closed,
    DialFailed,
    Dismissed,
    DrainRequested,
    Event,
    Opened,
    Ponged,
    Received,
    RejoinFailed,
    Stuck,
    Timer,
)
from relay.core.events import TimerFired as Fired
from relay.core.handover import Handover
from relay.core.session import Session
from relay.net.engine import Deliver, Socket
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

    def handed_over(self, handover: Handover) -> None:
        """The session was moved to another upstream leg, or could not be."""
        ...

    def parked(self) -> None:
        """The client is gone, and the session waits for it."""
        ...

    def resumed(self, resumed: ClientResumed) -> None:
        """A client came back."""
        ...

    def charged(self) -> None:
        """Gemini has reported usage."""
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
    find: Callable[[str], "Driver | None"]
    """The driver of another live session of the process, by the session's id."""
    clean: Callable[[bytes], bytes]
    """Takes out of a message of Gemini's what no client may see."""
    moved: Callable[[str], None]
    """To be told when the client went over to another session, by that one's id: this one never was."""


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
        self._over = asyncio.Event()
        self._successor: Driver | None = None
        """Who took this one's client."""
        self._group = asyncio.TaskGroup()
        session.ask_tcp(self._unacknowledged)

    async def run(self, socket: Socket) -> Close | None:
        """Run the session on the client's WebSocket until it has ended and all its legs are gone.

        None when it never was one: its client came back to another session, and now that one's socket is gone.
        """
        try:
            async with self._group:
                leg = self._attach(DOWNSTREAM, socket, self._wiring.downstream)
                self._execute_all(self.session.start(self._loop.time()))
                self._spawn(self._read(DOWNSTREAM, leg), "downstream")
                await self._over.wait()  # a parked session may have neither leg nor dial for a while
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for leg in self._legs.values():
                leg.abort()
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

    def drain(self, time_left_s: float) -> None:
        """The relay is going away; clients have so long to leave by themselves."""
        self.dispatch(DrainRequested(time_left_s))

    def dismiss(self) -> None:
        """End the session, parked or not, because the operator says so."""
        self.dispatch(Dismissed())

    def give_up_parked(self) -> None:
        """End the session if it waits for its client: its place is needed."""
        if self.session.parked:
            self.dispatch(Fired(Timer.PARKING))

    def adopt(self, leg: Leg, rejoin: Rejoin) -> None:
        """Take over a client that came back on a socket of its own."""
        old = self._legs.pop(DOWNSTREAM, None)
        if old is not None:  # it is half dead at best: its client is here
            old.close(1000, "taken over by a newer connection")
        leg.hand_over(*self._callbacks(DOWNSTREAM))
        self._legs[DOWNSTREAM] = leg
        self._match_congestion(DOWNSTREAM, leg)
        self.dispatch(self.session.reattachment(rejoin))

    def _execute_all(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Send():
                    leg = self._legs.get(command.leg)
                    if leg is not None:
                        leg.send(command.payload, command.text)
                case OpenUpstream(number):
                    self._dials[number] = self._spawn(self._open(number), f"upstream {number}")
                case CloseLeg() | Ping():
                    self._tend(command)
                case SetTimer(timer, at):
                    self._cancel(timer)
                    self._timers[timer] = self._loop.call_at(at, self._fire, timer)
                case CancelTimer(timer):
                    self._cancel(timer)
                case Rejoin():
                    self._rejoin(command)
                case End(close):
                    self._finish(close)
                case _:
                    self._tell(command)

    def _tend(self, command: CloseLeg | Ping) -> None:
        leg = self._legs.get(command.leg)
        if leg is None:
            return
        if isinstance(command, Ping):
            leg.ping()
        else:
            leg.close(command.code, command.reason)

    def _tell(self, news: Violated | UpstreamSaid | HandedOver | Charged | Parked | ClientResumed) -> None:
        observer = self._wiring.observer
        match news:
            case Violated():
                observer.violated(news)
            case UpstreamSaid():
                observer.upstream_said(news)
            case HandedOver(handover):
                observer.handed_over(handover)
            case Charged():
                observer.charged()
            case Parked():
                observer.parked()
            case ClientResumed():
                observer.resumed(news)

    def _rejoin(self, rejoin: Rejoin) -> None:
        """Give the client to the session it comes back to, if that one is here and takes it."""
        other = self._wiring.find(rejoin.ticket.session)
        claim = other.session.claims(rejoin) if other is not None else None
        if other is None or not claim:
            if other is not None and claim is None:
                other.give_up_parked()  # Gemini refuses to resume what is still connected
            self.dispatch(RejoinFailed(taken=claim is False))
            return
        leg = self._legs.pop(DOWNSTREAM)
        self._successor = other
        for timer in list(self._timers):
            self._cancel(timer)
        self._over.set()
        self._wiring.moved(rejoin.ticket.session)
        other.adopt(leg, rejoin)

    def _finish(self, close: Close) -> None:
        if self.close is not None:
            return
        self.close = close
        self._over.set()
        for timer in list(self._timers):
            self._cancel(timer)
        for number, dial in self._dials.items():
            if number not in self._legs:
                dial.cancel()
        for number, leg in self._legs.items():
            if number == DOWNSTREAM:
                leg.close(close.reason.code, close.text)
            else:
                # Gemini is told nothing of why, save that it can't be read; 1000 is how its own clients leave.
                leg.close(1007 if close.reason is CloseReason.UPSTREAM_NONSENSE else 1000, "")

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
        _, on_congestion, on_batch = self._callbacks(number)
        leg = Leg(socket, limits, on_congestion, on_batch)
        self._match_congestion(number, leg)
        self._legs[number] = leg
        return leg

    def _callbacks(self, number: int) -> tuple[Deliver, Callable[[bool], None], Callable[[bool], None]]:
        dispatch, clean = self.dispatch, self._wiring.clean
        deliver: Deliver = lambda payload, text: dispatch(Received(number, payload, text))  # noqa: E731
        if number != DOWNSTREAM:
            deliver = lambda payload, text: dispatch(Received(number, clean(payload), text))  # noqa: E731
        return (
            deliver,
            lambda congested: self._on_congestion(number, congested),
            lambda begins: self._on_batch(number, begins),
        )

    def _match_congestion(self, number: int, leg: Leg) -> None:
        """A leg that joins is read only if what it says can be written."""
        if any(other.congested for other in self._across(number)):
            leg.pause()

    def _across(self, number: int) -> list[Leg]:
        """The legs on the other side: what one side reads is written to the other."""
        return [leg for other, leg in self._legs.items() if (other == DOWNSTREAM) != (number == DOWNSTREAM)]

    def _unacknowledged(self, number: int) -> int:
        leg = self._legs.get(number)
        return leg.unacknowledged_bytes() if leg is not None else 0

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
        leg.on_pong = lambda: self.dispatch(Ponged(number))
        self.dispatch(Opened(number, leg.round_trip_s()))
        await self._read(number, leg)

    async def _read(self, number: int, leg: Leg) -> None:
        deliver, _, _ = self._callbacks(number)
        code, reason = await leg.run(deliver)
        owner = self._successor or self
        if owner._legs.get(number) is leg:  # else its client has come back on another socket since
            owner.dispatch(Closed(number, code, reason))
        leg.close(1000, "")  # unless the session has closed it with better words
        await leg.gone()
        if owner._legs.get(number) is leg:
            del owner._legs[number]
