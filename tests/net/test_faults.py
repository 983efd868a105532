"""The demo page's orders to its simulator: only the page itself can give them, and only the known ones."""

from typing import Any

import pytest

from tests.net.conftest import TENANT_KEY, Running, Start


class Ordered:
    """A far end that only counts what it is told."""

    def __init__(self) -> None:
        self.orders: list[str] = []

    def kinds(self) -> dict[str, Any]:
        return {kind: lambda kind=kind: self._take(kind) for kind in ("cut", "go_away")}

    def _take(self, kind: str) -> int:
        self.orders.append(kind)
        return 3


async def _page(start: Start, ordered: Ordered | None) -> tuple[Running, str, dict[str, str]]:
    """A relay with its demo page: the address to order at, and the headers the page sends."""
    running = await start(demo={"tenant": "acme"}, demo_faults=ordered.kinds() if ordered else None)
    base = running.addresses["listen"]
    async with running.http.get(f"{base}/demo/config.json") as answer:
        config = await answer.json()
    assert config["faults"] == (["cut", "go_away"] if ordered else [])
    return running, f"{base}/demo/fault", {"Origin": base, "x-goog-api-key": config["key"]}


async def _post(running: Running, url: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else None
    async with running.http.post(url, headers=headers, json=None if data else body, data=data) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("kind", ["cut", "go_away"])
async def test_the_page_orders_a_fault(start: Start, kind: str) -> None:
    """What was asked is done once, and the answer says to how many connections."""
    ordered = Ordered()
    running, url, headers = await _page(start, ordered)

    assert await _post(running, url, headers, {"kind": kind}) == (200, {"connections": 3})
    assert ordered.orders == [kind]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": None}, 403),
        ({"x-goog-api-key": "not-the-key"}, 401),
        ({"x-goog-api-key": None}, 401),
        ({"x-goog-api-key": TENANT_KEY, "Origin": "*"}, 403),
    ],
)
async def test_nobody_else_can_order_one(start: Start, changed: dict[str, str | None], status: int) -> None:
    """Another origin, none, or a wrong key: refused, and nothing happens."""
    ordered = Ordered()
    running, url, headers = await _page(start, ordered)
    sent = {name: value for name, value in (headers | changed).items() if value is not None}

    assert (await _post(running, url, sent, {"kind": "cut"}))[0] == status
    assert ordered.orders == []


async def test_a_tenant_open_to_any_origin_opens_nothing_here(start: Start) -> None:
    """`origins: ["*"]` lets every page talk, but none but the demo page cut the line."""
    ordered = Ordered()
    running = await start(tenant={"origins": ["*"]}, demo={"tenant": "acme"}, demo_faults=ordered.kinds())
    headers = {"Origin": "https://evil.example", "x-goog-api-key": TENANT_KEY}

    assert (await _post(running, running.addresses["listen"] + "/demo/fault", headers, {"kind": "cut"}))[0] == 403
    assert ordered.orders == []


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "close"},
        {"kind": None},
        {"kind": ["cut"]},
        {},
        [],
        "cut",
        b"{",
        b"\xff",
        b'{"kind": "cut"}' + b" " * 1024,
    ],
)
async def test_other_kinds_and_other_bodies_are_refused(start: Start, body: Any) -> None:
    """The answer names the kinds there are; nothing happens."""
    ordered = Ordered()
    running, url, headers = await _page(start, ordered)
    status, answer = await _post(running, url, headers, body)

    assert status == 400
    assert answer["error"]["message"] == "kind: one of cut, go_away"
    assert ordered.orders == []


async def test_a_body_without_a_length_is_refused(start: Start) -> None:
    """Nothing is read that might never end."""
    ordered = Ordered()
    running, url, headers = await _page(start, ordered)

    async def endless() -> Any:
        yield b'{"kind": "cut"}'

    async with running.http.post(url, headers=headers, data=endless()) as answer:
        assert answer.status == 400
    assert ordered.orders == []


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PUT"])
async def test_only_post_orders(start: Start, method: str) -> None:
    """A browser's question whether another origin may post here gets no permission."""
    running, url, headers = await _page(start, Ordered())
    async with running.http.request(method, url, headers=headers) as answer:
        assert answer.status == 405
        assert not any(name.lower().startswith("access-control") for name in answer.headers)


async def test_on_gemini_there_is_no_such_control(start: Start) -> None:
    """Without a simulator behind the page nothing is at the path."""
    running, url, headers = await _page(start, None)

    assert (await _post(running, url, headers, {"kind": "cut"}))[0] == 404
