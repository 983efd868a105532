"""The operator's page in a real Chromium, on a real relay with live sessions of several tenants in it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from relay.core.ledger import Charge
from relay.core.windows import DAY_S
from relay.sim import Simulator
from relay.sim.actions import Action
from relay.sim.profile import preset
from relay.store.sqlite import SqliteLedger
from tests.support import relay_process, require_node_packages, require_tool, run_node

pytestmark = pytest.mark.timeout(120)

TOKEN = "operator-token-0123456789"
WAIT_S = 30.0
TENANTS = ("acme", "clinic", "roomy")
SESSIONS = 6
CONTENT_SECURITY = ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'")

Drive = Callable[..., Awaitable[dict[str, Any]]]


@dataclass
class Stage:
    """A relay with live sessions."""

    admin: str
    listen: str
    simulator: Simulator
    ledger: Path


def configuration(folder: Path, simulator: str) -> Path:
    """Three tenants: one close to its day's budget, one with room, one without limits.

    The month's budget holds thirty-one days of what `used_for_a_month` books, whatever day it is.
    """
    keys = {}
    for name in (*TENANTS, "google", "admin"):
        keys[name] = folder / f"{name}.key"
        keys[name].write_text(TOKEN if name == "admin" else f"{name}-key-0123456789")
    quotas: dict[str, dict[str, Any]] = {
        "acme": {"concurrent_sessions": 50, "day": {"money": "2.50"}, "month": {"money": "70.00"}},
        "clinic": {"day": {"tokens": 4_000_000, "audio": "10h"}},
        "roomy": {},
    }
    tree = {
        "listen": {"port": 0},
        "admin": {"port": 0, "token_file": str(keys["admin"])},
        "upstream": {"base_url": simulator, "api_key_file": str(keys["google"])},
        "policies": {"open": {"model": {"default": "models/gemini-3.8-live", "allow": ["*"]}, "allow": ["*"]}},
        "tenants": [
            {"id": name, "policy": "open", "key_files": [str(keys[name])], "quotas": quotas[name]} for name in TENANTS
        ],
        "store": {"path": str(folder / "usage.db")},
        "limits": {"drain_timeout": "500ms"},
        "log": {"level": "warning"},
    }
    file = folder / "relay.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


async def used_for_a_month(path: Path) -> None:
    """A ledger in which the tenants have used something on each of the last thirty days."""
    day = 0.0
    ledger = SqliteLedger(path, 400 * DAY_S, lambda: day)
    await ledger.start()
    for ago in range(29, -1, -1):
        day = time.time() - ago * DAY_S
        for number, tenant in enumerate(TENANTS):
            nanos = (900 + (ago * 7919 + number * 104_729) % 1_300) * 1_000_000
            amounts = {"sessions": 20, "tokens": nanos // 2_000, "nanos": nanos, "audio_ms": nanos // 300, "turns": 200}
            model = "gemini-3.8-live"
            await ledger.settle([Charge(tenant, f"old-{ago}-{number}", model, 1, amounts, day)], {tenant: []})
    await ledger.stop()


async def talk(http: aiohttp.ClientSession, stage: Stage, tenant: str, turns: int) -> aiohttp.ClientWebSocketResponse:
    """A client that has had so many answers; those of one tenant say for whom they are."""
    key = {"x-goog-api-key": f"{tenant}-key-0123456789"}
    if tenant == "clinic":
        key |= {"x-relay-end-user": "patient-<b>4711</b>", "x-relay-labels": json.dumps({"plan": "gold" * 16})}
    socket = await http.ws_connect(stage.listen + "/v1/live", headers=key, max_msg_size=0)
    await socket.send_json({"setup": {"sessionResumption": {}}})
    for _ in range(turns):
        await socket.send_json({"realtimeInput": {"text": "hello"}})
        async with asyncio.timeout(WAIT_S):
            async for message in socket:
                if "turnComplete" in json.loads(message.data).get("serverContent", {}):
                    break
    return socket


async def listen(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Answer pings for as long as the session lasts."""
    async for _ in socket:
        pass


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Six live sessions of three tenants, one of them handed over once; and a month of earlier usage."""
    simulator = Simulator(preset("instant"))
    await simulator.start()
    await used_for_a_month(tmp_path / "usage.db")
    file = configuration(tmp_path, simulator.url)
    running = relay_process(tmp_path / "stderr.log", "serve", "--config", str(file))
    ready = await asyncio.to_thread(running.__enter__)
    made = Stage(ready["admin"], ready["listen"], simulator, tmp_path / "usage.db")
    async with aiohttp.ClientSession() as http:
        first = await talk(http, made, "acme", 1)
        simulator.fault(Action("cut", {"reset": True}))
        await first.send_json({"realtimeInput": {"text": "still there?"}})
        sockets = [first, *[await talk(http, made, TENANTS[number % 3], number) for number in range(1, SESSIONS)]]
        listeners = [asyncio.ensure_future(listen(socket)) for socket in sockets]
        yield made
        for socket in sockets:
            await socket.close()
        await asyncio.gather(*listeners)
    await asyncio.to_thread(running.__exit__, None, None, None)
    await simulator.stop()


@pytest.fixture
def drive(stage: Stage, tmp_path: Path) -> Drive:
    """Plays one scenario of tests/js/operator_page.mjs and returns what it saw; leaves a screenshot."""
    node = require_node_packages("playwright-core")
    chromium = require_tool("chromium", "chromium-browser", "google-chrome")

    async def play(scenario: str) -> dict[str, Any]:
        screenshot = tmp_path / f"{scenario}.png"
        options = {
            "scenario": scenario,
            "url": stage.admin + "/admin/",
            "token": TOKEN,
            "sessions": SESSIONS,
            "chromium": str(chromium),
            "screenshot": str(screenshot),
        }
        seen: dict[str, Any] = await asyncio.to_thread(run_node, node, "operator_page.mjs", options)
        assert screenshot.stat().st_size > 10_000
        assert seen["foreign"] == [], "the page asked another origin"
        assert all(TOKEN not in address for address in seen["addresses"]), "the token is in a URL"
        assert all(directive in seen["policy"] for directive in CONTENT_SECURITY)
        return seen

    return play


async def test_the_token_is_asked_for_once_and_then_everything_is_there(drive: Drive) -> None:
    """A wrong token is refused in words; the right one shows everything, after a reload too."""
    seen = await drive("open")
    assert seen["before"]["gate"]
    assert seen["before"]["rows"] == []
    assert "does not know this token" in seen["refused"]["text"]
    assert "not-the-operators-token" not in seen["refused"]["stored"]
    assert [line for line in seen["console"] if "401" not in line] == []
    for page in (seen["after"], seen["reloaded"]):
        assert not page["gate"]
        assert len(page["rows"]) == SESSIONS
        assert {row[1] for row in page["rows"]} == set(TENANTS)
        assert all(row[4] == "relaying" for row in page["rows"])
        users = {(row[1], row[2]) for row in page["rows"]}
        assert users == {("acme", "–"), ("roomy", "–"), ("clinic", "patient-<b>4711</b> · plan " + "gold" * 16)}
        assert len(page["budgets"]) == 4
        assert page["wide"] <= 0, "nothing sticks out to the right"
    assert TOKEN in seen["after"]["stored"]
    after = seen["after"]
    assert any("Handover restored" in event and "lost" in event for event in after["events"])
    assert [row[9] for row in after["rows"]].count("1") == 1, "one session was handed over"
    assert "30 days" in after["charts"]["days"]
    for budget in after["budgets"]:
        percent = float(budget["text"].split("\n")[-1].split(" %")[0])
        assert budget["part"] == pytest.approx(min(percent, 100) / 100, abs=0.01), "a bar is as long as it says"


async def test_sessions_are_sorted_and_filtered(drive: Drive) -> None:
    """By a click on a column, the other way by a second one; a tenant can be looked at alone."""
    seen = await drive("sort")
    tokens = {name: [int(row[6].replace(",", "")) for row in seen[name]["rows"]] for name in ("down", "up")}
    assert tokens["down"] == sorted(tokens["down"], reverse=True)
    assert tokens["up"] == sorted(tokens["up"])
    assert len(set(tokens["up"])) > 1
    assert seen["up"]["sorted"] == [["Tokens", "ascending"]]
    assert [row[1] for row in seen["tenant"]["rows"]] == sorted(row[1] for row in seen["tenant"]["rows"])
    assert {row[1] for row in seen["filtered"]["rows"]} == {"roomy"}
    assert seen["console"] == []


async def test_a_session_is_ended_after_a_question(drive: Drive) -> None:
    """The safe answer has the focus and Escape keeps the session; after the other one it is gone from the table."""
    seen = await drive("end")
    assert seen["id"] in seen["question"]
    assert seen["focused"] == "Keep it"
    assert len(seen["kept"]["rows"]) == SESSIONS
    assert seen["id"] not in {row[0] for row in seen["after"]["rows"]}
    assert any("ended by operator" in event for event in seen["after"]["events"])
    assert seen["console"] == []


async def test_a_relay_that_does_not_answer_is_said_so(drive: Drive) -> None:
    """What was known stays, marked as old; it goes on by itself; a token that was forgotten is gone."""
    seen = await drive("unreachable")
    assert "The relay does not answer" in seen["stale"]["text"]
    assert len(seen["stale"]["rows"]) == SESSIONS
    assert seen["back"]["state"] == "live"
    assert seen["after"]["gate"]
    assert TOKEN not in seen["after"]["stored"]


async def test_a_telephone_in_the_dark_shows_it_all(drive: Drive) -> None:
    """Nothing sticks out of the page but the table within its own frame."""
    seen = await drive("narrow")
    assert seen["after"]["wide"] <= 0
    assert len(seen["after"]["rows"]) == SESSIONS
    assert seen["console"] == []
