"""The bill by hand in docs/usage.md, held against the usage record of the same conversation with the simulator."""

import asyncio
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from relay import config
from relay.app import Relay
from tests.net.continuing import simulator
from tests.support import ROOT

KEY = "relay_tenant-key-0123456789"
QUESTIONS = ("What is a relay?", "And what does it cost?")
WAIT_S = 20.0


async def conversation(listen: str) -> list[dict[str, Any]]:
    """Two questions; the usage reports that came with the answers."""
    reports = []
    async with aiohttp.ClientSession() as http, asyncio.timeout(WAIT_S):
        headers = {"x-goog-api-key": KEY}
        async with http.ws_connect(f"{listen}/v1/live", headers=headers, max_msg_size=0) as socket:
            instruction = {"parts": [{"text": "You are a relay that answers briefly."}]}
            await socket.send_json({"setup": {"systemInstruction": instruction}})
            for question in QUESTIONS:
                await socket.send_json({"realtimeInput": {"text": question}})
                async for message in socket:
                    told = json.loads(message.data)
                    if "usageMetadata" in told:
                        reports.append(told["usageMetadata"])
                    if "turnComplete" in told.get("serverContent", {}):
                        break
    return reports


async def test_the_bill_and_the_record_agree_to_the_last_digit(tmp_path: Path) -> None:
    """The reports are those in the documentation, and so are tokens and cost in the record that the file sink wrote."""
    page = (ROOT / "docs" / "usage.md").read_text()
    path = tmp_path / "usage.jsonl"
    async with simulator() as google:
        tree = {
            "listen": {"port": 0},
            "admin": {"port": 0},
            "upstream": {"base_url": google.url, "api_key": "google-key-0123456789"},
            "policies": {"open": {"model": "gemini-3.8-live", "allow": ["*"]}},
            "tenants": [{"id": "acme", "keys": [KEY], "policy": "open"}],
            "usage": {"file": {"path": str(path)}},
        }
        relay = Relay(config.build(tree))
        addresses = await relay.start()
        reports = await conversation(addresses["listen"])
        await relay.stop()
    record = json.loads(path.read_text().splitlines()[-1])

    documented = [json.loads(line) for line in re.findall(r'^\{"promptTokenCount".*\}$', page, re.MULTILINE)]
    by_hand = Decimal(34) * Decimal("0.75") + Decimal(67) * 3 + Decimal(50) * Decimal("0.75")
    by_hand += Decimal(133) * 12 + Decimal(34) * Decimal("4.50")
    assert reports == documented
    assert Decimal(record["cost"]) == by_hand / 1_000_000 == Decimal("0.002013")
    assert f'"cost": "{record["cost"]}"' in page
    assert f'"tokens": {record["amounts"]["tokens"]}' in page
    assert f'"nanos": {record["amounts"]["nanos"]}' in page
    tokens = {name: count for name, count in record["amounts"].items() if "." in name}
    assert tokens == {
        "prompt.text": 34,
        "prompt.audio": 67,
        "prompt.unattributed": 50,
        "response.audio": 133,
        "thoughts.text": 34,
    }
