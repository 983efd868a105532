"""`python -m proof admission`: three relays on one Redis, a crowd at their doors, and a Redis that fails meanwhile."""

import asyncio
import contextlib
import secrets
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from proof.client import PATH, Client, ProofError, talking
from proof.figures import note
from proof.outage import RELAYS, Answer, Options, Phase, Result
from proof.relays import Program, RelayProcess, relay_process
from proof.servers import RedisServer, redis_server
from proof.stage import GOOGLE_KEY, Plan, relay_tree
from proof.tally import REPORTS, SimulatorTally, redis_tally
from relay.sim import Simulator
from relay.sim.profile import preset

OPEN = RELAYS - 1
"""The relay that admits within its share while Redis is away; the others are closed."""
_WAIT_S = 20.0
_PAUSE_S = 0.5
"""Between an answer and the next question."""


class _Run:
    """One run while it lasts."""

    def __init__(self, options: Options, server: RedisServer, simulator: Simulator) -> None:
        self.options = options
        self.server = server
        self.simulator = simulator
        self.tally = SimulatorTally(simulator)
        self.key = "relay_" + secrets.token_urlsafe(18)
        self.relays: list[RelayProcess] = []
        self.clients: list[Client] = []
        self.http: aiohttp.ClientSession
        self.result = Result(options)

    # -- the crowd -----------------------------------------------------------------------------------------------

    async def crowd(self) -> None:
        """All of them at once."""
        begin = asyncio.get_running_loop().time()
        answers = await self._knock([self.relays[number % RELAYS] for number in range(self.options.crowd)])
        self.result.crowd_s = asyncio.get_running_loop().time() - begin
        self.result.crowd = Counter(answer.status for answer in answers)
        self.result.hinted = sum(answer.retry_after.isdigit() for answer in answers if answer.status == 429)
        await self._all_free()

    async def _knock(self, doors: list[RelayProcess]) -> list[Answer]:
        """Try to begin sessions at all of these together; those that were admitted leave when all were answered."""
        sockets: list[aiohttp.ClientWebSocketResponse] = []

        async def one(relay: RelayProcess) -> Answer:
            begin = asyncio.get_running_loop().time()
            retry_after, status = "", 101
            try:
                async with asyncio.timeout(_WAIT_S):
                    headers = {"x-goog-api-key": self.key}
                    sockets.append(await self.http.ws_connect(relay.base_url + PATH, headers=headers))
            except aiohttp.WSServerHandshakeError as error:
                status, retry_after = error.status, error.headers["Retry-After"] if error.headers else ""
            return Answer(status, retry_after, asyncio.get_running_loop().time() - begin)

        answers = await asyncio.gather(*(one(relay) for relay in doors))
        await asyncio.gather(*(socket.close() for socket in sockets))
        return answers

    async def _all_free(self) -> None:
        """Wait until no place is taken any more."""
        async with self.server.client() as redis, asyncio.timeout(_WAIT_S):
            while await redis.zcard("relay:{proof}:places"):
                await asyncio.sleep(0.02)

    # -- Redis fails -----------------------------------------------------------------------------------------------

    async def phase(self, name: str, fault: Callable[[], Awaitable[None]], mend: Callable[[], Awaitable[None]]) -> None:
        """Do something to Redis for a while, and look at live frames, new sessions, usage and the way back."""
        note(f"proof: {name}")
        loop, phase = asyncio.get_running_loop(), Phase(name)
        self.result.phases.append(phase)
        leaving = await self._leaver()
        reports = self.tally.now()[REPORTS]
        begin = loop.time()
        await fault()
        await asyncio.sleep(self.options.phase_s / 2)
        await self._try_doors(phase)
        await leaving.aclose()
        await asyncio.sleep(max(begin + self.options.phase_s - loop.time(), 0.0))
        end = loop.time()
        phase.reports = self.tally.now()[REPORTS] - reports
        await mend()
        mended = loop.time()
        phase.recovered_s = await self._recovered(mended) if name != _UNHARMED else None
        self._latencies(phase, begin, end)

    async def _leaver(self) -> contextlib.AsyncExitStack:
        """A session that has used something, and that can be ended in the middle of a phase."""
        stack = contextlib.AsyncExitStack()
        client = await stack.enter_async_context(talking(self.http, self.relays[0].base_url, self.key))
        await client.turn()
        return stack

    async def _try_doors(self, phase: Phase) -> None:
        live = sum(client.closed is None for client in self.clients[OPEN::RELAYS])
        phase.room = max(self.options.limit // RELAYS - live, 0)
        doors = [self.relays[0], self.relays[1]] * 2
        answers = await self._knock(doors)
        more = await self._knock([self.relays[OPEN]] * (phase.room + 5))
        phase.closed = Counter(answer.status for answer in answers)
        phase.open = Counter(answer.status for answer in more)
        phase.slowest_s = max(answer.took_s for answer in [*answers, *more])

    async def _recovered(self, since: float) -> float | None:
        """When every relay settles again and the closed ones admit; None when that does not come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_S):
                while True:
                    healthy = [await self._healthy(relay) for relay in self.relays]
                    if all(healthy):
                        answers = await self._knock(self.relays[:OPEN])
                        if all(answer.status == 101 for answer in answers):
                            return asyncio.get_running_loop().time() - since
                    await asyncio.sleep(0.02)
        return None

    async def _healthy(self, relay: RelayProcess) -> bool:
        async with self.http.get(relay.admin_url + "/readyz") as response:
            return response.status == 200 and (await response.json())["degraded"] is False

    def _latencies(self, phase: Phase, begin: float, end: float) -> None:
        arrived = {record.id: record.messages for record in self.simulator.connections}
        for session in self.simulator.archive:
            client = next((one for one in self.clients if one.session == session.id), None)
            if client is None:
                continue
            for entry in session.trail.entries():
                sent_at = client.sent_at.get(entry.number or 0)
                if sent_at is not None and begin <= sent_at < end:
                    phase.up_s.append(arrived[entry.connection][entry.place].at - sent_at)
        for client in self.clients:
            frames = [got for got in client.got if got.stamped_at is not None and begin <= got.stamped_at < end]
            phase.down_s += [got.at - got.stamped_at for got in frames if got.stamped_at is not None]

    # -- talking -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def talkers(self) -> AsyncIterator[None]:
        """Sessions that stream and ask, spread over the relays, until the block ends."""
        async with contextlib.AsyncExitStack() as stack:
            asking = []
            for number in range(self.options.sessions):
                relay = self.relays[number % RELAYS]
                client = await stack.enter_async_context(talking(self.http, relay.base_url, self.key))
                client.session = list(self.simulator.archive)[-1].id
                self.clients.append(client)
                client.streaming.set()
                asking.append(asyncio.create_task(self._ask(client)))
            try:
                yield
            finally:
                for task in asking:
                    task.cancel()
                await asyncio.gather(*asking, return_exceptions=True)
                self.result.ended = sum(client.closed is not None for client in self.clients)

    async def _ask(self, client: Client) -> None:
        try:
            while True:
                await client.turn()
                await asyncio.sleep(_PAUSE_S)
        except ProofError as error:
            self.result.failures.append(str(error))


_UNHARMED = "well"


async def run(options: Options) -> Result:
    """Run it all. Raises ProofError when there is nothing to measure."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proof-")))
        server = await stack.enter_async_context(redis_server(folder))
        simulator = Simulator(
            preset("instant", burst=4.0, numbered=True, go_away_after_s=0.0, recorded_messages=100_000)
        )
        await simulator.start()
        stack.push_async_callback(simulator.stop)
        made = _Run(options, server, simulator)
        for number in range(RELAYS):
            program = _program(made, folder / f"relay-{number}.yaml", "open" if number == OPEN else "closed")
            made.relays.append(await stack.enter_async_context(relay_process(program)))
        made.http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        await made.crowd()
        async with made.talkers():
            await _phases(made)
        for relay in made.relays:
            await relay.stop()
        made.result.simulator, made.result.ledger = made.tally.now(), await redis_tally(server)
        return made.result


async def _phases(made: _Run) -> None:
    server, seconds = made.server, made.options.phase_s

    async def nothing() -> None:
        pass

    async def stop() -> None:
        server.send(signal.SIGSTOP)

    async def go_on() -> None:
        server.send(signal.SIGCONT)

    async def paused() -> None:
        """The pause ends by itself."""

    await made.phase(_UNHARMED, nothing, nothing)
    await made.phase("stopped (SIGSTOP)", stop, go_on)
    await made.phase("paused (CLIENT PAUSE)", lambda: server.pause(seconds), paused)
    await made.phase("killed, started again", server.kill, server.start)


def _program(made: _Run, file: Path, when_down: str) -> Program:
    sections: dict[str, dict[str, Any]] = {
        "store": {"kind": "redis", "url": made.server.url, "when_down": when_down, "replicas": RELAYS},
        "handover": {"rotate_after": "1h"},
    }
    tree = relay_tree(Plan(sections=sections), made.simulator.url, made.key)
    tree["tenants"][0]["quotas"] = {"concurrent_sessions": made.options.limit}
    return Program(file, tree, {"PROOF_TENANT_KEY": made.key, "PROOF_GOOGLE_KEY": GOOGLE_KEY})
