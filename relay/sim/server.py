"""The simulator's listener: upgrades on Google's paths, the inspection endpoint beside them, and the `serve` command.

Everything that decides what Google would say is in `dialogue`; nothing here prints or reads the command line.
"""

import asyncio
import re
import signal
import ssl
from collections.abc import Callable
from random import SystemRandom

import orjson
from aiohttp import web
from aiohttp.web_log import AccessLogger

from relay.sim import inspection
from relay.sim.actions import Action
from relay.sim.archive import Archive
from relay.sim.bench import Wheel
from relay.sim.connection import Connection, Surroundings
from relay.sim.dialogue import Dialogue
from relay.sim.families import Backend
from relay.sim.google import Google
from relay.sim.profile import Profile
from relay.sim.record import ConnectionRecord, Recorder
from relay.sim.rules import Caller
from relay.sim.scenario import Happened, Scenario, Script

_DEV = re.compile(
    r"/ws/google\.ai\.generativelanguage\.(v1|v1beta|v1alpha)\.GenerativeService\.BidiGenerateContent(?:Constrained)?"
)
_VERTEX = re.compile(r"/ws/google\.cloud\.aiplatform\.(v1|v1beta1)\.LlmBidiService/BidiGenerateContent")
_STOP_TIMEOUT_S = 5.0
_WRONG_ACCEPT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: d3JvbmcgYWNjZXB0IGtleSE=\r\n\r\n"
)


