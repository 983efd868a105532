"""Vertex behind the relay: the simulator plays it, google-auth fetches real tokens from a loopback endpoint."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from relay.sim import Simulator
from relay.sim.profile import preset
from tests.net.conftest import KEY, WAIT_S, Running, Start, end_of
from tests.net.google import TokenServer, service_account, token_server

MODEL = "models/gemini-live-2.5-flash"
FULL = "projects/acme-prod/locations/us-central1/publishers/google/models/gemini-live-2.5-flash"
VERTEX: dict[str, Any] = {"project": "acme-prod", "location": "us-central1"}
POLICY = {"model": {"default": MODEL, "allow": ["*"]}, "allow": ["*"]}
HELLO = {"clientContent": {"turns": [{"role": "user", "parts": [{"text": "hello"}]}], "turnComplete": True}}


@asynccontextmanager
async def playing(**knobs: Any) -> AsyncIterator[Simulator]:
    """Google's models, in text frames; whatever is refused is refused with an echo of the credentials."""
    running = Simulator(preset("instant", text_frames=True, echo_credentials=True, **knobs))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Google's models."""
    async with playing() as running:
        yield running


@pytest.fixture
def google() -> Iterator[TokenServer]:
    """Google's token endpoint."""
    with token_server() as server:
        yield server


@pytest.fixture
def upstream(simulator: Simulator, google: TokenServer, tmp_path: Path) -> dict[str, Any]:
    """The section of relay.yaml: a project, and a service account of our endpoint."""
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(service_account(google.url).info))
    return {"api_key": None, "base_url": simulator.url, "vertex": VERTEX | {"credentials_file": str(path)}}


