"""The listening socket itself: slow callers, and a system that has no file descriptors left."""

import asyncio
import json
import resource
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
import yaml

from tests.net.conftest import TENANT_KEY, WAIT_S, Start
from tests.net.raw import exchange, port_of, upgrade
from tests.support import READY_WITHIN_S, ROOT

SLOW_S = 0.6
"""The whole handshake's time in these tests."""


@pytest.fixture
def tls(tmp_path: Path) -> tuple[dict[str, str], ssl.SSLContext]:
    """A listener's certificate, and what trusts it."""
    authority = trustme.CA()
    file = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    return {"cert": str(file), "key": str(file)}, trusting


def client_hello() -> bytes:
    """The first bytes of a real TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


async def drip(writer: asyncio.StreamWriter, text: bytes, every_s: float) -> None:
    """Send a byte now and then, the last one for ever."""
    for position in range(1_000_000):
        writer.write(text[min(position, len(text) - 1) :][:1])
        await asyncio.sleep(every_s)


@pytest.mark.threat("B12")
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("what", ["silence", "headers", "hello"])
async def test_a_slow_handshake_is_cut(
    start: Start, tls: tuple[dict[str, str], ssl.SSLContext], secure: bool, what: str
) -> None:
    """Silent or dripping, in TLS or in headers: the limit is on the whole, not on a pause."""
    running = await start(listen={"handshake_timeout": f"{SLOW_S}s"} | ({"tls": tls[0]} if secure else {}))
    text = {"silence": b"", "headers": b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nX-A: a", "hello": client_hello()}
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running.addresses["listen"]))
    dripping = asyncio.ensure_future(drip(writer, text[what], 0.02)) if text[what] else None
    try:
        async with asyncio.timeout(WAIT_S):
            await reader.read()
    except ConnectionError:
        pass
    finally:
        if dripping is not None:
            dripping.cancel()
        writer.close()
    took = time.monotonic() - begun

    assert took < SLOW_S + 2, "some slack for a busy machine"
    if what == "silence":
        assert took > SLOW_S * 0.4


@pytest.mark.threat("B12")
async def test_headers_that_drip_after_tls_are_cut(start: Start, tls: tuple[dict[str, str], ssl.SSLContext]) -> None:
    """Both halves together stay within the limit."""
    running = await start(listen={"handshake_timeout": f"{SLOW_S}s", "tls": tls[0]})
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running.addresses["listen"]), ssl=tls[1])
    dripping = asyncio.ensure_future(drip(writer, b"GET /v1/live HTTP/1.1\r\nX-A: a", 0.02))
    try:
        async with asyncio.timeout(WAIT_S):
            assert await reader.read() == b""
    except ConnectionError:
        pass
    finally:
        dripping.cancel()
        writer.close()

    assert time.monotonic() - begun < SLOW_S + 2


def test_the_default_is_ten_seconds() -> None:
    """Which the tests above shorten."""
    from relay.config.listening import Listen

    assert Listen().handshake_timeout == 10.0


@contextmanager
def process(folder: Path, **sections: Any) -> Iterator[tuple[dict[str, str], int, Path]]:
    """A relay with nothing behind it: its addresses, its process id, and the file that has its log."""
    tree: dict[str, Any] = {
        "listen": {"port": 0},
        "admin": {"port": 0},
        "upstream": {"base_url": "ws://127.0.0.1:9", "api_key": "${KEY}"},
        "policies": {"p": {"model": "m"}},
        "tenants": [{"id": "acme", "policy": "p", "keys": ["${TENANT}"]}],
        "log": {"format": "json"},
    }
    for name, section in sections.items():
        tree[name] = {**tree.get(name, {}), **section}
    file, log = folder / "relay.yaml", folder / "relay.log"
    file.write_text(yaml.safe_dump(tree))
    with log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "relay", "serve", "--config", str(file)],
            cwd=ROOT,
            env={"KEY": "k" * 20, "TENANT": TENANT_KEY, "PATH": "/usr/bin"},
            stdout=out,
            stderr=out,
        )
    try:
        until = time.monotonic() + READY_WITHIN_S
        while b"\n" not in log.read_bytes():
            assert time.monotonic() < until, "not ready"
            assert running.poll() is None, log.read_text()
            time.sleep(0.02)
        yield json.loads(log.read_text().splitlines()[0]), running.pid, log
    finally:
        running.terminate()
        running.wait(15)


async def handshake_s(port: int) -> float:
    """How long a good handshake takes, from its dial to the upgrade's answer."""
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(upgrade())
    async with asyncio.timeout(WAIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
    took = time.monotonic() - begun
    writer.close()
    assert head.startswith(b"HTTP/1.1 101 ")
    return took


@asynccontextmanager
async def crawling(port: int, count: int) -> AsyncIterator[Callable[[], int]]:
    """So many sockets whose handshakes get nowhere, a third silent, a third in their headers, a third in noise."""
    writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(count)]
    texts = (b"", b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nX-A: a", client_hello()[:5])

    async def feed() -> None:
        for position in range(1_000_000):
            for number, writer in enumerate(writers):
                if text := texts[number % 3]:
                    writer.write(text[min(position, len(text) - 1) :][:1])
            await asyncio.sleep(0.25)

    feeding = asyncio.ensure_future(feed())
    try:
        yield lambda: sum(not writer.transport.is_closing() for writer in writers)
    finally:
        feeding.cancel()
        for writer in writers:
            writer.close()


@pytest.mark.threat("B12")
async def test_300_crawling_handshakes_slow_down_nobody(tmp_path: Path) -> None:
    """Good handshakes beside them take hardly longer than without them: p99 below 100 ms where the machine is quiet."""
    with process(tmp_path) as (addresses, _, _):
        port = port_of(addresses["listen"])
        alone = sorted([await handshake_s(port) for _ in range(100)])
        async with crawling(port, 300) as left:
            beside = sorted([await handshake_s(port) for _ in range(100)])
            assert left() >= 200, "they were there all the time"

    assert beside[98] < max(0.1, 5 * alone[98])
    assert beside[50] < max(0.05, 5 * alone[50])


@pytest.mark.threat("E1")
async def test_without_file_descriptors_the_log_is_quiet_and_accepting_resumes(tmp_path: Path) -> None:
    """The limit on files falls below what is open: few log lines, and within a second of room somebody gets in."""
    with process(tmp_path) as (addresses, pid, log):
        port = port_of(addresses["listen"])
        open_now = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 8, hard))
        begun = time.monotonic()
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        until = begun + WAIT_S
        while b"can't be accepted" not in log.read_bytes():
            assert time.monotonic() < until, "the system never ran out of files, or nobody said so"
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)  # what is counted is the lines of this time
        lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
        took = time.monotonic() - begun
        for _, writer in streams:
            writer.close()
        freed = time.monotonic()
        async with (
            asyncio.timeout(WAIT_S),
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{port}/nothing") as response,
        ):
            assert response.status == 404
        resumed = time.monotonic() - freed

    assert all(line["cause"] == "EMFILE" for line in lines if "accepted" in line["event"])
    assert len(lines) <= 2 + took * 2
    assert resumed < 1 + 2, "a second, and some slack for a busy machine"


