"""One row of the fault matrix while it is played: the stage, one client, and the moment of the fault."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proof.client import PATIENCE_S, Client, Got
from proof.netns import Cable
from proof.proxy import FaultProxy
from proof.records import Journals
from proof.stage import Plan, Stage, stage
from relay.sim import scenario
from relay.sim.actions import Action
from relay.sim.archive import Session
from relay.sim.profile import with_knobs
from relay.sim.record import ConnectionRecord

TOOLS = [{"functionDeclarations": [{"name": "get_weather", "parameters": {"type": "OBJECT", "properties": {}}}]}]

_HEARD = 5
"""Chunks of audio: 0.2 s."""


class NoFaultError(Exception):
    """The fault a row is about did not happen: whatever was seen proves nothing."""


@dataclass(frozen=True, slots=True)
class Expect:
    """What a row promises."""

    codes: frozenset[int] = frozenset()
    """The client is closed with one of these; empty: it is not closed."""
    may_end: frozenset[int] = frozenset()
    """It may go on, or end with one of these codes."""
    handovers: tuple[int, int] = (1, 1)
    """At least and at most so many."""
    planned: bool = False
    outcomes: frozenset[str] = frozenset({"restored"})
    detect_s: float | None = 0.05
    """From the fault to the relay's noticing; None: not judged."""
    recover_s: float | None = 1.0
    """From the relay's noticing to the first message on the next connection; None: not judged."""
    within_s: float = 10.0
    """How long the outcome is waited for; with no handover to come, how long nothing may happen."""
    exact: bool = True
    """Nothing may be lost or doubled but what was reported; else the state itself was lost and only order is judged."""
    turn_cut: bool = False
    """An answer is under way and can't be saved: the client must be given its end."""
    redials: bool = True
    """Whether Gemini may be dialled after the fault at all."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its name, what it needs, what happens, and what must come of it."""

    name: str
    act: "Callable[[Scene], Awaitable[None]]"
    """Does the harm."""
    proof: "Callable[[Scene], Awaitable[str] | str]"
    """Once it is over: how we know that the harm was done. Raises NoFaultError when it was not."""
    expect: Expect = field(default_factory=Expect)
    knobs: Mapping[str, Any] = field(default_factory=dict)
    script: str = ""
    """Steps of a scenario for the simulator, in YAML."""
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    setup: Mapping[str, Any] = field(default_factory=dict)
    """Of the client."""
    streaming: bool = True
    """The client streams audio all the time."""
    handle: bool = True
    """The relay has a handle before the fault."""
    transparent: bool = False
    proxied: bool = False
    cable: bool = False
    own_process: bool = False
    tls: bool = False
    alone: bool = False
    """Needs so much CPU that others must not run beside it."""
    settle_s: float = 5.0
    replays: int = 0
    """Contents that the simulator repeats after a resume: sent, and rightly not passed on."""


class Scene:
    """What a row's functions work with."""

    def __init__(self, row: Row, made: Stage, client: Client) -> None:
        self.row = row
        self.stage = made
        self.client = client
        self.session: Session = made.sessions()[-1]
        """The simulator's session of this client."""
        self.faulted_at = 0.0
        """On the loop's clock."""
        self.dials_before = 0
        self.notes: dict[str, Any] = {}
        """What `act` has to tell `proof`."""

    @property
    def proxy(self) -> FaultProxy:
        """The proxy of this row, which has one."""
        assert self.stage.proxy is not None, f"{self.row.name} has no proxy"
        return self.stage.proxy

    @property
    def cable(self) -> Cable:
        """The cable of this row, which has one."""
        assert self.stage.cable is not None, f"{self.row.name} has no cable"
        return self.stage.cable

    @property
    def connections(self) -> list[ConnectionRecord]:
        """Every connection the simulator has seen, oldest first."""
        return self.stage.simulator.connections

    def mark(self) -> None:
        """The fault happens now."""
        self.faulted_at = asyncio.get_running_loop().time()
        self.dials_before = self.dials

    @property
    def dials(self) -> int:
        """How often Gemini was dialled so far, as far as it can be seen from its side."""
        return max(len(self.connections), self.stage.proxy.accepted if self.stage.proxy else 0)

    def fault(self, kind: str, **arguments: Any) -> None:
        """Let the simulator do this to the connection in use. Raises NoFaultError when there is none."""
        if not self.stage.simulator.fault(Action(kind, arguments), self.session.open_connection):
            raise NoFaultError(f"no connection to {kind}")

    def next_upgrades(self, answer: str, failures: int) -> None:
        """Let the next upgrades be answered like that; 0: all of them."""
        last = len(self.connections) + failures if failures else 0
        simulator = self.stage.simulator
        simulator.profile = with_knobs(simulator.profile, {"upgrade": answer, "upgrade_failures": last})

    async def until(self, what: str, holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Wait until something holds. Raises NoFaultError when it does not in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while not holds():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise NoFaultError(f"{what}: not within {timeout_s:g} s") from None

    async def covered(self) -> None:
        """Wait until the relay surely has a handle for all that was answered so far. Raises NoFaultError."""
        session = self.session
        handles, heard = len(session.handles), session.trail.mark
        if self.stage.simulator.profile.handles == "timer":  # the next but one: the next may have been under way
            await self.until("a handle", lambda: len(session.handles) >= handles + 2)
        else:  # it comes with the end of the turn, so long before this
            await self.until("audio after the handle", lambda: session.trail.mark > heard + _HEARD)

    async def call(self) -> Mapping[str, Any]:
        """Ask for a function call and wait for it."""
        await self.client.say("call get_weather in Oslo")
        got: Got = await self.client.until("toolCall")
        call: Mapping[str, Any] = got.message["toolCall"]["functionCalls"][0]
        return call

    def dial_failures(self) -> int:
        """Dials that the relay itself says have failed."""
        return len(self.stage.journal.all("dial failed"))


@contextlib.asynccontextmanager
async def scene(row: Row, journals: Journals, quiet: asyncio.Lock) -> AsyncIterator[Scene]:
    """Set a row up to just before its fault; under `quiet`, as that keeps the event loop busy for a while.

    Raises ProofError when even that does not work.
    """
    plan = Plan(
        tenant="row-" + "".join(letter if letter.isalnum() else "-" for letter in row.name)[:56],
        transparent=row.transparent,
        knobs=row.knobs,
        scenario=scenario.load(row.script) if row.script else scenario.Scenario(),
        sections=row.sections,
        proxied=row.proxied,
        own_process=row.own_process,
        tls=row.tls,
        cable=row.cable,
    )
    async with contextlib.AsyncExitStack() as stack:
        async with quiet:
            made = await stack.enter_async_context(stage(plan, journals))
        client = await stack.enter_async_context(made.client(row.setup))
        played = Scene(row, made, client)
        if row.streaming:
            client.streaming.set()
        if row.handle:
            await client.turn("hello")
            await played.covered()
        elif row.streaming:
            await played.until("some audio", lambda: played.session.trail.mark > _HEARD)
        yield played
