"""Ledger, metrics and records against the simulator's own count: no token too many, none missing."""

import asyncio
import json
import os
import sqlite3
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from relay.core.ledger import Ledger, Query
from relay.core.windows import day_of
from relay.sim import Simulator
from relay.store.redis import RedisLedger
from relay.store.sqlite import SqliteLedger
from tests.net.conftest import TENANT_KEY, WAIT_S, Running, Start
from tests.net.continuing import Client, gone, simulator
from tests.store.servers import RedisServer, redis_server

KEEP_S = 40 * 86_400.0
SESSIONS, TURNS = 6, 20
TALK_S = 1.5
"""Long enough for several handovers of every session."""
MODELS = [
    "models/gemini-2.5-flash-native-audio-latest",
    "models/gemini-3.1-flash-live-preview",
    "models/gemini-3.8-live",
]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A Redis."""
    with redis_server() as running:
        yield running


def counted_by(gemini: Simulator) -> Counter[str]:
    """What the simulator has reported, by our names, computed from its reports alone."""
    total: Counter[str] = Counter()
    for session in gemini.archive:
        for report in session.usage:
            for kind, count_name, details_name in (
                ("prompt", "promptTokenCount", "promptTokensDetails"),
                ("response", "responseTokenCount", "responseTokensDetails"),
            ):
                count = report.get(count_name, 0)
                for entry in report.get(details_name, []):
                    total[f"{kind}.{entry['modality'].lower()}"] += entry["tokenCount"]
                    count -= entry["tokenCount"]
                total[f"{kind}.unattributed"] += count
            total["thoughts.text"] += report.get("thoughtsTokenCount", 0)
            total["reports"] += 1
    return +total


async def talk(running: Running, number: int) -> int:
    """One client's conversation, while connections to Gemini come and go; how many turns it had."""
    client = Client(running, {"model": MODELS[number % len(MODELS)], "sessionResumption": {}})
    await client.begin()
    turns, ends_at = 0, asyncio.get_running_loop().time() + TALK_S
    while turns < TURNS or asyncio.get_running_loop().time() < ends_at:
        await client.turn(f"number {turns}")
        turns += 1
        if number == 0 and turns % 5 == 0:
            client.vanish()
            await client.come_back()
    await client.socket.close()
    return turns


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
async def test_every_token_is_counted_once_across_handovers(
    start: Start, tmp_path: Path, server: RedisServer, kind: str
) -> None:
    """Clients talk while Gemini says goodbye several times a second and one client comes and goes."""
    ledger: Ledger
    if kind == "redis":
        ledger = RedisLedger(server.url, None, KEEP_S)
        store: dict[str, Any] = {"kind": "redis", "url": server.url}
    else:
        ledger = SqliteLedger(tmp_path / "usage.db", KEEP_S, lambda: 0.0)
        store = {"path": str(tmp_path / "usage.db")}
    async with simulator(go_away_after_s=0.2, go_away_time_left_s=2.0) as gemini:
        with capture_logs() as logs:
            running = await start(
                upstream={"base_url": gemini.url},
                policy={"model": {"default": MODELS[0], "allow": ["*"]}, "allow": ["*"]},
                store={**store, "settle_every": "50ms"},
                handover={"dials_per_minute": 600},
            )
            turns = sum(await asyncio.gather(*(talk(running, number) for number in range(SESSIONS))))
            await gone(running)
            families = list(text_string_to_metric_families(await running.metrics()))
            await running.relay.stop()
        expected = counted_by(gemini)
    handovers = [line for line in logs if line["event"] == "handover"]
    assert len(handovers) >= SESSIONS
    assert expected["reports"] == turns

    await ledger.start()
    today = day_of((await ledger.used("acme")).at) if kind == "redis" else "2000-01-01"
    rows = await ledger.usage(Query(today, "2099-12-31" if kind == "sqlite" else today, "model"))
    await ledger.stop()
    settled: Counter[str] = Counter()
    for row in rows:
        settled.update({name: amount for name, amount in row.amounts.items() if "." in name or name == "reports"})
    assert settled == expected
    assert {row.key for row in rows} == {"gemini-2.5-flash-native-audio", "gemini-3.1-flash-live", "gemini-3.8-live"}

    recorded: Counter[str] = Counter()
    for line in logs:
        if line["event"] == "usage" and line["final"]:
            recorded.update({name: amount for name, amount in line["amounts"].items() if "." in name})
    scraped: Counter[str] = Counter()
    for family in families:
        for sample in family.samples:
            if sample.name == "relay_tokens_total":
                scraped[f"{sample.labels['kind']}.{sample.labels['modality']}"] += int(sample.value)
    del expected["reports"]
    assert recorded == expected
    assert +scraped == expected