@pytest.mark.threat("E1")
async def test_the_loop_of_production_counts_the_same(tmp_path: Path) -> None:
    """`relay serve` runs on uvloop, whose transports are of another make: over the limit 503, and places come back."""
    with process(tmp_path, listen={"port": 0, "max_connections": 3}) as (addresses, _, log):
        port = port_of(addresses["listen"])
        for _ in range(2):
            streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            async with asyncio.timeout(WAIT_S):
                while not (await exchange(port, b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")).startswith(
                    b"HTTP/1.1 503 "
                ):
                    pass
                for _, writer in streams:
                    writer.close()
                while not (await exchange(port, b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")).startswith(
                    b"HTTP/1.1 404 "
                ):
                    pass
        assert await handshake_s(port)
        assert "Traceback" not in log.read_text()


@pytest.mark.threat("B12")
async def test_a_body_that_nobody_wants_does_not_hold_its_connection(start: Start) -> None:
    """Refused while its body still drips: the answer comes at once, and the connection goes soon after."""
    running = await start()
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(running.addresses["listen"]))
    writer.write(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
    dripping = asyncio.ensure_future(drip(writer, b"a", 0.05))
    received = b""
    try:
        async with asyncio.timeout(WAIT_S):
            received = await reader.readuntil(b"\r\n\r\n")
            await reader.read()
    except ConnectionError:
        pass
    finally:
        dripping.cancel()
        writer.close()

    assert received.startswith(b"HTTP/1.1 404 ")
    assert time.monotonic() - begun < 1 + 3, "some slack for a busy machine; left alone it would be ten seconds"
