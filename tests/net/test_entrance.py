"""The door as strangers find it: one answer to every wrong credential, whatever is wrong with it, in the same time."""

import asyncio
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from tests.net.conftest import PATH, TENANT_KEY, WAIT_S, Origin, Running, Start
from tests.net.hostile_tokens import AUDIENCE, ISSUER, KEYS, STRANGER, encoded, good

HOST = b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
SAMPLES = 1000
MAX_DIFFERENCE_S = 0.005


async def _raw(running: Running, lines: bytes, path: str = PATH) -> bytes:
    """What comes back for a handshake with these header lines, up to the end of the answer's first bytes."""
    host, port = running.addresses["listen"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(WAIT_S):
        writer.write(HOST % path.encode() + VERSION + lines + b"\r\n")
        answer = await reader.read(4096)
    writer.close()
    return answer


KEY = TENANT_KEY.encode()
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized"
TOO_LARGE = b"HTTP/1.0 431 Request Header Fields Too Large"


@pytest.mark.threat("B5")
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"", UNAUTHORIZED),
        (b"x-goog-api-key:\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: relay_nobody\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + KEY[:-1] + b"\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + KEY + b"x\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + KEY.upper() + b"\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + KEY + b", " + KEY + b"\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: \xff\xfe\xc3\xa9\r\n", UNAUTHORIZED),
        ("x-goog-api-key: relay_tenant-kéy\r\n".encode(), UNAUTHORIZED),
        (b"x-goog-api-key: auth_tokens/\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: auth_tokens/" + b"\xff" * 40 + b"\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: auth_tokens/' OR 1=1 --\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: sha256:" + b"0" * 64 + b"\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + b"x" * 5000 + b"\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + b"x" * 65_536 + b"\r\n", TOO_LARGE),
        (b"Authorization: Bearer\r\n", UNAUTHORIZED),
        (b"Authorization: Basic " + KEY + b"\r\n", UNAUTHORIZED),
        (b"Authorization: Bearer " + KEY + b" " + KEY + b"\r\n", UNAUTHORIZED),
        (b"Cookie: key=" + KEY + b"; access_token=" + KEY + b"\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + KEY + b"\r\nx-goog-api-key: " + KEY + b"\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + KEY + b"\r\nx-goog-api-key: relay_nobody\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: relay_nobody\r\nX-GOOG-API-KEY: " + KEY + b"\r\n", UNAUTHORIZED),
        (b"Authorization: Bearer " + KEY + b"\r\nAuthorization: Bearer relay_nobody\r\n", UNAUTHORIZED),
        (b"Authorization: Bearer " + KEY + b"\r\nx-goog-api-key: relay_nobody\r\n", UNAUTHORIZED),
        (b"Sec-WebSocket-Protocol: relay.v1, relay.key." + KEY + b", relay.key.b\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + KEY + b"\r\nSec-WebSocket-Protocol: relay.key.b\r\n", UNAUTHORIZED),
        (b"x-goog-api-key: " + KEY + b"\r\nSec-WebSocket-Protocol: relay.key." + KEY + b"\r\n", UNAUTHORIZED),
        (
            b"x-goog-api-key: " + KEY + b"\r\nSec-WebSocket-Protocol: relay.v1\r\n"
            b"Sec-WebSocket-Protocol: relay.key.b\r\n",
            UNAUTHORIZED,
        ),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_is_no_credential_or_more_than_one_is_401(
    start: Start, origin: Origin, lines: bytes, status: bytes
) -> None:
    """Before any upgrade and any dial, and nothing of it is repeated; what no header may hold is 431."""
    running = await start()
    answer = await _raw(running, lines)
    assert answer.startswith(status), answer[:200]
    assert KEY not in answer
    assert origin.requests == []


@pytest.mark.threat("B5")
async def test_a_good_credential_passes_the_same_way(start: Start) -> None:
    """The other test's handshakes are refused for their credentials and nothing else."""
    running = await start()
    for lines in (
        b"x-goog-api-key: " + KEY + b"\r\n",
        b"Authorization: Bearer " + KEY + b"\r\nx-goog-api-key: " + KEY + b"\r\n",
        b"Sec-WebSocket-Protocol: relay.v1, relay.key." + KEY + b"\r\n",
        b"Sec-WebSocket-Protocol: relay.v1\r\nSec-WebSocket-Protocol: relay.key." + KEY + b"\r\n",
    ):
        assert (await _raw(running, lines)).startswith(b"HTTP/1.1 101 ")


async def _minted(running: Running, **body: Any) -> str:
    url = f"{running.addresses['listen']}/v1/auth_tokens"
    async with running.http.post(url, json=body, headers={"x-goog-api-key": TENANT_KEY}) as answer:
        return str((await answer.json())["name"])


async def _wrong_credentials(running: Running) -> dict[str, Callable[[], str]]:
    """Of each kind one that is wrong for a reason of its own."""
    revoked = await _minted(running)
    url = f"{running.addresses['listen']}/v1/auth_tokens:revoke"
    async with running.http.post(url, json={"name": revoked}, headers={"x-goog-api-key": TENANT_KEY}) as answer:
        assert answer.status == 200
    head, body, _ = good().split(".")
    expired = int(time.time()) - 3600
    tokens = {
        "nobody's key": "relay_nobodys-key-0123456789",
        "a key that is nearly right": TENANT_KEY[:-1] + "x",
        "nobody's ticket": "auth_tokens/" + "A" * 43,
        "a revoked ticket": revoked,
        "a token of nobody's": good(iss="https://elsewhere.example/"),
        "a token that has expired": good(exp=expired, iat=expired - 300),
        "a token with a wrong signature": f"{head}.{body}.{encoded(bytes(256))}",
        "a token of a stranger's key": good(key=STRANGER),
    }
    return {name: (lambda token=token: token) for name, token in tokens.items()}  # type: ignore[misc]


@pytest.mark.threat("B14")
async def test_every_wrong_credential_gets_one_answer_in_the_same_time(start: Start, tmp_path: Any) -> None:
    """Status, headers and body are the same to the byte; medians of 1,000 interleaved samples lie within 5 ms."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(KEYS))
    running = await start(tenant={"jwt": {"issuer": ISSUER, "audience": AUDIENCE, "keys_file": str(file)}})
    wrong = await _wrong_credentials(running)
    took: dict[str, list[float]] = {name: [] for name in wrong}
    answers = set()
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with aiohttp.ClientSession() as http:
        for number in range(SAMPLES):
            names = list(wrong)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                began = time.perf_counter()
                async with http.get(
                    running.addresses["listen"] + PATH, headers=headers | {"x-goog-api-key": wrong[name]()}
                ) as response:
                    body = await response.read()
                took[name].append(time.perf_counter() - began)
                answers.add((response.status, body, tuple(response.headers.keys())))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401
    medians = {name: statistics.median(samples) for name, samples in took.items()}
    assert max(medians.values()) - min(medians.values()) < MAX_DIFFERENCE_S, medians
