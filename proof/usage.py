"""`python -m proof usage`: many turns over connections that come and go and a relay that is killed, and every token."""

import asyncio
import contextlib
import random
import secrets
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from proof.client import ProofError
from proof.figures import note, table
from proof.relays import Program, RelayProcess, relay_process
from proof.servers import redis_server
from proof.stage import DEV_MODEL, GOOGLE_KEY, VERTEX_MODEL, Plan, relay_tree
from proof.talker import CutError, Talker, Way
from proof.tally import REPORTS, SimulatorTally, redis_tally, sqlite_tally
from relay.sim import Simulator
from relay.sim.actions import Action
from relay.sim.archive import Session
from relay.sim.profile import preset

BOUND_S = 1.0
"""So much usage may a killed relay lose."""
_MODELS = (DEV_MODEL, "models/gemini-3.1-flash-live-preview", "models/gemini-3.8-live")
_GONE_S = 10.0
_FAULTS = ("go_away", "cut", "close", "drop", "drop in an answer")
_FAULT_SHARE = 0.08
"""Of the turns, to each of which one of the faults happens."""

Books = Callable[[], Awaitable[Counter[str]]]


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    turns: int = 10_000
    sessions: int = 50
    store: str = "sqlite"
    kills: int = 2
    vertex: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Kill:
    """What one kill cost."""

    lost: Counter[str]
    """What the simulator had reported and the ledger had not; negative where the ledger had more."""
    bound: Counter[str]
    """What the simulator reported from a second before the kill on."""