class Simulator:
    """A simulated Google on one port."""

    def __init__(
        self,
        profile: Profile,
        scenario: Scenario | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        scenario = scenario or Scenario()
        self.profile = scenario.applied_to(profile)
        self.host = host
        self.port = port
        """0 until `start`, where the system chose one."""
        self._ssl = ssl_context
        self._script = Script(scenario)
        random = SystemRandom()
        self.archive = Archive(self.profile, random)
        """Every session and what it was told: the ledger."""
        self._google = Google(self.profile, self.archive, self._script, random)
        self.recorder = Recorder(
            self.profile.recorded_messages, self.profile.recorded_connections, self.profile.keep_media
        )
        wheel = Wheel(self.profile.text_frames)
        self._surroundings = Surroundings(self.profile, self.recorder, wheel, self._released)
        self._live: dict[int, Connection] = {}
        self._accepted = 0
        self._runner: web.AppRunner | None = None

    @property
    def connections(self) -> list[ConnectionRecord]:
        """What is remembered of each connection, oldest first."""
        return self.recorder.records

    @property
    def url(self) -> str:
        """The base URL to point a client at, such as `ws://127.0.0.1:9999`."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self._ssl else 'ws'}://{shown}:{self.port}"

    async def start(self) -> None:
        """Bind and listen.

        Raises OSError when the address can't be bound.
        """
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app,
            access_log=None,
            access_log_class=AccessLogger,
            handler_cancellation=True,
            shutdown_timeout=1.0,
            keepalive_timeout=10.0,
        )
        await runner.setup()
        site = web.TCPSite(runner, self.host, self.port, ssl_context=self._ssl, backlog=1024)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Drop every connection and stop listening; takes a few seconds at most."""
        runner, self._runner = self._runner, None
        self._surroundings.wheel.stop()
        for connection in list(self._live.values()):
            connection.abort()
        if runner is not None:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await runner.cleanup()

    def fault(self, action: Action, connection: int | None = None) -> list[int]:
        """Do this to one live connection, or to all; the ids of those it was done to."""
        now = asyncio.get_running_loop().time()
        chosen = [c for c in self._live.values() if connection in (None, c.record.id)]
        for one in chosen:
            one.dialogue.act(action, now)
            one.nudge()
        return [one.record.id for one in chosen]

    # -- requests ----------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = re.sub("/+", "/", request.path)
        if path.startswith("/sim/"):
            return await inspection.handle(self, path.removeprefix("/sim/"), request)
        dev, vertex = _DEV.fullmatch(path), _VERTEX.fullmatch(path)
        found = dev or vertex
        if found is None:
            return web.Response(status=404)
        record = self._record(request)
        refused = await self._refusal(request, record)
        if refused is not None:
            record.status, record.closed_at = refused.status, asyncio.get_running_loop().time()
            return refused
        backend = Backend.DEV if dev else Backend.VERTEX
        shown = " ".join(f"{name}: {value}" for name, value in request.headers.items())
        caller = Caller(record.id, backend, found[1], _credentials(request), f"{shown} {request.query_string}")
        return await self._converse(request, record, caller)

    async def _converse(self, request: web.Request, record: ConnectionRecord, caller: Caller) -> web.WebSocketResponse:
        profile = self.profile
        ws = web.WebSocketResponse(
            timeout=profile.close_timeout_s,
            autoclose=False,
            autoping=False,
            compress=False,
            max_msg_size=profile.max_message_bytes,
        )
        if self._answer_to(record) == "bad-subprotocol":
            ws.headers["Sec-WebSocket-Protocol"] = "nobody.offered.this"
        await ws.prepare(request)
        dialogue = Dialogue(self._google, caller, asyncio.get_running_loop().time())
        connection = Connection(self._surroundings, dialogue, record, request, ws)
        self._live[record.id] = connection
        try:
            await connection.run()
        finally:
            del self._live[record.id]
            record.closed_at = asyncio.get_running_loop().time()
        return ws

    def _released(self) -> None:
        """A session lost its connection: resumes that waited for that may go on."""
        now = asyncio.get_running_loop().time()
        for waiting in [c for c in self._live.values() if c.dialogue.waits_for_old_connection]:
            waiting.dialogue.old_connection_closed(now)
            waiting.nudge()

    def _record(self, request: web.Request) -> ConnectionRecord:
        self._accepted += 1
        path, _, query = request.raw_path.partition("?")
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            low = name.lower()
            headers[low] = f"{headers[low]}, {value}" if low in headers else value
        record = ConnectionRecord(self._accepted, path, query, headers, asyncio.get_running_loop().time())
        self.recorder.open(record)
        return record

    def _answer_to(self, record: ConnectionRecord) -> str:
        """The profile's answer to this upgrade."""
        failures = self.profile.upgrade_failures
        return "ok" if failures and record.id > failures else self.profile.upgrade

    async def _refusal(self, request: web.Request, record: ConnectionRecord) -> web.StreamResponse | None:
        """What the upgrade gets instead of a 101, if the script or the profile wants that."""
        answer = self._answer_to(record)
        for action in self._script.on(Happened("connect", record.id)):
            if action.kind == "refuse":
                answer = str(action.arguments["status"])
        if answer in ("ok", "bad-subprotocol"):
            return None
        if answer == "hang":
            await asyncio.Event().wait()  # ends when the client leaves: the handler is cancelled then
        if answer == "bad-accept" and request.transport is not None:
            request.transport.write(_WRONG_ACCEPT)
            await asyncio.sleep(0)
            request.transport.close()
            return web.Response(status=101)
        if answer == "redirect":
            return web.Response(status=302, headers={"Location": self.profile.redirect_to})
        text = "the simulator was told to refuse"
        if self.profile.echo_credentials:
            text += f"\n{request.raw_path}\n" + "\n".join(f"{n}: {v}" for n, v in request.headers.items())
        again = {"Retry-After": "1"} if answer in ("429", "503") else None
        return web.Response(status=int(answer), text=text, headers=again)


async def serve(
    profile: Profile, scenario: Scenario | None, host: str, port: int, announce: Callable[[str], None]
) -> None:
    """Run a simulator until SIGINT, SIGTERM or cancellation; `announce` is given the one line that says it is ready.

    Raises OSError when the address can't be bound.
    """
    simulator = Simulator(profile, scenario, host=host, port=port)
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop.set)
    try:
        await simulator.start()
        announce(orjson.dumps({"event": "ready", "listen": simulator.url}).decode())
        await told_to_stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        await simulator.stop()


def _credentials(request: web.Request) -> tuple[str, ...]:
    """Every credential of the request, each once."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    found = [
        request.headers.get("x-goog-api-key", ""),
        token if scheme.lower() in ("bearer", "token") else "",
        *request.query.getall("key", []),
        *request.query.getall("access_token", []),
    ]
    return tuple(dict.fromkeys(credential for credential in found if credential))
