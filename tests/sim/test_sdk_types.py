"""Every kind of frame the simulator makes, read by the official Python SDK."""

import json
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from google import genai
from google.genai import _live_converters as converters
from google.genai import types

from relay.sim import Simulator
from relay.sim.actions import parse_action
from relay.sim.outputs import Frame
from relay.sim.profile import preset
from tests.sim.playing import (
    CASCADE,
    V25,
    V31,
    V38,
    Player,
    answers,
    calls,
    google,
    handles,
    live,
    said,
    silence,
    sound,
    tone,
)

VERTEX_NATIVE = "publishers/google/models/gemini-live-2.5-flash-native-audio"
THINKING = "models/gemini-3.8-live-extended-thinking"
WANTED: dict[str, Any] = {
    "outputAudioTranscription": {},
    "inputAudioTranscription": {},
    "sessionResumption": {},
    "explicitVadSignal": True,
    "tools": [{"functionDeclarations": [{"name": "f", "behavior": "BLOCKING"}, {"name": "g"}]}],
}


def everything(model: str) -> Iterator[dict[str, Any]]:
    """The frames of a conversation with speech, calls, a cancellation, barge-in, goAway and a resume in it."""
    wanted = {**WANTED, "sessionResumption": {"transparent": True}} if model in (CASCADE, VERTEX_NATIVE) else WANTED
    if model in (V25, V31):
        wanted = {**wanted, "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]}
    service = google(burst=1.0, go_away_after_s=200.0)
    player = live(service, model, **wanted)
    player.send(said("hello"))
    player.wait(30.0)
    player.send(sound(tone(0.3) + silence(0.6)))
    player.wait(1.0)
    player.send(sound(tone(0.3) + silence(0.6)))
    player.wait(30.0)
    for name in ("f", "g"):
        asked = player.send(said(f"call {name}")) + player.wait(0.5)
        player.send(answers(*calls(asked), name=name))
        player.wait(30.0)
    player.send(said("call f"))
    player.send(said("stop"))
    frames = player.wait(200.0)
    player.dialogue.closed(player.now)
    everything_sent = [json.loads(o.payload) for o in player.outputs if isinstance(o, Frame)]
    handle = handles(everything_sent)[-1]
    resumed = {**wanted, "sessionResumption": {**wanted["sessionResumption"], "handle": handle}}
    second = live(service, model, connection=2, now=player.now, **resumed)
    second.send(said("again"))
    second.wait(30.0)
    assert any("goAway" in frame for frame in frames)
    for one in (player, second):
        yield from (json.loads(output.payload) for output in one.outputs if isinstance(output, Frame))


@pytest.mark.parametrize("model", [V25, V31, V38, THINKING, CASCADE, VERTEX_NATIVE])
def test_the_sdk_reads_every_frame(model: str) -> None:
    """Each frame is converted and validated as the SDK does it, and none comes out empty."""
    vertex = model in (CASCADE, VERTEX_NATIVE)
    convert = converters._LiveServerMessage_from_vertex if vertex else converters._LiveServerMessage_from_mldev
    kinds: set[str] = set()
    for frame in everything(model):
        message = types.LiveServerMessage._from_response(response=convert(frame), kwargs={})

        kinds |= set(message.model_dump(exclude_none=True))
        if not vertex:  # the model forbids names it does not know; Vertex renames some
            types.LiveServerMessage.model_validate(frame)
    assert kinds >= {
        "setup_complete", "server_content", "tool_call", "tool_call_cancellation", "usage_metadata", "go_away",
        "session_resumption_update", "voice_activity",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["go_away", "handle", "tool_call", "say"])
def test_the_sdk_reads_frames_of_faults(kind: str) -> None:
    """What a fault injects is as readable as what happens by itself."""
    samples: dict[str, Any] = {"tool_call": {"name": "f", "args": {"deep": [1, {"x": None}]}}, "say": {"text": "so"}}
    action = parse_action({kind: samples.get(kind, {})}, "do")
    assert not isinstance(action, list)
    player = Player(google())
    player.send({"setup": {"model": V38}})

    player.dialogue.act(action, player.now)

    for frame in player.drain():
        types.LiveServerMessage.model_validate(frame)


async def test_the_sdk_talks_to_the_simulator() -> None:
    """Over TLS, unmodified: a text turn with audio and transcript, a tool round trip, a handle."""
    authority = trustme.CA()
    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trusting)
    simulator = Simulator(preset("instant"), ssl_context=serving)
    await simulator.start()
    client = genai.Client(
        api_key="canary",
        http_options=types.HttpOptions(
            base_url=simulator.url.replace("wss", "https"), async_client_args={"ssl": trusting}
        ),
    )
    declaration = types.FunctionDeclaration(name="get_weather", behavior=types.Behavior.BLOCKING)
    config = types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        output_audio_transcription=types.AudioTranscriptionConfig(),
        session_resumption=types.SessionResumptionConfig(),
        tools=[types.Tool(function_declarations=[declaration])],
    )
    try:
        async with client.aio.live.connect(model="gemini-3.8-live", config=config) as session:
            await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text="hello")]))
            messages = [message async for message in session.receive()]
            audio = b"".join(message.data for message in messages if message.data)
            assert len(audio) > 100_000
            await session.send_client_content(turns=types.Content(role="user", parts=[types.Part(text="get_weather")]))
            async for message in session.receive():
                if message.tool_call and message.tool_call.function_calls:
                    (call,) = message.tool_call.function_calls
                    answer = types.FunctionResponse(id=call.id, name=call.name, response={"output": "fog"})
                    await session.send_tool_response(function_responses=answer)
        assert simulator.connections[0].headers["x-goog-api-key"] == "canary"
    finally:
        await simulator.stop()
