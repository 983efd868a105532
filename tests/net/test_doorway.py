"""Names, addresses and numbers: what every request has to pass before its path is looked at."""

import asyncio
import resource
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import trustme
from prometheus_client import CollectorRegistry

from relay import config, doorways
from relay.core.crowd import Crowded
from relay.metrics import Metrics
from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, Running, Start
from tests.net.raw import Answer, exchange, port_of, responses, upgrade

HALF = b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nX-Half: "
WHOLE = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def held(running: Running, count: int, source: str = "127.0.0.1") -> AsyncIterator[list[asyncio.StreamWriter]]:
    """So many connections from one address, each with half a handshake."""
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection(
            "127.0.0.1", port_of(running.addresses["listen"]), local_addr=(source, 0)
        )
        writer.write(HALF)
        writers.append(writer)
    try:
        yield writers
    finally:
        for writer in writers:
            writer.close()


async def ask(running: Running, source: str = "127.0.0.1", sent: bytes = WHOLE) -> Answer:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port_of(running.addresses["listen"]), local_addr=(source, 0)
    )
    writer.write(sent)
    async with asyncio.timeout(WAIT_S):
        received = await reader.read()
    writer.close()
    (answer,) = responses(received)
    return answer


async def settled(running: Running, connections: float) -> None:
    """Wait until the relay counts so many connections."""
    async with asyncio.timeout(WAIT_S):
        while f"\nrelay_connections {connections}\n" not in await running.metrics():
            await asyncio.sleep(0.01)


