"""Where the relay connects to by itself: no name can be made to lead it where it has no business."""

import asyncio
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import ResolveResult

from relay import config
from relay.config import ConfigError
from relay.core.secret import Secret
from relay.net.credentials import ApiKey
from relay.net.key_sets import from_url
from relay.net.reach import is_reachable
from relay.net.spool import Item
from relay.net.upstream import DialError, Target, Upstream
from relay.net.usage_file import SinkError
from relay.net.webhook import Webhook
from tests.net.conftest import KEY, WAIT_S, Origin

pytestmark = pytest.mark.threat("F6")

NAME = "wss://gemini.example/x"
HERE = "ws://localhost:9/x"


@pytest.mark.parametrize("url", [NAME, HERE])
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1", "::ffff:169.254.169.254", "x"],
)
def test_some_addresses_are_never_reached(address: str, url: str, private: bool) -> None:
    """A cloud's metadata server above all, whatever the operator allows."""
    assert not is_reachable(address, url, private)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_reached_only_by_its_own_names(address: str) -> None:
    """A foreign name that resolves to it is an attack, or a mistake."""
    assert is_reachable(address, HERE, private=False)
    assert not is_reachable(address, NAME, private=True)


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "172.16.9.9", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1", "192.0.2.1"]
)
def test_the_operators_network_is_reached_when_that_is_configured(address: str) -> None:
    """Not before."""
    assert not is_reachable(address, NAME, private=False)
    assert is_reachable(address, NAME, private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2607:f8b0:4005:80a::200a"])
def test_the_internet_is_reached(address: str) -> None:
    """By any name."""
    assert is_reachable(address, NAME, private=False)


@pytest.fixture
def rebound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name resolves to this machine."""

    async def resolve(_self: Any, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    for resolver in (aiohttp.AsyncResolver, aiohttp.ThreadedResolver):
        monkeypatch.setattr(resolver, "resolve", resolve)


def elsewhere(url: str, scheme: str, name: str = "gemini.example") -> str:
    """The test's server by another name."""
    return f"{scheme}://{name}:{url.rpartition(':')[2]}/x"


@pytest.mark.usefixtures("rebound")
@pytest.mark.parametrize("name", ["gemini.example", "2130706433", "0x7f000001", "0177.0.0.1"])
@pytest.mark.parametrize("private", [True, False])
async def test_a_name_that_was_made_to_mean_this_machine_is_not_dialled(
    origin: Origin, name: str, private: bool
) -> None:
    """Not as Gemini, not as a tenant's identity provider, not as a webhook; decimal and octal addresses neither."""
    upstream = Upstream(Target(elsewhere(origin.url, "ws", name), WAIT_S, 1024, private), ApiKey(Secret(KEY)))
    await upstream.start()
    webhook = Webhook(elsewhere(origin.url, "http", name), b"k" * 16, WAIT_S, lambda: 0.0, 1, private)
    await webhook.start()
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(DialError):
            await upstream.dial()
        with pytest.raises(SinkError):
            await webhook.deliver([Item("k", "i", b"{}")])
        with pytest.raises(OSError, match="Client"):
            await from_url(elsewhere(origin.url, "http", name), private)()
    await upstream.stop()
    await webhook.stop()

    assert origin.requests == []


async def test_by_its_own_name_this_machine_is(origin: Origin) -> None:
    """The counter-test: the same server, called what it is."""
    origin.refuse = lambda _request: web.json_response({"keys": []})

    assert await from_url(elsewhere(origin.url, "http", "127.0.0.1"))() == {"keys": []}
    assert len(origin.requests) == 1


TREE: dict[str, Any] = {
    "upstream": {"api_key": "k"},
    "policies": {"p": {"model": "models/m"}},
    "tenants": [{"id": "acme", "keys": ["k"], "policy": "p"}],
}
WEBHOOK = {"secret": "0123456789abcdef"}
JWT = {"issuer": "i", "audience": "a"}


def problems(tree: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration."""
    try:
        config.build(TREE | tree)
    except ConfigError as error:
        return [line.partition(":")[0] for line in error.problems]
    return []


@pytest.mark.parametrize(
    ("tree", "where"),
    [
        ({"upstream": {"api_key": "k", "base_url": "ws://sim:9000"}}, "upstream.base_url"),
        ({"upstream": {"api_key": "k", "base_url": "ws://10.0.0.1:9000"}}, "upstream.base_url"),
        ({"upstream": {"api_key": "k", "base_url": "http://x"}}, "upstream.base_url"),
        ({"usage": {"webhook": {**WEBHOOK, "url": "http://collector.internal"}}}, "usage.webhook.url"),
        ({"usage": {"webhook": {**WEBHOOK, "url": "file:///etc/passwd"}}}, "usage.webhook.url"),
        (
            {"tenants": [{"id": "a", "policy": "p", "jwt": {**JWT, "jwks_url": "http://10.0.0.1/keys"}}]},
            "tenants[0].jwt.jwks_url",
        ),
    ],
)
def test_what_is_not_encrypted_stays_on_this_machine(tree: dict[str, Any], where: str) -> None:
    """A key in clear would be anybody's on the way."""
    assert problems(tree) == [where]


@pytest.mark.parametrize(
    "tree",
    [
        {"upstream": {"api_key": "k", "base_url": "ws://localhost:9000"}},
        {"upstream": {"api_key": "k", "base_url": "ws://sim:9000", "private_network": True}},
        {"usage": {"webhook": {**WEBHOOK, "url": "http://127.0.0.1:9"}}},
        {"usage": {"webhook": {**WEBHOOK, "url": "http://collector.internal", "private_network": True}}},
        {"usage": {"webhook": {**WEBHOOK, "url": "https://collector.example"}}},
    ],
)
def test_unless_the_operator_says_so(tree: dict[str, Any]) -> None:
    """A simulator in the next container, a collector in one's own network."""
    assert problems(tree) == []
