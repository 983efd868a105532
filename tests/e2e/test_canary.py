"""No secret in any sink: a real relay process at DEBUG, in front of a simulator that echoes what it was sent.

Sinks: every byte the relay writes to standard output and error, asyncio's own debug mode included, every HTTP body and
header, every frame and close reason a client gets, the metrics, the database, the usage records. Secrets: Google's key,
the tenant's key, tickets and tokens, the prompt the operator enforces, and the handles Google gives out.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from relay.sim import Simulator
from relay.sim.profile import preset
from tests import canary

GOOGLE_KEY = "GKcanary-7f3a9c+upstream/key=5521"
TENANT_KEY = "relay_TKcanary-91be7d-downstream-key-0042"
HANDLE_SECRET = "HScanary-55aa-handle-secret-3141592"
PROMPT = "PRcanary: the assistant's confidential instructions 2718"
WAIT_S = 20.0

CONFIG = """
listen: {port: 0}
admin: {port: 0}
log: {level: debug, format: json}
upstream: {base_url: "${SIM}", api_key: "${GOOGLE_KEY}", setup_deadline: 1s}
handles: {secret: "${HANDLE_SECRET}"}
store: {path: "${FOLDER}/ledger.db"}
usage: {file: {path: "${FOLDER}/usage.jsonl"}}
policies:
  p:
    model: {default: models/gemini-3.8-live, allow: ["*"]}
    enforce: {systemInstruction: {parts: [{text: "${PROMPT}"}]}}
    allow: ["*"]