async def turn(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    """Say hello, and everything up to the end of the answer."""
    await socket.send_json(HELLO)
    messages: list[dict[str, Any]] = []
    async with asyncio.timeout(WAIT_S):
        while not (messages and "turnComplete" in messages[-1].get("serverContent", {})):
            messages.append(json.loads((await socket.receive()).data))
    return messages


async def ended(running: Running) -> None:
    """Wait until no session is left, so that its numbers and its log line are out."""
    async with asyncio.timeout(WAIT_S):
        while len(running.relay.registry):
            await asyncio.sleep(0.01)


async def opened(running: Running, setup: dict[str, Any]) -> tuple[aiohttp.ClientWebSocketResponse, dict[str, Any]]:
    """A client's socket, and what answered its setup."""
    socket = await running.connect()
    await socket.send_json({"setup": setup})
    async with asyncio.timeout(WAIT_S):
        return socket, json.loads((await socket.receive()).data)


async def test_a_conversation_on_vertex(
    start: Start, simulator: Simulator, upstream: dict[str, Any], google: TokenServer
) -> None:
    """Path, bearer token and the model's long name go up; the client sees what it would see of the Developer API."""
    running = await start(upstream=upstream, policy=POLICY)
    socket, answer = await opened(running, {"model": MODEL, "outputAudioTranscription": {}})
    messages = await turn(socket)
    (bill,) = [message["usageMetadata"] for message in messages if "usageMetadata" in message]
    await socket.close()
    await ended(running)
    (connection,) = simulator.connections
    metrics = await running.metrics()

    assert set(answer["setupComplete"]) == {"sessionId"}
    assert connection.path == "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
    assert connection.headers["authorization"] == f"Bearer {google.tokens[0]}"
    assert "x-goog-api-key" not in connection.headers
    assert bill["candidatesTokenCount"] > 0
    assert bill["trafficType"] == "ON_DEMAND"
    assert _tokens(metrics, "prompt") == bill["promptTokenCount"]
    assert _tokens(metrics, "response") == bill["candidatesTokenCount"]


def _tokens(metrics: str, kind: str) -> float:
    """What the relay has counted of one kind."""
    lines = [line for line in metrics.splitlines() if line.startswith("relay_tokens_total") and f'"{kind}"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_many_sessions_share_one_token(
    start: Start, simulator: Simulator, upstream: dict[str, Any], google: TokenServer
) -> None:
    """It is fetched once, when the relay starts."""
    running = await start(upstream=upstream, policy=POLICY)
    sockets = await asyncio.gather(*(opened(running, {}) for _ in range(8)))
    for socket, _answer in sockets:
        await socket.close()

    assert len(simulator.connections) == 8
    assert len(google.requests) == 1


@pytest.mark.parametrize(
    "asked",
    [{}, {"model": "gemini-live-2.5-flash"}, {"model": "publishers/google/models/gemini-live-2.5-flash"}],
    ids=str,
)
async def test_every_name_a_client_has_for_a_model_leads_to_it(
    start: Start, simulator: Simulator, upstream: dict[str, Any], asked: dict[str, Any]
) -> None:
    """Silence, the bare id and the publisher's name all become the one with the project."""
    running = await start(upstream=upstream, policy=POLICY)
    socket, answer = await opened(running, asked)
    await socket.close()
    (connection,) = simulator.connections

    assert "setupComplete" in answer
    assert connection.setup is not None
    assert connection.setup["model"] == FULL


async def test_another_project_s_model_needs_to_be_listed(start: Start, upstream: dict[str, Any]) -> None:
    """A star admits any model of the operator's project; a longer name could have somebody else's."""
    running = await start(upstream=upstream, policy=POLICY)
    refused = await running.connect()
    await refused.send_json({"setup": {"model": FULL}})

    assert await end_of(refused) == (1008, "refused by policy: setup.model is not a model this policy allows")
    running = await start(upstream=upstream, policy=POLICY | {"model": {"default": MODEL, "allow": [FULL]}})
    socket, answer = await opened(running, {"model": FULL})
    await socket.close()
    assert "setupComplete" in answer


async def test_a_model_that_vertex_has_not_keeps_the_client_s_name(start: Start, upstream: dict[str, Any]) -> None:
    """The close has our words; the session's log line has the name the client used."""
    running = await start(upstream=upstream, policy=POLICY)
    with capture_logs() as events:
        socket = await running.connect()
        await socket.send_json({"setup": {"model": "models/gemini-9"}})
        assert await end_of(socket) == (1008, "Gemini does not serve this model here")
        await ended(running)
    (line,) = [event for event in events if event["event"] == "session"]

    assert line["model"] == "models/gemini-9"
    assert line["reason"] == "upstream_model_refused"


async def test_resumption_handles_are_bound_to_the_client_s_name(start: Start, upstream: dict[str, Any]) -> None:
    """A handle that was given out for a model is good for the same model, by whichever name it goes upstream."""
    running = await start(upstream=upstream, policy=POLICY)
    socket, _answer = await opened(running, {"model": MODEL, "sessionResumption": {}})
    messages = await turn(socket)
    async with asyncio.timeout(WAIT_S):
        while not (handle := messages[-1].get("sessionResumptionUpdate", {}).get("newHandle")):
            messages.append(json.loads((await socket.receive()).data))
    await socket.close()
    socket, answer = await opened(running, {"model": MODEL, "sessionResumption": {"handle": handle}})
    await socket.close()

    assert "setupComplete" in answer


@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_that_vertex_refuses_end_the_session(
    start: Start, upstream: dict[str, Any], google: TokenServer, status: int
) -> None:
    """Trying again is no use and not done; the client learns that it is not its own key that was refused."""
    async with playing(upgrade=str(status)) as simulator:
        running = await start(upstream=upstream | {"base_url": simulator.url}, policy=POLICY)
        for _ in range(2):
            socket = await running.connect()
            await socket.send_json({"setup": {}})
            assert await end_of(socket) == (1011, "Gemini refused the relay's credentials")
        assert len(simulator.connections) == 2
    # A 401 is what a token gets that was taken back before its time: the next session tries a new one.
    assert len(google.requests) == (2 if status == 401 else 1)


async def test_a_refused_fetch_ends_the_session_with_no_dial(
    start: Start, simulator: Simulator, upstream: dict[str, Any], google: TokenServer
) -> None:
    """A service account that was deleted: nothing to show Google, so Google is not asked."""
    google.answer = (400, {"error": "invalid_grant", "error_description": "Account not found"})
    running = await start(upstream=upstream, policy=POLICY)
    with capture_logs() as events:
        socket = await running.connect()
        await socket.send_json({"setup": {}})
        assert await end_of(socket) == (1011, "Gemini refused the relay's credentials")
    (dial,) = [event for event in events if event["event"] == "dial failed"]

    assert (dial["status"], dial["cause"]) == (401, "token RefreshError")
    assert not simulator.connections


async def test_a_token_endpoint_out_of_reach_is_tried_again_within_the_deadline(
    start: Start, simulator: Simulator, upstream: dict[str, Any], tmp_path: Path
) -> None:
    """The client waits as for a Gemini that can't be reached, and is told the same."""
    path = tmp_path / "nowhere.json"
    path.write_text(json.dumps(service_account("http://127.0.0.1:1").info))
    section = upstream | {"vertex": VERTEX | {"credentials_file": str(path)}, "setup_deadline": "1s"}
    running = await start(upstream=section, policy=POLICY)
    socket = await running.connect()
    await socket.send_json({"setup": {}})

    assert await end_of(socket) == (1013, "Gemini can't be reached, try again later")
    assert not simulator.connections


async def test_a_slow_token_endpoint_is_not_waited_for_longer_than_a_dial(
    start: Start, upstream: dict[str, Any], google: TokenServer
) -> None:
    """The time limit of a dial covers its token; the fetch goes on, and its token serves the next dial."""
    google.gate.clear()
    running = await start(upstream=upstream | {"connect_timeout": "200ms"}, policy=POLICY)
    with capture_logs() as events:
        socket = await running.connect()
        await socket.send_json({"setup": {}})
        async with asyncio.timeout(WAIT_S):
            while not any(event["event"] == "dial failed" for event in events):
                await asyncio.sleep(0.01)
        google.gate.set()
        async with asyncio.timeout(WAIT_S):
            answer = json.loads((await socket.receive()).data)
        await socket.close()

    assert {event["cause"] for event in events if event["event"] == "dial failed"} == {"token TimeoutError"}
    assert "setupComplete" in answer
    assert len(google.requests) == 1


async def test_express_mode_shows_a_key(start: Start, simulator: Simulator) -> None:
    """No project: the key tells it, and the model's name has none."""
    section = {"base_url": simulator.url, "vertex": {"api_version": "v1"}, "api_key": KEY}
    running = await start(upstream=section, policy=POLICY)
    socket, answer = await opened(running, {})
    await socket.close()
    (connection,) = simulator.connections

    assert "setupComplete" in answer
    assert connection.path == "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent"
    assert connection.headers["x-goog-api-key"] == KEY
    assert "authorization" not in connection.headers
    assert connection.setup is not None
    assert connection.setup["model"] == "publishers/google/models/gemini-live-2.5-flash"


async def test_a_token_file_is_shown_as_it_is_at_each_dial(start: Start, simulator: Simulator, tmp_path: Path) -> None:
    """Whoever writes the file refreshes the token; the relay's log masks each of them."""
    path = tmp_path / "token"
    path.write_text("first-access-token-canary\n")
    section = {"api_key": None, "base_url": simulator.url, "vertex": VERTEX | {"access_token_file": str(path)}}
    running = await start(upstream=section, policy=POLICY)
    for token in ("first-access-token-canary", "other-access-token-canary"):
        path.write_text(f"{token}\n")
        socket, _answer = await opened(running, {})
        await socket.close()
        assert simulator.connections[-1].headers["authorization"] == f"Bearer {token}"
        assert token[:12] not in running.relay.scrubber.scrub(f"Google said: {token} is no good")
