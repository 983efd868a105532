"""A relay process on Vertex as on a machine of Google's: its token comes from the metadata server, and into no log."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relay.sim import Simulator
from relay.sim.profile import preset
from tests.net.google import token_server

TENANT_KEY = "relay_TKcanary-91be7d-downstream-key-0042"
WAIT_S = 30.0
CONFIG = """
listen: {port: 0}
admin: {port: 0}
log: {level: debug, format: json}
upstream: {base_url: "${SIM}", vertex: {project: acme-prod, location: us-central1}}
policies: {p: {model: models/gemini-live-2.5-flash}}
tenants: [{id: acme, keys: ["${TENANT_KEY}"], policy: p}]
"""

KNOBS: dict[str, dict[str, Any]] = {
    "a conversation": {},
    "an upgrade refused with 401": {"upgrade": "401"},
    "a close that echoes the token": {"accepted_keys": ("another",)},
}


@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS.keys())
async def test_a_machine_s_own_account_is_used_and_its_token_kept_out_of_the_log(
    tmp_path: Path, knobs: dict[str, Any]
) -> None:
    """Application default credentials, found by google-auth itself; Google echoes the token when it refuses it."""
    (tmp_path / "relay.yaml").write_text(CONFIG)
    simulator = Simulator(preset("instant", echo_credentials=True, **knobs))
    await simulator.start()
    with token_server() as google:
        host = google.url.removeprefix("http://")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOOGLE_")} | {
            "SIM": simulator.url,
            "TENANT_KEY": TENANT_KEY,
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_IP": host,
            "CLOUDSDK_CONFIG": str(tmp_path),  # where gcloud would have left somebody's own credentials
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "relay", "serve", "--config", str(tmp_path / "relay.yaml")),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            async with asyncio.timeout(WAIT_S):
                output = await _converse(process, "credentials" if knobs else "setupComplete")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await simulator.stop()
        shown = {connection.headers["authorization"] for connection in simulator.connections}

    assert shown == {f"Bearer {google.tokens[0]}"}
    assert process.returncode == 0
    assert '"event": "session"' in output
    assert google.tokens[0][:12] not in output


async def _converse(process: asyncio.subprocess.Process, expected: str) -> str:
    """One session, then the end of the process: all it has printed."""
    assert process.stdout is not None
    printed = ""
    while '"event": "ready"' not in printed:
        line = (await process.stdout.readline()).decode()
        assert line, f"the relay ended before it was ready: {printed}"
        printed += line
    url = json.loads(line)["listen"] + "/v1/live"
    async with aiohttp.ClientSession() as http, http.ws_connect(url, headers={"x-goog-api-key": TENANT_KEY}) as socket:
        await socket.send_json({"setup": {}})
        message = await socket.receive()
        assert expected in str(message.data) + str(message.extra)
    process.terminate()
    rest, _ = await process.communicate()
    return printed + rest.decode()
