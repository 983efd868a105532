"""Puts a simulator, perhaps something harmful, and a relay in a row, and collects what each of them knows."""

import asyncio
import contextlib
import os
import secrets
import signal
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import trustme

from proof.client import Client, ProofError, talking
from proof.ledger import Counts, diff
from proof.netns import Cable, cable
from proof.proxy import FaultProxy
from proof.records import Journal, Journals
from proof.relays import READY_S, Program, relay_process
from relay import config
from relay.app import Relay
from relay.sim import Scenario, Simulator
from relay.sim.archive import Session
from relay.sim.profile import Profile, preset

DEV_MODEL = "models/gemini-2.5-flash-native-audio-latest"
VERTEX_MODEL = "projects/proof/locations/here/publishers/google/models/gemini-live-2.5-flash-native-audio"
GOOGLE_KEY = "AIzaProofOfContinuityNoRealKey000000000"
_AUTHORITY = "authority.pem"
_NO_PAYLOAD = frozenset({"setupComplete", "sessionResumptionUpdate", "goAway"})


@dataclass(frozen=True, slots=True)
class Plan:
    """How a stage is set up."""

    tenant: str = "proof"
    """Also names the run in the relay's log."""
    transparent: bool = False
    """The simulator plays Vertex, which says what it has consumed."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Of the simulator, on top of a quick profile."""
    scenario: Scenario = field(default_factory=Scenario)
    sections: Mapping[str, Any] = field(default_factory=dict)
    """Of relay.yaml, on top of `relay_tree`; lists replace its own."""
    proxied: bool = False
    """A `FaultProxy` stands between the relay and the simulator."""
    own_process: bool = False
    """The relay is `python -m relay serve`, not an object in this process."""
    watched: bool = False
    """That process is `python -m proof.subject` instead, whose `vitals` can be asked for."""
    tls: bool = False
    """The simulator speaks TLS; needs `own_process`, because the relay must trust its certificate from the start."""
    cable: bool = False
    """The proxy listens at the far end of a `netns.Cable`, where packets can be dropped."""


def relay_tree(plan: Plan, upstream: str, tenant_key: str) -> dict[str, Any]:
    """The configuration of the relay under test: the one place that knows how the two modes are written in it."""
    model = VERTEX_MODEL if plan.transparent else DEV_MODEL
    tree: dict[str, Any] = {
        "listen": {"port": 0, "max_sessions": 12_000},
        "admin": {"port": 0},
        "upstream": {"base_url": upstream, "api_key": GOOGLE_KEY},
        "policies": {
            "proof": {
                "model": model,
                "allow": ["*"],
                "enforce": {"generationConfig": {"responseModalities": ["AUDIO"]}, "outputAudioTranscription": {}},
                "messages": {"context_update": True},
                "continuity_events": "loss",
            }
        },
        "tenants": [{"id": plan.tenant, "keys": [tenant_key], "policy": "proof"}],
        "log": {"format": "json"},
    }
    if plan.transparent:
        tree["upstream"]["vertex"] = {}  # express mode: a key is all it needs
    for name, section in plan.sections.items():
        tree[name] = {**tree.get(name, {}), **section} if isinstance(section, Mapping) else section
    return tree


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a relay's process holds."""

    tasks: int
    timers: int
    files: int
    """Sockets among them."""
    resident_kib: int

    @property
    def held(self) -> tuple[int, int, int]:
        """All that must come back exactly."""
        return self.tasks, self.timers, self.files


class Stage:
    """A running simulator and a relay in front of it."""

    def __init__(self, plan: Plan, simulator: Simulator, http: aiohttp.ClientSession) -> None:
        self.plan = plan
        self.simulator = simulator
        self.http = http
        self.proxy: FaultProxy | None = None
        self.cable: Cable | None = None
        self.tenant_key = "relay_" + secrets.token_urlsafe(18)
        self.base_url = ""
        self.admin_url = ""
        self.pid: int | None = None
        """Of the relay's process, where it has its own."""
        self.journals = Journals()

    @property
    def journal(self) -> Journal:
        """What the relay said about this stage's sessions."""
        return self.journals.of(self.plan.tenant)

    def client(self, setup: Mapping[str, Any] | None = None) -> contextlib.AbstractAsyncContextManager[Client]:
        """A client that talks through the relay."""
        return talking(self.http, self.base_url, self.tenant_key, setup)

    @property
    def wall(self) -> float:
        """What to add to the loop's clock to get seconds since the epoch."""
        return time.time() - asyncio.get_running_loop().time()

    def sessions(self) -> list[Session]:
        """The simulator's sessions, oldest first."""
        return list(self.simulator.archive)

    async def vitals(self) -> Vitals:
        """What the relay's process holds now. Raises ProofError when it does not answer."""
        assert self.pid is not None, "only a watched relay can be asked"
        before = len(self.journals.of("").all("vitals"))
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + READY_S
        while len(found := self.journals.of("").all("vitals")) == before:
            if time.monotonic() > deadline:
                raise ProofError("the relay does not say what it holds")
            await asyncio.sleep(0.02)
        return Vitals(**{name: found[-1][name] for name in Vitals.__dataclass_fields__})

    def open_connection(self, session: Session) -> int:
        """The connection that carries a session now. Raises ProofError when there is none."""
        if session.open_connection is None:
            raise ProofError(f"{session.id} has no connection")
        return session.open_connection


