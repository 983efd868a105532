"""What a page in a real browser can do to a relay: one of the tenant's, and one of somebody else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from tests.net.conftest import PATH, TENANT_KEY, Origin, Start
from tests.support import require_node_packages, require_tool, run_node

pytestmark = pytest.mark.timeout(60)

ABNORMAL = 1006
OPERATOR = "operator-token-0123456789"
PROTOCOLS = ["relay.v1", f"relay.key.{TENANT_KEY}"]


@pytest.fixture
async def sites() -> AsyncIterator[list[str]]:
    """Two web sites that know nothing of the relay, by their origins."""
    application = web.Application()

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>page</title>", content_type="text/html")

    application.router.add_get("/", page)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    for _ in range(2):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield [f"http://127.0.0.1:{address[1]}" for address in runner.addresses]
    await runner.cleanup()


async def browse(pages: list[dict[str, Any]], resolve: str = "") -> list[dict[str, Any]]:
    """What the pages got."""
    options = {
        "chromium": str(require_tool("chromium", "chromium-browser", "google-chrome")),
        "resolve": resolve,
        "pages": pages,
    }
    seen: list[dict[str, Any]] = await asyncio.to_thread(
        run_node, require_node_packages("playwright-core"), "foreign_page.mjs", options
    )
    return seen


def refusals(metrics: str) -> dict[str, float]:
    """How often handshakes were refused, by cause."""
    lines = [line for line in metrics.splitlines() if line.startswith("relay_handshakes_refused_total{")]
    return {line.split('cause="')[1].split('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.mark.threat("B1", "B3", "A8")
async def test_a_page_of_another_origin_gets_nothing(start: Start, origin: Origin, sites: list[str]) -> None:
    """Its sockets get 403 though it has the key, no cookie helps, nothing can be read; the tenant's own page works."""
    own, foreign = sites
    running = await start(
        tenant={"origins": [own], "keys_in_url": True, "tickets_from_pages": True},
        admin={"token": OPERATOR},
        demo={"tenant": "acme"},
    )
    listen, admin = running.addresses["listen"], running.addresses["admin"]
    socket = listen.replace("http://", "ws://")
    keyed = [[f"{socket}{PATH}?key={TENANT_KEY}", []], [f"{socket}/v1/live", PROTOCOLS]]
    bare = [[f"{socket}{PATH}", []]]
    cookies = [
        f"key={TENANT_KEY}; path=/",
        f"x-goog-api-key={TENANT_KEY}; path=/",
        f"access_token={TENANT_KEY}; path=/",
    ]
    bearer = {"headers": {"Authorization": f"Bearer {OPERATOR}"}}
    reads = [
        [f"{admin}/metrics", {}],
        [f"{admin}/healthz", {}],
        [f"{admin}/readyz", {}],
        [f"{admin}/admin/", {}],
        [f"{admin}/admin/sessions", bearer],
        [f"{admin}/metrics", {"credentials": "include"}],
        [f"{listen}/demo/config.json", {}],
        [f"{listen}/v1beta/auth_tokens", {"method": "POST", "headers": {"x-goog-api-key": TENANT_KEY}, "body": "{}"}],
    ]
    theirs, ours = await browse(
        [
            {"url": f"{foreign}/", "sockets": keyed, "reads": reads},
            {"url": f"{own}/", "cookies": cookies, "sockets": [*bare, *keyed], "reads": reads[:5]},
        ]
    )
    refused = refusals(await running.metrics())

    assert theirs["sockets"] == [ABNORMAL, ABNORMAL]
    assert theirs["reads"] == [{"failed": "TypeError"}] * len(reads)
    assert ours["sockets"] == [ABNORMAL, "open", "open"], "cookies alone open nothing, the key does"
    assert ours["reads"] == [{"failed": "TypeError"}] * 5, "the operator's pages are for no page at all"
    assert refused["origin"] == 2
    assert refused["credential"] == 1
    assert not origin.requests


@pytest.mark.threat("B4")
async def test_a_name_pointed_at_the_relay_opens_nothing(start: Start, origin: Origin) -> None:
    """DNS rebinding: for the browser it is one origin, but both listeners know that it is not their name."""
    running = await start(tenant={"origins": ["*"]}, admin={"token": OPERATOR}, demo={"tenant": "acme"})
    ports = [running.addresses[name].rpartition(":")[2] for name in ("listen", "admin")]
    pages = [
        {
            "url": f"http://evil.example:{ports[0]}/",
            "sockets": [[f"ws://evil.example:{ports[0]}/v1/live", PROTOCOLS]],
            "reads": [["/demo/config.json", {}]],
        },
        {"url": f"http://evil.example:{ports[1]}/admin/", "reads": [["/metrics", {}], ["/healthz", {}]]},
        {"url": f"http://localhost:{ports[0]}/", "reads": [["/demo/config.json", {}]]},
    ]
    public, admin, own = await browse(pages, "evil.example")

    assert public["status"] == admin["status"] == 421
    assert public["sockets"] == [ABNORMAL]
    assert [read["status"] for read in (*public["reads"], *admin["reads"])] == [421, 421, 421]
    assert own["status"] == own["reads"][0]["status"] == 200
    assert refusals(await running.metrics())["host"] >= 6  # a browser tries again after 421
    assert not origin.requests
