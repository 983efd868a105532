"""An echo made of everything of the relay but its sessions: what Autobahn talks to, and what talks to Autobahn.

A client of `/server` is echoed itself. A client of `/client` makes the relay dial, as Gemini would be dialled, and
what is dialled is echoed.
"""

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web

from relay.app import bounds_of
from relay.config import loading
from relay.core.closing import Close, CloseReason, of_client_close, of_rule
from relay.core.commands import Command, End, OpenUpstream, Send
from relay.core.events import DOWNSTREAM, Closed, DialFailed, Event, Received
from relay.core.refusals import Rule
from relay.core.secret import Secret
from relay.core.session import Session
from relay.net.credentials import ApiKey
from relay.net.driver import Driver, Observer, Wiring
from relay.net.server import Bounds, unopened
from relay.net.upstream import Target, Upstream

LARGE = 32 * 1024 * 1024
"""More than the largest message of the suite, 16 MiB."""


class EchoSession:
    """Stands where a session does: says back what one leg says, and ends as a session would when that leg does."""

    def __init__(self, leg: int) -> None:
        self._leg = leg

    def ask_tcp(self, unacknowledged: Callable[[int], int]) -> None:
        """Nothing is journalled here."""

    def start(self, _now: float) -> list[Command]:
        """Dial, unless it is the client that is to be echoed."""
        return [OpenUpstream(self._leg)] if self._leg != DOWNSTREAM else []

    def handle(self, event: Event, _now: float) -> list[Command]:
        """Echo, or end."""
        match event:
            case Received(leg, payload, text) if leg == self._leg:
                # The engine hands text over unread: it is a session's readers that find bytes that are no UTF-8.
                if text and not _is_utf8(payload):
                    unreadable = of_rule(Rule.NOT_JSON) if leg == DOWNSTREAM else CloseReason.UPSTREAM_NONSENSE
                    return [End(Close(unreadable))]
                return [Send(leg, payload, text)]
            case Closed(_, code, _):
                return [End(Close(of_client_close(code)))]
            case DialFailed():
                return [End(Close(of_client_close(1006)))]
            case _:
                return []


class _Quiet:
    """An observer that looks away, save from our own bugs."""

    def crashed(self, error: Exception) -> None:
        raise error

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None


class Echo:
    """One listener, and how each of its sessions ended."""

    def __init__(self, limits: Mapping[str, Any]) -> None:
        """`limits` replaces keys of the section of that name in the relay's configuration."""
        self.closes: list[Close] = []
        config = loading.build(
            {
                "upstream": {"api_key": "not-a-key", "max_message": limits.get("max_message", LARGE)},
                "limits": dict(limits),
                "policies": {"any": {"model": "models/any"}},
                "tenants": [{"id": "autobahn", "keys": ["k" * 32], "policy": "any"}],
            }
        )
        self._bounds: Bounds = bounds_of(config)
        self._timeout_s = config.upstream.connect_timeout
        self._max_upstream_bytes = config.upstream.max_message

    def application(self) -> web.Application:
        """Both ways of being echoed."""
        application = web.Application()
        application.router.add_get("/server", functools.partial(self._serve, DOWNSTREAM))
        application.router.add_get("/client", functools.partial(self._serve, DOWNSTREAM + 1))
        return application

    async def _serve(self, leg: int, request: web.Request) -> web.StreamResponse:
        target = Target(request.query.get("dial", ""), self._timeout_s, self._max_upstream_bytes)
        upstream = Upstream(target, ApiKey(Secret("not-a-key")))
        await upstream.start()
        try:
            socket = unopened(self._bounds)
            await socket.prepare(request)
            driver = Driver(
                cast(Session, EchoSession(leg)),
                Wiring(
                    upstream.dial,
                    self._bounds.downstream,
                    self._bounds.upstream,
                    cast(Observer, _Quiet()),
                    lambda _: None,
                    lambda payload: payload,
                    lambda _: None,
                ),
            )
            close = await driver.run(socket)
        finally:
            await upstream.stop()
        if close is not None:
            self.closes.append(close)
        return socket


@asynccontextmanager
async def serving(limits: Mapping[str, Any]) -> AsyncIterator[tuple[Echo, int]]:
    """Listen on a free port of the loopback until the block ends."""
    echo = Echo(limits)
    runner = web.AppRunner(echo.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield echo, runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