def up_counts(client: Client, sessions: list[Session]) -> Counts:
    """What a client sent against what the state of the last session contains, or that of any before it once had."""
    last = consumed_by(sessions[-1])
    known = set(last)
    before = [one for session in sessions[:-1] for one in consumed_by(session) if one not in known]
    return diff(client.sent, [*before, *last])


def consumed_by(session: Session) -> list[int | str]:
    """What a session's state contains, as the client names it: a number, or the kind of what bears none."""
    found: list[int | str] = []
    for entry in session.trail.entries():
        number = entry.number
        if number is None and entry.text.startswith("#"):
            number = int(entry.text[1:].partition(" ")[0])
        found.append(entry.kind if number is None else number)
    return found


def down_counts(client: Client, sessions: list[Session]) -> tuple[Counts, int]:
    """What these sessions were sent against what the client got, whole frames by size and checksum.

    The second figure counts what was sent last on a connection that was left, and never arrived: the end of an answer
    that nobody can have any more when a line is cut, a loss like any other when a handover was planned.
    """
    arrived = Counter(client.identities)
    left = Counter(payload for session in sessions for _, payload in payloads(session))
    sent: list[tuple[int, int]] = []
    cut_off = 0
    for session in sessions:
        for connection in session.connections:
            frames = [payload for number, payload in payloads(session) if number == connection]
            while frames and left[frames[-1]] > arrived[frames[-1]] and connection != session.open_connection:
                left[frames.pop()] -= 1
                cut_off += 1
            sent += frames
    return diff(sent, client.identities), cut_off


def payloads(session: Session) -> list[tuple[int, tuple[int, int]]]:
    """What a session was sent for its client, in order: the connection, and the frame's size and checksum."""
    return [
        (entry.connection, (entry.size, entry.crc)) for entry in session.sent.entries if entry.kind not in _NO_PAYLOAD
    ]


@contextlib.asynccontextmanager
async def stage(plan: Plan, journals: Journals) -> AsyncIterator[Stage]:
    """Start everything, stop everything. A relay in this process writes into `journals`.

    Raises:
        ProofError: a relay process was not ready in time.
        relay.config.ConfigError: this relay does not know a setting the run needs.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="proof-")))
        simulator = Simulator(_profile(plan), plan.scenario, ssl_context=_certificate(folder) if plan.tls else None)
        await simulator.start()
        stack.push_async_callback(simulator.stop)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        made = Stage(plan, simulator, http)
        upstream = f"{'wss' if plan.tls else 'ws'}://{await _between(made, stack)}"
        tree = relay_tree(plan, upstream, made.tenant_key)
        if plan.own_process or plan.watched:
            relay = await stack.enter_async_context(relay_process(_program(made, tree, folder)))
            made.journals, made.pid = relay.journals, relay.pid
            made.base_url, made.admin_url = relay.base_url, relay.admin_url
        else:
            made.journals = journals
            own = Relay(config.build(tree))
            addresses = await own.start()
            stack.push_async_callback(own.stop)
            made.base_url = addresses["listen"]
            made.admin_url = addresses["admin"]
        yield made


async def _between(made: Stage, stack: contextlib.AsyncExitStack) -> str:
    """Put in what the plan wants between relay and simulator; where the relay has to dial."""
    target = ("127.0.0.1", made.simulator.port)
    if not (made.plan.proxied or made.plan.cable):
        return f"{target[0]}:{target[1]}"
    host, listener = "127.0.0.1", None
    if made.plan.cable:
        made.cable = await stack.enter_async_context(cable())
        host, listener = made.cable.there, made.cable.listener()
    made.proxy = FaultProxy(target, listener)
    await made.proxy.start()
    stack.push_async_callback(made.proxy.stop)
    return f"{host}:{made.proxy.port}"


def _certificate(folder: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1, and the file of the authority that vouches for it."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.cert_pem.write_to_path(str(folder / _AUTHORITY))
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def _profile(plan: Plan) -> Profile:
    """Quick, but not at once: an answer has to last for something to happen in the middle of it."""
    quick: dict[str, Any] = {"burst": 20.0, "numbered": True, "handles": "timer", "handle_every_s": 0.3}
    return preset("instant", **{**quick, "go_away_after_s": 0.0, **plan.knobs})


def _program(made: Stage, tree: dict[str, Any], folder: Path) -> Program:
    """The relay's process as the plan wants it."""
    return Program(
        folder / "relay.yaml",
        tree,
        {"PROOF_TENANT_KEY": made.tenant_key, "PROOF_GOOGLE_KEY": GOOGLE_KEY},
        ("proof.subject",) if made.plan.watched else ("relay", "serve", "--config"),
        {"SSL_CERT_FILE": str(folder / _AUTHORITY)} if made.plan.tls else {},
    )
