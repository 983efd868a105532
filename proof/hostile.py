"""`python -m proof hostile`: every attack of a hostile client alone, then all at once beside sessions that behave."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from proof.attacks import ATTACKS, Attack
from proof.client import Client, ProofError, talking
from proof.crowd import KEY
from proof.figures import note
from proof.paced import SHARES
from proof.raw import connected
from proof.relays import READY_S, ROOT, Program, RelayProcess, relay_process
from proof.siege import Alone, Mix, Options, Result
from proof.stage import GOOGLE_KEY, Plan, relay_tree
from relay.sim import Simulator
from relay.sim.profile import preset

_HOSTILE = "hostile"
_AHEAD = {"relay": 10, "proof": 5}
"""Among the threads that the kernel runs before all others: the crowd and the rest of the machine wait for these."""
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class _Run:
    """One run while it lasts."""

    def __init__(self, options: Options, simulator: Simulator) -> None:
        self.options = options
        self.simulator = simulator
        self.key, self.hostile_key = (f"relay_{secrets.token_urlsafe(18)}" for _ in range(2))
        self.relay: RelayProcess
        self.http: aiohttp.ClientSession
        self.result = Result(options)

    def resident_kib(self) -> int:
        """The relay's memory."""
        return int(Path(f"/proc/{self.relay.pid}/statm").read_text().split()[1]) * _PAGE_KIB

    def cpu_s(self) -> float:
        """The processor time the relay has used."""
        fields = Path(f"/proc/{self.relay.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def hostile_ends(self) -> list[str]:
        """Why the relay ended sessions of hostile clients, so far."""
        return [one.reason for one in self.relay.journals.of(_HOSTILE).ended]

    async def lag(self) -> dict[str, float]:
        """How late the relay's loop was since this was last asked. Raises ProofError when it does not say."""
        lines = self.relay.journals.of("")
        before = len(lines.all("lag"))
        os.kill(self.relay.pid, signal.SIGUSR1)
        deadline = time.monotonic() + READY_S
        while len(found := lines.all("lag")) == before:
            if time.monotonic() > deadline:
                raise ProofError("the relay does not say how late it is")
            await asyncio.sleep(0.02)
        return {prefix + name: float(found[-1][prefix + name]) for prefix in ("", "own_") for name in SHARES}

    # -- one at a time ---------------------------------------------------------------------------------------------

    async def alone(self) -> None:
        """Each attack by itself, the second time measured: the first one fills pools and caches."""
        for attack in ATTACKS:
            if not attack.slow:
                for measured in (False, True):
                    one = await self._attack(attack)
                    if measured:
                        self.result.alone.append(one)

    async def _attack(self, attack: Attack) -> Alone:
        await self.lag()
        ends, before = len(self.hostile_ends), self.resident_kib()
        async with self._watched() as peak:
            async with connected(self.relay.base_url, self.hostile_key, headers=attack.headers) as raw:
                await attack.begin(raw)
                done = time.monotonic()
                try:
                    code = await raw.ending()
                except TimeoutError:
                    code = 0
                took_s = time.monotonic() - done
            await self._until(lambda: len(self.hostile_ends) > ends)
        reason = self.hostile_ends[ends] if len(self.hostile_ends) > ends else "never ended"
        return Alone(attack, reason, code, took_s, max(peak[0] - before, 0), (await self.lag())["own_max"])

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[list[int]]:
        """The largest size of the relay until the block ends."""
        peak = [self.resident_kib()]

        async def look() -> None:
            while True:
                peak[0] = max(peak[0], self.resident_kib())
                await asyncio.sleep(0.005)

        looking = asyncio.create_task(look())
        try:
            yield peak
        finally:
            looking.cancel()
            peak[0] = max(peak[0], self.resident_kib())

    async def _until(self, condition: Any, timeout_s: float = 5.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    # -- those that do not read --------------------------------------------------------------------------------------

    async def slow(self) -> None:
        """Many clients that ask and do not read: what each costs, and when they are given up."""
        slow = [attack for attack in ATTACKS if attack.slow]
        ends, before = len(self.hostile_ends), self.resident_kib()
        patience_s = self.options.stuck_s * 2 + 20.0

        async def one(attack: Attack) -> float:
            begin = time.monotonic()
            async with connected(self.relay.base_url, self.hostile_key, receive_buffer=attack.receive_buffer) as raw:
                await raw.set_up()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        await attack.run(raw)
                return time.monotonic() - begin

        async with self._watched() as peak:
            playing = (one(slow[number % len(slow)]) for number in range(self.options.readers))
            took = await asyncio.gather(*playing)
            await self._until(lambda: len(self.hostile_ends) >= ends + self.options.readers)
        reasons = self.hostile_ends[ends:]
        self.result.slow_reasons = {reason: reasons.count(reason) for reason in set(reasons)}
        self.result.slow_took_s = max(took, default=0.0)
        self.result.slow_kib = max(peak[0] - before, 0) / max(self.options.readers, 1)

    # -- all at once ---------------------------------------------------------------------------------------------------

    async def mix(self) -> None:
        """Sessions that behave, for a while alone and for a while among all attacks."""
        async with contextlib.AsyncExitStack() as stack:
            clients: list[Client] = []
            asking = []
            for _ in range(self.options.sessions):
                client = await stack.enter_async_context(talking(self.http, self.relay.base_url, self.key))
                client.streaming.set()
                clients.append(client)
                asking.append(asyncio.create_task(self._ask(client)))
            try:
                await asyncio.sleep(1.0)
                await self._measured(self.result.quiet, clients)
                async with self._crowd():
                    await asyncio.sleep(1.0)
                    await self._measured(self.result.mixed, clients)
            finally:
                for task in asking:
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
                self.result.ended = sum(client.closed is not None for client in clients)

    async def _measured(self, mix: Mix, clients: list[Client]) -> None:
        loop = asyncio.get_running_loop()
        await self.lag()
        begin, cpu_s = loop.time(), self.cpu_s()
        await asyncio.sleep(self.options.seconds)
        mix.busy = (self.cpu_s() - cpu_s) / (loop.time() - begin)
        mix.lag_ms = await self.lag()
        for client in clients:
            since = [got for got in client.got if got.at >= begin]
            mix.down_s += [got.at - got.stamped_at for got in since if got.stamped_at is not None]
        mix.answer_s = [took for at, took in self._answers if at >= begin]

    _answers: list[tuple[float, float]]

    async def _ask(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                begin, before = loop.time(), len(client.all("turnComplete"))
                heard = len([got for got in client.got if got.stamped_at is not None])
                await client.say()
                await client.until("turnComplete", before + 1)
                first = [got.at for got in client.got if got.stamped_at is not None][heard]
                self._answers.append((begin, first - begin))
                await asyncio.sleep(0.5)
        except ProofError as error:
            self.result.failures.append(str(error))

    @contextlib.asynccontextmanager
    async def _crowd(self) -> AsyncIterator[None]:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proof.crowd", self.relay.base_url, str(self.options.each)),
            cwd=ROOT,
            env={**os.environ, KEY: self.hostile_key},
            stdout=asyncio.subprocess.PIPE,
        )
        os.sched_setaffinity(child.pid, os.sched_getaffinity(0) | os.sched_getaffinity(self.relay.pid))
        try:
            yield
        finally:
            child.terminate()
            output, _ = await child.communicate()
            with contextlib.suppress(json.JSONDecodeError):
                self.result.attacks = json.loads(output)


async def run(options: Options) -> Result:
    """Run it all. Raises ProofError when there is nothing to measure."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proof-")))
        simulator = Simulator(preset("instant", burst=20.0, numbered=True, go_away_after_s=0.0))
        await simulator.start()
        stack.push_async_callback(simulator.stop)
        made = _Run(options, simulator)
        made._answers = []
        made.relay = await stack.enter_async_context(relay_process(_program(made, folder / "relay.yaml")))
        if options.apart:
            stack.enter_context(_apart(made))
        made.http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        note("proof: each attack alone")
        await made.alone()
        note("proof: clients that do not read")
        await made.slow()
        note("proof: all at once")
        await made.mix()
        await made._until(lambda: False, 1.0)
        made.result.crashes = sum(made.relay.journals.of(tenant).crashes for tenant in ("proof", _HOSTILE))
        return made.result


@contextlib.contextmanager
def _apart(made: _Run) -> Iterator[None]:
    """Give the relay a processor to itself and the rest of this program another one, before all others: takes root.

    Two of them, for the kernel stops a processor's real-time programs for 50 ms of each second in which they would take
    more than 950: it was that what a relay beside this program on one processor was late by.
    """
    processors = os.sched_getaffinity(0)
    first, *others = sorted(processors)
    if not others:
        note("proof: one processor: what else this machine does is in the figures")
        yield
        return
    try:
        for thread in Path(f"/proc/{made.relay.pid}/task").iterdir():  # one that waits may hold the interpreter's lock
            os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(_AHEAD["relay"]))
            os.sched_setaffinity(int(thread.name), {first})
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(_AHEAD["proof"]))
        os.sched_setaffinity(0, others)
        made.result.apart = True
    except PermissionError:
        note("proof: not root: what else this machine does is in the figures")
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, processors)


def _program(made: _Run, file: Path) -> Program:
    patience = {"stuck_timeout": f"{made.options.stuck_s:g}s", "close_timeout": f"{made.options.close_s:g}s"}
    sections = {"limits": patience, "handover": {"rotate_after": "1h"}}
    tree = relay_tree(Plan(sections=sections), made.simulator.url, made.key)
    tree["tenants"].append({**tree["tenants"][0], "id": _HOSTILE, "keys": [made.hostile_key]})
    secrets_by_name = {"PROOF_TENANT_KEY": made.key, KEY: made.hostile_key, "PROOF_GOOGLE_KEY": GOOGLE_KEY}
    return Program(file, tree, secrets_by_name, ("proof.paced",))
