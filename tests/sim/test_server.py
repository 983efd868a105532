"""The listener: paths, upgrades, credentials, start and stop; with real sockets."""

import asyncio
import json
import signal
import ssl
import sys
import time
from pathlib import Path

import aiohttp
import pytest
import trustme

from relay.sim import Profile, Simulator, server
from tests.sim.client import PATH, PATIENCE_S, Client, connected, eventually, simulator, talking
from tests.sim.playing import CASCADE, said, setup, shape


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("method", ["BidiGenerateContent", "BidiGenerateContentConstrained"])
@pytest.mark.parametrize("slashes", ["/", "//"])
async def test_googles_paths_are_served(version: str, method: str, slashes: str) -> None:
    """All versions, the Constrained method, and the double slash of the JavaScript SDK."""
    path = f"{slashes}ws/google.ai.generativelanguage.{version}.GenerativeService.{method}"
    async with simulator() as google, connected(google, path) as client:
        await client.send(setup())

        assert await client.receive() == {"setupComplete": {}}
        assert google.connections[0].path == path


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_vertex_is_served(version: str) -> None:
    """Vertex has its own path and its own manners."""
    path = f"/ws/google.cloud.aiplatform.{version}.LlmBidiService/BidiGenerateContent"
    async with simulator() as google, connected(google, path, headers={"Authorization": "Bearer t"}) as client:
        await client.send(setup(CASCADE))

        assert "sessionId" in (await client.receive())["setupComplete"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/live",
        PATH + "X",
        "/x" + PATH,
        PATH.replace("Content", "Music"),
        PATH.replace("v1beta", "v2"),
        "/ws/google.cloud.aiplatform.v1.LlmBidiService.BidiGenerateContent",
    ],
)
async def test_other_paths_are_not_found(path: str) -> None:
    """404 before any upgrade, music included."""
    async with simulator() as google:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(google, path):
                pass

        assert refused.value.status == 404
        assert google.connections == []


async def test_frames_are_binary_indented_json() -> None:
    """The very bytes of Google's setupComplete, in a BINARY frame; TEXT if wanted."""
    for text_frames, kind in ((False, aiohttp.WSMsgType.BINARY), (True, aiohttp.WSMsgType.TEXT)):
        async with simulator(text_frames=text_frames) as google, connected(google) as client:
            await client.send(setup())
            message = await client.ws.receive(PATIENCE_S)

            assert message.type is kind
            payload = message.data if isinstance(message.data, bytes) else message.data.encode()
            assert payload == b'{\n  "setupComplete": {}\n}\n'


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?key=bad", {}),
        ("?access_token=bad", {}),
        ("?access_token=auth_tokens%2Fbad", {}),
        ("", {"x-goog-api-key": "bad"}),
        ("", {"Authorization": "Bearer bad"}),
        ("", {"Authorization": "Token auth_tokens/bad"}),
    ],
)
async def test_a_key_is_refused_after_the_setup_wherever_it_stands(query: str, headers: dict[str, str]) -> None:
    """The upgrade succeeds; the complaint comes once setup arrives."""
    async with (
        simulator(refused_keys=("bad", "auth_tokens/bad")) as google,
        connected(google, PATH + query, headers=headers) as client,
    ):
        await client.send(setup())

        assert await client.closed() == (1007, "API key not valid. Please pass a valid API key.")


async def test_reasons_are_cut_at_123_bytes() -> None:
    """The reason on the wire is exactly as long as Google's."""
    async with simulator() as google, connected(google) as client:
        await client.send(setup("models/" + "x" * 100))

        code, reason = await client.closed()
        assert code == 1008
        assert len(reason) == 123
        assert google.connections[0].sent_close == (1008, reason)


async def test_what_was_received_is_there_for_tests() -> None:
    """Path, query, headers, raw messages, the setup as understood, the session, and the close code."""
    raw = '{"setup": {"model":"models/gemini-3.8-live" ,"generation_config":{}}}'
    async with simulator() as google:
        async with connected(google, PATH + "?key=canary&a=%2F") as client:
            await client.send(raw)
            await client.receive()
            await client.ws.send_bytes(b'{"realtimeInput":{"text":"binary"}}')
            await client.until("turnComplete")
            await client.ws.close(code=1000)
        await eventually(google)
        (record,) = google.connections

    assert record.query == "key=canary&a=%2F"
    assert record.headers["x-goog-api-key"] == "canary"
    assert [message.raw for message in record.messages] == [raw, '{"realtimeInput":{"text":"binary"}}']
    assert [message.binary for message in record.messages] == [False, True]
    assert record.setup == {"model": "models/gemini-3.8-live", "generationConfig": {}}
    assert record.session == "session-1"
    assert record.close_code == 1000


async def test_tls_is_served() -> None:
    """With a certificate the Python SDK, which only dials wss, can come directly."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    google = Simulator(Profile(), ssl_context=context)
    await google.start()
    try:
        async with connected(google, ssl=trusting) as client:
            await client.send(setup())
            assert google.url.startswith("wss://")
            assert "setupComplete" in await client.receive()
    finally:
        await google.stop()


async def test_stopping_drops_live_connections_quickly() -> None:
    """stop() is bounded, whatever clients are doing, and leaves no task behind."""
    before = len(asyncio.all_tasks())
    async with simulator(burst=1.0, upgrade="ok") as google, aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(google.url + PATH + "?key=k") for _ in range(20)]
        for ws in sockets:
            client = Client(ws)
            await client.send(setup())
            await client.receive()
            await client.send(said("hello"))
        began = time.monotonic()
        await google.stop()
        took = time.monotonic() - began

        assert took < 3.0
        assert await Client(sockets[0]).closed() == (1006, "")
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_a_taken_port_is_an_error() -> None:
    """start() raises OSError and cleans up after itself."""
    async with simulator() as google:
        other = Simulator(Profile(), port=google.port)
        with pytest.raises(OSError, match="address"):
            await other.start()
        await other.stop()


async def test_sessions_do_not_disturb_each_other() -> None:
    """Fifty clients at once, each gets its own answer."""

    async def one(google: Simulator, number: int) -> list[str]:
        async with talking(google, outputAudioTranscription={}) as client:
            frames = await client.turn(said(f"number {number}"))
            texts = [f.get("serverContent", {}).get("outputTranscription", {}).get("text", "") for f in frames]
            assert f"number {number}." in "".join(texts)
            return shape(frames)

    async with simulator() as google:
        grammars = await asyncio.gather(*(one(google, number) for number in range(50)))

    assert grammars == [["opening", "audio", "generationComplete", "turnComplete+usage"]] * 50


_SERVE = """
import asyncio
from relay.sim import Profile, server
asyncio.run(server.serve(Profile(), None, "127.0.0.1", 0, lambda line: print(line, flush=True)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_serve_announces_itself_and_ends_on_a_signal(number: signal.Signals) -> None:
    """One JSON line with the address; exit code 0 on SIGINT and SIGTERM."""
    root = Path(server.__file__).parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, stdout=asyncio.subprocess.PIPE, cwd=root
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
        ready = json.loads(line)
        assert ready["event"] == "ready"
        async with aiohttp.ClientSession() as session, session.ws_connect(ready["listen"] + PATH + "?key=k") as ws:
            await ws.send_json(setup())
            assert json.loads((await ws.receive(PATIENCE_S)).data) == {"setupComplete": {}}
            process.send_signal(number)
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        assert await process.stdout.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