def assert_crowded(answer: Answer, status: int) -> None:
    """Refused for a limit, in the relay's own words and with a time."""
    assert answer.status == answer.error["code"] == status
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["connection"] == "close"


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.threat("B4")
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.nip.io", "x/#@localhost", "10.0.0.1"])
async def test_a_foreign_host_is_refused(start: Start, origin: Origin, host: str) -> None:
    """On loopback, by both listeners, whatever path and credential: 421, and nothing is dialled or told."""
    running = await start(admin={"token": "operator-token-0123"}, demo={"tenant": "acme"})
    operator = "Authorization: Bearer operator-token-0123"
    sent = [
        ("listen", upgrade(host=host)),
        ("listen", f"GET /demo/config.json HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()),
        ("admin", f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()),
        ("admin", f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()),
        ("admin", f"GET /admin/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()),
        ("admin", f"GET /admin/sessions HTTP/1.1\r\nHost: {host}\r\n{operator}\r\n\r\n".encode()),
    ]
    for listener, request in sent:
        (answer,) = responses(await exchange(port_of(running.addresses[listener]), request))
        assert answer.status == answer.error["code"] == 421
        assert host.encode() not in answer.body

    assert not origin.requests
    assert 'relay_handshakes_refused_total{cause="host",status="421"} 6.0' in await running.metrics()


@pytest.mark.threat("B4")
async def test_a_configured_host_is_let_in(start: Start) -> None:
    """`listen.hosts` and `admin.hosts` are each for their own listener."""
    running = await start(listen={"hosts": ["voice.example.com"]}, admin={"hosts": ["ops.example.com"]})
    seen = {}
    for listener in ("listen", "admin"):
        for host in ("voice.example.com", "ops.example.com", "localhost"):
            request = f"GET /nothing HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            (answer,) = responses(await exchange(port_of(running.addresses[listener]), request))
            seen[listener, host] = answer.status

    assert seen == {
        ("listen", "voice.example.com"): 404,
        ("listen", "ops.example.com"): 421,
        ("listen", "localhost"): 404,
        ("admin", "voice.example.com"): 421,
        ("admin", "ops.example.com"): 404,
        ("admin", "localhost"): 404,
    }


@pytest.mark.threat("B4")
async def test_off_loopback_probes_and_clients_need_no_names(start: Start) -> None:
    """Bound on every address: clients come by any name, probes by address, and a page's name is not the operator's."""
    running = await start(listen={"host": "0.0.0.0"}, admin={"host": "0.0.0.0"})
    seen = {}
    for listener in ("listen", "admin"):
        for host in ("voice.example.com", "10.1.2.3:9090", "relay:9090"):
            request = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
            (answer,) = responses(await exchange(port_of(running.addresses[listener]), request))
            seen[listener, host] = answer.status

    assert list(seen.values()) == [404, 404, 404, 421, 200, 200]


# Addresses ------------------------------------------------------------------------------------------------------------


@pytest.mark.threat("B13", "E1")
async def test_a_proxys_word_is_taken_for_whom_it_speaks(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """The limit is exact for each right-most address; what a client writes further left changes nothing."""
    running = await start(
        listen={"trusted_proxies": ["127.0.0.1/32", "10.0.0.0/8"], "connections_per_address": 2},
        log={"format": "json"},
    )

    async def connect(forwarded: str) -> aiohttp.ClientWebSocketResponse:
        return await running.connect(headers={"x-goog-api-key": TENANT_KEY, "X-Forwarded-For": forwarded})

    sockets = [await connect("203.0.113.7"), await connect("198.51.100.9, 203.0.113.7")]
    for spoofed in ("203.0.113.7", "198.51.100.1, 203.0.113.7", "203.0.113.8, 203.0.113.7, 10.0.0.9"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await connect(spoofed)
        assert refused.value.status == 429
        assert refused.value.headers is not None
        assert int(refused.value.headers["Retry-After"]) > 0
    sockets.append(await connect("203.0.113.8"))
    await sockets[0].close()
    async with asyncio.timeout(WAIT_S):
        while len(running.relay.registry) > 2:
            await asyncio.sleep(0.01)
    sockets.append(await connect("203.0.113.7"))
    metrics = await running.metrics()
    for socket in sockets:
        await socket.close()

    assert 'relay_handshakes_refused_total{cause="address_connections",status="429"} 3.0' in metrics
    assert "203.0.113" not in metrics
    assert "198.51.100" not in metrics
    assert capsys.readouterr().out.count("203.0.113.7") >= 3, "the log says who it was"


@pytest.mark.threat("B13", "E1")
async def test_without_trust_the_header_is_nothing(start: Start) -> None:
    """A client that invents an address for each connection is one address all the same."""
    running = await start(listen={"connections_per_address": 2})
    async with held(running, 2):
        await settled(running, 2.0)
        for number in range(3):
            sent = WHOLE.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.%d\r\n\r\n" % number)
            assert_crowded(await ask(running, sent=sent), 429)


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.threat("E1")
async def test_connections_of_the_process_are_exact(start: Start, origin: Origin) -> None:
    """Half-sent handshakes count; the one too many is told when to come back, and a place that is free is free."""
    running = await start(listen={"max_connections": 5})
    async with held(running, 5) as writers:
        await settled(running, 5.0)
        assert_crowded(await ask(running), 503)
        assert_crowded(await ask(running, sent=upgrade()), 503)
        writers.pop().close()
        await settled(running, 4.0)
        assert (await ask(running)).status == 404
    await settled(running, 0.0)

    assert 'relay_handshakes_refused_total{cause="connections",status="503"} 2.0' in await running.metrics()
    assert not origin.requests


@pytest.mark.threat("E1")
async def test_connections_of_an_address_are_exact(start: Start) -> None:
    """A full address takes nothing from its neighbour."""
    running = await start(listen={"connections_per_address": 3})
    async with held(running, 3):
        await settled(running, 3.0)
        assert_crowded(await ask(running), 429)
        assert (await ask(running, source="127.0.0.2")).status == 404
        async with held(running, 3, source="127.0.0.2"):
            await settled(running, 6.0)
            assert_crowded(await ask(running, source="127.0.0.2"), 429)
    await settled(running, 0.0)
    assert (await ask(running)).status == 404


@pytest.mark.threat("E1")
@pytest.mark.parametrize("kept_alive", [False, True])
async def test_requests_of_an_address_are_limited(start: Start, kept_alive: bool) -> None:
    """Two seconds' worth at once, then as many as the time allows, on one connection as on many."""
    running = await start(listen={"requests_per_address": 2}, demo={"tenant": "acme"})
    begun, served = time.monotonic(), 0
    connector = aiohttp.TCPConnector(force_close=not kept_alive)
    async with aiohttp.ClientSession(connector=connector) as http:
        while True:
            async with http.get(running.addresses["demo"]) as response:
                if response.status == 429:
                    assert response.headers["Retry-After"] == "1"
                    break
                assert response.status == 200
            served += 1
    allowed = 5 + 2 * (time.monotonic() - begun)  # the last one may be on credit: the rate is exact, not each moment

    assert 4 <= served <= allowed


@pytest.mark.threat("E1")
async def test_every_way_a_connection_ends_gives_its_place_back(start: Start) -> None:
    """Closed, reset, refused, upgraded and closed, upgraded and cut: none is counted any more."""
    running = await start(listen={"max_connections": 4}, parking={"window": "0s"})
    for _ in range(3):
        await (await running.conversation()).close()
        cut = await running.conversation()
        assert cut._response.connection is not None
        transport = cut._response.connection.transport
        assert transport is not None
        transport.abort()
        await ask(running)
        async with held(running, 2) as writers:
            writers[0].transport.abort()
        await settled(running, 0.0)


async def test_a_crowd_at_the_door_is_bounded(start: Start) -> None:
    """Of 100 over the limit some may hear why, the others are closed; within a second all is as before."""
    running = await start(listen={"max_connections": 1})
    port = port_of(running.addresses["listen"])
    async with held(running, 1):
        await settled(running, 1.0)
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        async with asyncio.timeout(WAIT_S):
            ended = await asyncio.gather(*(reader.read() for reader, _ in streams), return_exceptions=True)
        assert all(end == b"" or isinstance(end, ConnectionError) for end in ended), "nobody asked, so nobody heard"
        assert_crowded(await ask(running), 503)
        for _, writer in streams:
            writer.close()
    await settled(running, 0.0)
    assert (await ask(running)).status == 404


@pytest.mark.threat("E1")
async def test_a_tls_handshake_counts_from_accept(start: Start, tmp_path: Path) -> None:
    """Two sockets that begin no TLS fill a limit of two; the third is told over TLS; what is no TLS gives way."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    file = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(file))
    tls = {"cert": str(file), "key": str(file)}
    running = await start(listen={"max_connections": 2, "tls": tls})
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with aiohttp.ClientSession() as http:
        port = port_of(running.addresses["listen"])
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await settled(running, 2.0)
        async with http.get(f"{running.addresses['listen']}/nothing", ssl=trusting) as response:
            assert response.status == 503
        for _, writer in silent:
            writer.write(HALF)
        await settled(running, 0.0)
        async with http.get(f"{running.addresses['listen']}/nothing", ssl=trusting) as response:
            assert response.status == 404
        for _, writer in silent:
            writer.close()


@pytest.mark.threat("E1")
@pytest.mark.parametrize(
    ("files", "listen", "room"),
    [
        (1024, {}, 448),
        (1024, {"max_connections": 5_000}, 448),
        (65_536, {}, 2_000),
        (65_536, {"max_sessions": 10_000}, 20_000),
        (65_536, {"max_connections": 300}, 300),
        (100, {}, 1),
    ],
)
def test_there_are_never_more_connections_than_files(
    monkeypatch: pytest.MonkeyPatch, files: int, listen: dict[str, Any], room: int
) -> None:
    """Each may need two sockets, and 128 files are set aside for everything else."""
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (files, files))
    tree = {
        "listen": listen,
        "upstream": {"api_key": "k" * 20},
        "policies": {"p": {"model": "m"}},
        "tenants": [{"id": "t", "policy": "p", "keys": ["k" * 20]}],
    }
    _, public = doorways.of(config.build(tree), Metrics(CollectorRegistry()), SimpleNamespace())  # type: ignore[arg-type]

    assert [public.crowd.enter() for _ in range(room + 1)] == [None] * room + [Crowded.PROCESS]


@pytest.mark.threat("F1")
async def test_a_flood_of_refusals_does_not_flood_the_log(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    """All are counted; after 50 lines only some are written, and those say how many were not."""
    running = await start()
    begun = time.monotonic()
    for _ in range(200):
        async with running.http.get(running.addresses["listen"] + "/nothing"):
            pass
    lines = [line for line in capsys.readouterr().out.splitlines() if "cause=path" in line]
    allowed = 51 + 5 * (time.monotonic() - begun)

    assert 'relay_handshakes_refused_total{cause="path",status="404"} 200.0' in await running.metrics()
    assert 50 <= len(lines) <= allowed
    assert len(lines) <= 51 or any("unsaid=" in line for line in lines)
