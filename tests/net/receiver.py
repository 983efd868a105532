"""A webhook receiver for tests: it checks signatures with the code that docs/usage.md gives to its readers."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from tests import canary

DOCS = Path(__file__).parent.parent.parent / "docs"
SECRET = "webhook-secret-0123456789"


def documented_check() -> Callable[..., bool]:
    """`verified(headers, body, secret, now)` as it stands in docs/usage.md."""
    (code,) = re.findall(r"```python\n(.*?def verified.*?)```", (DOCS / "usage.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    check: Callable[..., bool] = names["verified"]
    return check


@dataclass
class Receiver:
    """Takes records, or refuses them as long as a test says so."""

    status: int = 200
    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    """Of requests that were answered with 2xx."""
    forged: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append((dict(request.headers), body))
        canary.look_for_all_in("a webhook", request.headers, body)
        if not documented_check()(request.headers, body, SECRET):
            self.forged += 1
        if 200 <= self.status < 300:
            self.records += orjson.loads(body)["data"]["records"]
        return web.Response(status=self.status, headers={"Location": "/elsewhere"})


@asynccontextmanager
async def receiver(port: int = 0) -> AsyncIterator[Receiver]:
    """One that listens."""
    made = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()