tenants: [{id: acme, keys: ["${TENANT_KEY}"], policy: p}]
"""

KNOBS: dict[str, dict[str, Any]] = {
    "a conversation": {},
    "a refused key": {"refused_keys": (GOOGLE_KEY,)},
    "an upgrade refused with 403": {"upgrade": "403"},
    "an upgrade refused with 500": {"upgrade": "500"},
    "a redirect": {"upgrade": "redirect"},
    "a wrong accept key": {"upgrade": "bad-accept"},
    "no answer": {"setup_answer": "never"},
}


async def _converse(http: aiohttp.ClientSession, url: str, messages: list[str]) -> list[str]:
    """Send messages, and everything that came back until the turn or the session was over."""
    sink: list[str] = []
    async with http.ws_connect(url, headers={"x-goog-api-key": TENANT_KEY}) as socket:
        for text in messages:
            await socket.send_str(text)
        async with asyncio.timeout(WAIT_S):
            async for message in socket:
                text = message.data if isinstance(message.data, str) else message.data.decode()
                sink.append(text)
                if '"sessionResumptionUpdate": {\n    "newHandle"' in text:
                    break
        sink.append(f"{socket.close_code} {socket._response.headers}")
    return sink


async def _refusals(http: aiohttp.ClientSession, base: str) -> list[str]:
    sink = []
    for path, headers in (
        ("/v1/live", {"x-goog-api-key": TENANT_KEY + "x"}),
        (f"/v1/live?key={quote(TENANT_KEY)}x", {}),
        (f"/nowhere?key={quote(TENANT_KEY)}", {}),
        (f"/v1/live?key={quote(TENANT_KEY)}", {"Origin": f"https://{TENANT_KEY}"}),
        (f"/v1/live?key={quote(TENANT_KEY)}", {"Sec-WebSocket-Key": TENANT_KEY, "Connection": "Upgrade"}),
    ):
        async with http.get(base + path, headers={**headers, "Upgrade": "websocket"}) as response:
            sink.append(f"{response.headers} {await response.text()}")
    return sink


TOKEN = f"eyJ{'JWTcanary' * 3}.eyJ{'JWTcanary' * 5}.{'JWTcanary' * 4}"


async def _tickets(http: aiohttp.ClientSession, base: str) -> list[str]:
    """A ticket's life, and tokens that are none; what is said of them, and the ticket itself to look for."""
    key = {"x-goog-api-key": TENANT_KEY}
    sink, upgrade = [], {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with http.post(f"{base}/v1/auth_tokens", headers=key, json={"relay": {"endUser": "eva"}}) as response:
        ticket = str((await response.json())["name"])
    MINTED.append(ticket)
    async with http.ws_connect(f"{base}/v1/live?access_token={quote(ticket)}") as socket:
        await socket.send_str('{"setup":{"model":"' + ticket + '"}}')
        message = await socket.receive(timeout=WAIT_S)
        sink.append(f"{message.data!r} {message.extra}")
    for bad in (f"?access_token={ticket}x", f"?key={TOKEN}", f"?access_token={TOKEN}&key={ticket}"):
        async with http.get(f"{base}/v1/live{bad}", headers=upgrade) as response:
            sink.append(f"{response.headers} {await response.text()}")
    bodies: list[dict[str, Any]] = [{"uses": ticket}, {"fieldMask": PROMPT}, {"relay": {"endUser": TOKEN * 3}}]
    for body in bodies:
        async with http.post(f"{base}/v1/auth_tokens", headers=key, json=body) as response:
            sink.append(await response.text())
    for what in ({"name": ticket}, {"name": ticket + "x"}, {ticket: 1}):
        async with http.post(f"{base}/v1/auth_tokens:revoke", headers=key, json=what) as response:
            sink.append(await response.text())
    return sink


MINTED: list[str] = []
"""Tickets that were made."""

BAD_MESSAGES = [
    [f'{{"setup":{{"nope":"{TENANT_KEY}"}}}}'],
    [f'{{"setup":{{"model":"{TENANT_KEY}","tools":1}}}}'],
    [f'{{"setup":{{"sessionResumption":{{"handle":"{HANDLE_SECRET}"}}}}}}'],
    ['{"setup":{"model":"models/unheard-of"}}'],
    ['{"setup":{}}', f'{{"clientContent":{{"turns":[{{"role":"{TENANT_KEY}"}}]}}}}'],
]
GOOD = [
    '{"setup":{"sessionResumption":{},"outputAudioTranscription":{}}}',
    '{"clientContent":{"turns":[{"role":"user","parts":[{"text":"hello"}]}],"turnComplete":true}}',
]


@pytest.mark.threat("A1", "A2", "A3", "A4", "E6")
@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS.keys())
async def test_no_secret_reaches_any_sink(tmp_path: Path, knobs: dict[str, Any]) -> None:
    """Whatever Google answers, and though it echoes request headers in errors, every sink is clean."""
    simulator = Simulator(preset("instant", echo_credentials=True, **knobs))
    await simulator.start()
    file = tmp_path / "relay.yaml"
    file.write_text(CONFIG)
    environment = os.environ | {
        "SIM": simulator.url,
        "GOOGLE_KEY": GOOGLE_KEY,
        "TENANT_KEY": TENANT_KEY,
        "HANDLE_SECRET": HANDLE_SECRET,
        "PROMPT": PROMPT,
        "FOLDER": str(tmp_path),
        "PYTHONASYNCIODEBUG": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "relay",
        "serve",
        "--config",
        str(file),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    sink: list[str] = []
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            while "listen" not in (ready := json.loads(await process.stdout.readline())):
                sink.append(json.dumps(ready))  # asyncio's debug mode complains of a busy machine
        async with aiohttp.ClientSession() as http:
            live = ready["listen"].replace("http", "ws") + "/v1/live"
            for messages in [GOOD, *BAD_MESSAGES]:
                sink += await _converse(http, live, messages)
            sink += await _refusals(http, ready["listen"])
            sink += await _tickets(http, ready["listen"])
            async with http.get(ready["admin"] + "/metrics") as metrics:
                sink.append(await metrics.text())
        process.terminate()
        async with asyncio.timeout(WAIT_S):
            output, _ = await process.communicate()
        sink += output.decode().splitlines()
        kept = [tmp_path / name for name in ("ledger.db", "usage.jsonl")]
        sink += [file.read_bytes().decode("latin-1") for file in [*kept, *tmp_path.glob("*-wal")]]
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await simulator.stop()
    _assert_clean(sink, simulator)


def _assert_clean(sink: list[str], simulator: Simulator) -> None:
    handles = [handle for session in simulator.archive for handle in session.handles]
    tickets = [ticket.partition("/")[2] for ticket in MINTED]
    assert tickets
    everything = "\n".join(sink)
    assert '"event": "session"' in everything, "the log was seen"
    for secret in (GOOGLE_KEY, TENANT_KEY, HANDLE_SECRET, PROMPT, TOKEN, *handles, *tickets):
        for form in {form[: canary.PREFIX_CHARACTERS] for form in canary.forms_of(secret)}:
            assert form not in everything, next(line for line in sink if form in line)[:300]