@dataclass(slots=True)
class Result:
    """What it came to."""

    options: Options
    simulator: Counter[str] = field(default_factory=Counter)
    ledger: Counter[str] = field(default_factory=Counter)
    kills: list[Kill] = field(default_factory=list)
    turns: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    handovers: Counter[str] = field(default_factory=Counter)
    """By cause and outcome."""
    returns: int = 0
    """Of clients, after drops and kills."""
    replayed: int = 0
    crashes: int = 0
    failures: list[str] = field(default_factory=list)

    def lost(self, name: str) -> int:
        """By all kills together."""
        return sum(kill.lost[name] for kill in self.kills)

    def unexplained(self, name: str) -> int:
        """The simulator's count less the ledger's, less what the kills cost."""
        return self.simulator[name] - self.ledger[name] - self.lost(name)

    @property
    def names(self) -> list[str]:
        """Every kind and modality that either has, and the reports."""
        return sorted(self.simulator | self.ledger, key=lambda name: (name == REPORTS, name))

    def broken(self) -> list[str]:
        """The promises this run broke, in words."""
        wrong = [f"{name}: {self.unexplained(name)} unexplained" for name in self.names if self.unexplained(name)]
        for number, kill in enumerate(self.kills, start=1):
            wrong += [
                f"kill {number} cost {kill.lost[name]} of {name}, at most {kill.bound[name]} promised"
                for name in self.names
                if not 0 <= kill.lost[name] <= kill.bound[name]
            ]
        checks = {
            f"{self.turns} turns of {self.options.turns}": self.turns < self.options.turns,
            f"{len(self.kills)} kills of {self.options.kills}": len(self.kills) != self.options.kills,
            f"{self.crashes} sessions crashed": self.crashes > 0,
            "nothing was handed over": not self.handovers,
        }
        return wrong + [words for words, fails in checks.items() if fails] + self.failures[:5]

    def tables(self) -> str:
        """For people."""
        kills = range(1, len(self.kills) + 1)
        head = ("", "simulator", "ledger", *(f"lost in kill {n} (1 s: at most)" for n in kills), "unexplained")
        rows = [
            (
                name,
                self.simulator[name],
                self.ledger[name],
                *(f"{kill.lost[name]} ({kill.bound[name]})" for kill in self.kills),
                self.unexplained(name),
            )
            for name in self.names
        ]
        summary = (
            f"{self.turns} turns over {self.options.sessions} sessions, {self.options.store}; "
            f"faults {dict(self.faults)}; "
            f"handovers {dict(self.handovers)}, {self.replayed} messages replayed; {self.returns} returns of clients"
        )
        return f"{summary}\n\n{table(head, rows)}"

    def json(self) -> dict[str, Any]:
        """For machines."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("options", "kills")}
        kills = [{"lost": kill.lost, "bound": kill.bound} for kill in self.kills]
        options = {name: getattr(self.options, name) for name in Options.__dataclass_fields__}
        return {"options": options, **found, "kills": kills, "broken": self.broken()}


class _Run:
    """One run while it lasts."""

    def __init__(self, result: Result, simulator: Simulator, relay: RelayProcess, books: Books) -> None:
        self.result = result
        self.options = result.options
        self.simulator = simulator
        self.relay = relay
        self.books = books
        self.tally = SimulatorTally(simulator)
        self.begun = 0
        self.done = 0
        self._up = asyncio.Event()
        self._up.set()
        self._connecting = asyncio.Lock()

    async def address(self) -> str:
        """Where the relay is; waits while it is dead."""
        await self._up.wait()
        return self.relay.base_url

    async def everything(self, way: Way) -> None:
        """All talkers and all kills."""
        dice = random.Random(self.options.seed)
        watching = asyncio.create_task(self.tally.watch())
        killing = asyncio.create_task(self._kills())
        talkers = [self._talk(way, number, random.Random(dice.random())) for number in range(self.options.sessions)]
        await asyncio.gather(*talkers)
        await killing
        watching.cancel()

    async def _kills(self) -> None:
        parts = self.options.kills + 1
        for number in range(1, parts):
            while self.done < self.options.turns * number // parts:
                await asyncio.sleep(0.02)
            await self._kill()

    async def _kill(self) -> None:
        self._up.clear()
        killed_at = asyncio.get_running_loop().time()
        await self.relay.kill()
        async with asyncio.timeout(_GONE_S):
            while any(session.open_connection is not None for session in self.simulator.archive):
                await asyncio.sleep(0.02)
        total, ledger = self.tally.now(), await self.books()
        lost, bound = total.copy(), total.copy()
        lost.subtract(ledger)
        for kill in self.result.kills:
            lost.subtract(kill.lost)
        bound.subtract(self.tally.at(killed_at - BOUND_S))
        self.result.kills.append(Kill(lost, bound))
        note(f"proof: killed after {self.done} turns, {lost[REPORTS]} reports lost")
        await self.relay.start()
        self._up.set()

    async def _talk(self, way: Way, number: int, dice: random.Random) -> None:
        setup: dict[str, Any] = {"outputAudioTranscription": {}}
        if not self.options.vertex:
            setup["model"] = _MODELS[number % len(_MODELS)]
        talker = Talker(way, setup, dice)
        try:
            async with self._connecting:  # so that it is known whose session the newest is
                await talker.come_back()
                session = list(self.simulator.archive)[-1]
            while self.begun < self.options.turns:
                self.begun += 1
                await self._turn(talker, session, dice)
                self.done += 1
            await talker.leave()
        except ProofError as error:
            self.result.failures.append(f"talker {number}: {error}")
        if talker.closed:
            self.result.failures.append(f"talker {number} was closed with {talker.closed[0]}")
        self.result.turns += talker.turns
        self.result.returns += talker.returns - 1

    async def _turn(self, talker: Talker, session: Session, dice: random.Random) -> None:
        fault = dice.choice(_FAULTS) if dice.random() < _FAULT_SHARE else ""
        before, billed = talker.turns, session.bills

        def answering() -> None:
            talker.answering = None
            if fault == "drop in an answer":
                talker.vanish()
            elif fault not in _ARGUMENTS or not self._harm(session, fault, billed):
                return
            self.result.faults[fault] += 1

        talker.answering = answering
        while talker.turns == before:
            try:
                await talker.turn()
            except CutError:
                await talker.come_back()
        if fault == "drop":
            self.result.faults[fault] += 1
            talker.vanish()
            await talker.come_back()

    def _harm(self, session: Session, fault: str, billed: int) -> bool:
        """Do something to the line in the middle of an answer; whether it could be done.

        Not while the answer's bill is under way, because a cut would swallow it: the simulator would count what
        nobody was ever told.
        """
        if session.open_connection is None or session.bills != billed:
            return False
        return bool(self.simulator.fault(Action(fault, _ARGUMENTS[fault]), session.open_connection))


_ARGUMENTS: dict[str, dict[str, Any]] = {
    "go_away": {"time_left": 2.0},
    "cut": {"reset": True},
    "close": {"code": 1011, "reason": "Internal error encountered."},
}


async def run(options: Options) -> Result:
    """Run it all. Raises ProofError when there is nothing to measure."""
    result = Result(options)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proof-")))
        books: Books
        if options.store == "redis":
            server = await stack.enter_async_context(redis_server(folder))
            store: dict[str, Any] = {"kind": "redis", "url": server.url}
            books = lambda: redis_tally(server)  # noqa: E731 - the other one is a lambda's worth too
        else:
            store = {"path": str(folder / "usage.db")}
            books = lambda: asyncio.to_thread(sqlite_tally, folder / "usage.db")  # noqa: E731
        quick = {"burst": 20.0, "go_away_after_s": 0.0, "recorded_messages": 0, "recorded_connections": 500}
        simulator = Simulator(preset("instant", **quick))
        await simulator.start()
        stack.push_async_callback(simulator.stop)
        key, sealing = "relay_" + secrets.token_urlsafe(18), secrets.token_urlsafe(32)
        program = Program(
            folder / "relay.yaml",
            _tree(options, simulator.url, key, {"store": store, "handles": {"secret": sealing}}),
            {"PROOF_TENANT_KEY": key, "PROOF_GOOGLE_KEY": GOOGLE_KEY, "PROOF_HANDLES": sealing},
        )
        relay = await stack.enter_async_context(relay_process(program))
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        running = _Run(result, simulator, relay, books)
        await running.everything(Way(http, key, running.address))
        await relay.stop()
        result.simulator, result.ledger = running.tally.now(), await books()
        _reported(result, relay)
    return result


def _tree(options: Options, upstream: str, key: str, sections: dict[str, Any]) -> dict[str, Any]:
    sections = {
        **sections,
        "handover": {"dials_per_minute": 100_000, "rotate_after": "1h"},
    }
    tree = relay_tree(Plan(transparent=options.vertex, sections=sections), upstream, key)
    model = VERTEX_MODEL if options.vertex else DEV_MODEL
    tree["policies"]["proof"]["messages"]["video"] = True
    tree["policies"]["proof"]["model"] = {"default": model, "allow": [VERTEX_MODEL] if options.vertex else ["*"]}
    return tree


def _reported(result: Result, relay: RelayProcess) -> None:
    journal = relay.journals.of("proof")
    result.handovers = Counter(f"{handover.cause} {handover.outcome}" for handover in journal.handovers)
    result.replayed = sum(handover.replayed for handover in journal.handovers)
    result.crashes = journal.crashes