def settings(gemini: Simulator, store: dict[str, Any]) -> dict[str, Any]:
    """A configuration for a relay process of its own; its keys come from the environment."""
    return {
        "listen": {"port": 0},
        "admin": {"port": 0},
        "upstream": {"base_url": gemini.url, "api_key": "${GOOGLE}"},
        "policies": {"any": {"model": {"default": MODELS[0], "allow": ["*"]}, "allow": ["*"]}},
        "tenants": [{"id": "acme", "keys": ["${TENANT}"], "policy": "any"}],
        "store": store,
        "log": {"format": "json", "level": "warning"},
    }


async def launched(config: Path) -> tuple[Process, str]:
    """A relay process, and where it listens."""
    environment = {**os.environ, "GOOGLE": "google-key-0123456789", "TENANT": TENANT_KEY}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relay", "serve", "--config", str(config)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S * 2):
        line = await process.stdout.readline()
    address: str = json.loads(line)["listen"]
    return process, address


async def knock(http: aiohttp.ClientSession, address: str) -> tuple[int, aiohttp.ClientWebSocketResponse | None]:
    """The status of a handshake, and the socket where there is one."""
    try:
        socket = await http.ws_connect(address + "/v1/live", headers={"x-goog-api-key": TENANT_KEY})
    except aiohttp.WSServerHandshakeError as error:
        return error.status, None
    return 101, socket


async def killed_while_talking(config: Path, gemini: Simulator) -> Counter[str]:
    """Talk through a relay process and kill it in the middle; what had been reported a second before."""
    process, address = await launched(config)
    clock = asyncio.get_running_loop().time
    reported: list[tuple[float, Counter[str]]] = []
    try:
        async with aiohttp.ClientSession() as http:
            client = Client(Running(None, {"listen": address}, http))  # type: ignore[arg-type]
            await client.begin()
            ends_at = clock() + 2.0
            while clock() < ends_at:
                await client.turn("hello")
                reported.append((clock(), counted_by(gemini)))
    finally:
        process.kill()
        killed_at = clock()
        await process.wait()
    return next(count for at, count in reversed(reported) if at < killed_at - 1.0)


async def test_a_kill_loses_no_more_than_a_second(tmp_path: Path) -> None:
    """A relay process is killed in the middle of talking, twice; nothing is doubled, in any kind or modality."""
    path = tmp_path / "usage.db"
    async with simulator() as gemini:
        config = tmp_path / "relay.json"  # JSON is YAML
        config.write_text(json.dumps(settings(gemini, {"path": str(path)})))
        least: Counter[str] = Counter()
        for _ in range(2):
            begun = counted_by(gemini)
            least += await killed_while_talking(config, gemini) - begun
        most = counted_by(gemini)
    with closing(sqlite3.connect(path)) as database:
        found: Counter[str] = Counter()
        for (amounts,) in database.execute("SELECT amounts FROM days"):
            found.update(json.loads(amounts))
        sessions = database.execute("SELECT count(*) FROM sessions").fetchone()
    assert least["reports"] > 10
    for name, count in most.items():
        assert least[name] <= found[name] <= count, name
    assert sessions == (2,)


@pytest.mark.threat("E2")
async def test_three_processes_admit_exactly_as_many_as_there_are_places(tmp_path: Path, server: RedisServer) -> None:
    """A crowd at three relays that share a Redis: one limit, kept to the session."""
    limit, crowd = 20, 120
    async with simulator() as gemini:
        config = tmp_path / "relay.json"
        tree = settings(gemini, {"kind": "redis", "url": server.url})
        tree["tenants"][0]["quotas"] = {"concurrent_sessions": limit}
        config.write_text(json.dumps(tree))
        relays = [await launched(config) for _ in range(3)]
        try:
            async with aiohttp.ClientSession() as http:
                tries = [knock(http, relays[number % 3][1]) for number in range(crowd)]
                answers = await asyncio.gather(*tries)
                assert Counter(answer for answer, _ in answers) == {101: limit, 429: crowd - limit}
                for _, socket in answers:
                    if socket is not None:
                        await socket.close()
        finally:
            for process, _ in relays:
                process.kill()
                await process.wait()
