"""A scriptable origin in Gemini's place and a real relay in front of it, both on loopback."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from relay import config
from relay.app import Relay

KEY = "AIzaCanaryGoogleKey0123456789abcdefgh"
TENANT_KEY = "relay_tenant-key-0123456789"
PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
WAIT_S = 10.0

OriginScript = Callable[[web.WebSocketResponse], Awaitable[None]]


async def answer_setup(socket: web.WebSocketResponse) -> None:
    """Gemini's part of a quiet conversation: answer the setup, then listen."""
    await socket.receive_str()
    await socket.send_bytes(b'{\n  "setupComplete": {}\n}\n')
    async for _ in socket:
        pass


@dataclass
class Origin:
    """An aiohttp server that does what a test tells it to."""

    script: OriginScript = answer_setup
    refuse: Callable[[web.Request], web.StreamResponse] | None = None
    requests: list[web.BaseRequest] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.refuse is not None:
            return self.refuse(request)
        socket = web.WebSocketResponse(max_msg_size=0, compress=False)
        await socket.prepare(request)
        await self.script(socket)
        return socket


Start = Callable[..., Awaitable["Running"]]


@dataclass
class Running:
    """A relay that serves, and a client session to reach it with."""

    relay: Relay
    addresses: dict[str, str]
    http: aiohttp.ClientSession

    async def connect(self, path: str = PATH, **options: Any) -> aiohttp.ClientWebSocketResponse:
        options.setdefault("headers", {"x-goog-api-key": TENANT_KEY})
        async with asyncio.timeout(WAIT_S):
            url = self.addresses["listen"] + path
            socket: aiohttp.ClientWebSocketResponse = await self.http.ws_connect(url, max_msg_size=0, **options)
            return socket

    async def conversation(
        self, setup: dict[str, Any] | None = None, key: str = TENANT_KEY
    ) -> aiohttp.ClientWebSocketResponse:
        """A client whose setup was answered."""
        socket = await self.connect(headers={"x-goog-api-key": key})
        await socket.send_json({"setup": setup or {}})
        async with asyncio.timeout(WAIT_S):
            message = await socket.receive()
        assert json.loads(message.data) == {"setupComplete": {}}
        return socket

    async def metrics(self) -> str:
        async with self.http.get(self.addresses["admin"] + "/metrics") as response:
            return await response.text()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    """Gemini's stand-in; set `script` or `refuse` before a client connects."""
    made = Origin()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def start(origin: Origin) -> AsyncIterator[Start]:
    """Starts relays in front of the origin; keyword arguments replace sections of a small configuration."""
    async with AsyncExitStack() as stack:

        async def run(**sections: Any) -> Running:
            demo_faults = sections.pop("demo_faults", None)
            policy = sections.pop("policy", {"model": "models/gemini-3.8-live", "allow": ["*"]})
            tenant = {"id": "acme", "keys": [TENANT_KEY], "policy": "under-test"} | sections.pop("tenant", {})
            upstream = {"base_url": origin.url, "api_key": KEY} | sections.pop("upstream", {})
            tree: dict[str, Any] = {
                "listen": {"port": 0},
                "admin": {"port": 0},
                "limits": {"drain_timeout": "2s", "close_timeout": "500ms"},
                "upstream": upstream,
                "policies": {"under-test": policy},
                "tenants": [tenant, *sections.pop("tenants", [])],
            }
            for name, section in sections.items():
                tree[name] = {**tree.get(name, {}), **section}
            relay = Relay(config.build(tree), demo_faults=demo_faults)
            addresses = await relay.start()
            stack.push_async_callback(relay.stop)
            http = await stack.enter_async_context(aiohttp.ClientSession())
            running = Running(relay, addresses, http)
            stack.push_async_callback(_look_at_metrics, running)
            return running

        yield run


async def _look_at_metrics(running: Running) -> None:
    """Once more before the end, so that tests.canary sees them."""
    with contextlib.suppress(aiohttp.ClientError):  # the test has stopped it already
        await running.metrics()


async def end_of(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """The close code and reason a client gets, whatever came before them."""
    async with asyncio.timeout(WAIT_S):
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            if message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}:
                return socket.close_code, ""
