"""The conversations that every SDK must be able to hold through the relay: one table, with what must be seen of each.

`enforced` and the policies' names refer to the relay.yaml in the repository's root, which the relay under test runs on.
"""

import array
import base64
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.e2e.sdk.driving import Played
from tests.support import ROOT

MODEL = "models/gemini-3.8-live"
BLOCKING_MODEL = "models/gemini-2.5-flash-native-audio-latest"
"""Waits for its functions, where 3.8 talks on."""
GOOGLE_PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
"""With the version in relay.yaml, whatever the client's is."""
GOOGLE_KEY = "AIzaOperatorsKey0123456789abcdefghijkl"
STORY = "story"
"""The simulator answers a text with this word in it at a length of minutes."""
STORY_S = 60.0
"""The story lasts longer than this."""
PLAYED_BYTES_PER_S = 48_000
POLICIES: dict[str, Any] = yaml.safe_load((ROOT / "relay.yaml").read_text())["policies"]
ASSISTANT: dict[str, Any] = POLICIES["guided"]["enforce"]
POLICIES["tools"] = {**POLICIES["guided"], "allow": [*POLICIES["guided"]["allow"], "tools.functionDeclarations"]}

Step = Mapping[str, Any]


def tenant_key(policy: str) -> str:
    """The key of the tenant whose policy this is."""
    return f"relay_key-of-{policy}-0123456789abcdef"


def text(words: str) -> Step:
    """Say something as a complete turn."""
    return {"do": "text", "text": words}


def typed(words: str) -> Step:
    """Say something as realtime input."""
    return {"do": "type", "text": words}


def audio(pcm: bytes) -> Step:
    """Stream PCM16 of 16 kHz in chunks of 40 ms."""
    return {"do": "audio", "pcm": base64.b64encode(pcm).decode()}


def answer(response: Mapping[str, Any]) -> Step:
    """Answer the last function call."""
    return {"do": "answer", "response": response}


def until(event: str) -> Step:
    """Wait for the next message that has this in it."""
    return {"do": "until", "event": event}


def tone(seconds: float) -> bytes:
    """A sound that any detector takes for speech."""
    samples = array.array("h", (int(9_000 * math.sin(at / 8.0)) for at in range(int(16_000 * seconds))))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def silence(seconds: float) -> bytes:
    """No sound."""
    return bytes(2 * int(16_000 * seconds))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One conversation, and what must come of it."""

    name: str
    policy: str
    steps: tuple[Step, ...]
    check: Callable[[Played], None]
    """Looks at what the application saw."""
    config: Mapping[str, Any] = field(default_factory=lambda: {"responseModalities": ["AUDIO"]})
    model: str = MODEL
    setup: Mapping[str, Any] | None = field(default_factory=lambda: ASSISTANT)
    """What "Google" must get besides the model; None when it must not be reached."""
    refusal: str | None = None
    """The reason of a close with 1008."""

    def __str__(self) -> str:
        return self.name

    def verify(self, played: Played) -> None:
        """Assert all that must hold of it."""
        if self.refusal is None:
            assert played.failure is None
        else:
            assert played.failure is not None
            assert self.refusal in played.failure["message"]
            assert played.failure["code"] == 1008 or "code 1008" in played.failure["message"]
        self.check(played)
        assert GOOGLE_KEY not in json.dumps([played.events, played.failure])
        assert tenant_key(self.policy) not in json.dumps(played.google)
        if self.setup is None:
            assert played.google == []
        else:
            check_google(played.google, {"model": self.model, **self.setup})


def check_google(connections: list[dict[str, Any]], setup: Mapping[str, Any]) -> None:
    """ "Google" got one connection, with the operator's key where it belongs and exactly the enforced setup, once.

    The relay asks for resumption whatever the client asked.
    """
    (connection,) = connections
    assert connection["path"] == GOOGLE_PATH
    assert connection["query"] == ""
    assert connection["headers"]["x-goog-api-key"] == GOOGLE_KEY
    assert "authorization" not in connection["headers"]
    assert "sec-websocket-protocol" not in connection["headers"]
    received = [json.loads(message["raw"]) for message in connection["messages"]]
    assert received[0] == {"setup": {"sessionResumption": {}, **setup}}
    assert not any("setup" in message for message in received[1:])
    assert connection["sent_close"] is None, "Google found fault with something"


def _check_answered(played: Played) -> None:
    """Audible speech and its transcript, then the end of the turn with its bill."""
    assert played.audio_bytes > PLAYED_BYTES_PER_S
    assert played.peak > 3_000
    last = played.events[-1] if "turnComplete" in played.events[-1] else played.events[-2]
    assert last["turnComplete"] is True
    assert last["tokens"] > 0
    assert played.total("turnComplete") == 1


def _check_greeted(played: Played) -> None:
    _check_answered(played)
    assert played.said.startswith("Hello! I am the simulator, playing gemini-3.8-live with the voice Puck.")


def _check_voice(played: Played) -> None:
    _check_answered(played)
    assert "with the voice Kore." in played.said


def _check_typed(played: Played) -> None:
    _check_answered(played)
    assert played.said.startswith("You said: Tell me the time, please.")


SPEECH = tone(0.6) + silence(0.8)


def _check_speech(played: Played) -> None:
    _check_answered(played)
    assert played.heard == " (0.6 seconds of speech)"
    assert played.said.startswith("I heard 0.6 seconds of speech.")
    assert played.audio_at_google == SPEECH, "every chunk, unchanged and in order"


def _check_tool(played: Played) -> None:
    (call,) = played.calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    assert "The function get_weather answered sunny, 21 degrees." in played.said
    assert played.index("calls") < played.index("turnComplete")
    (answered,) = [message["toolResponse"] for message in played.messages if "toolResponse" in message]
    response = {"id": call["id"], "name": "get_weather", "response": {"result": "sunny, 21 degrees"}}
    assert answered == {"functionResponses": [response]}


def _check_barge_in(played: Played) -> None:
    cut = played.index("interrupted")
    before = sum(event.get("audio", 0) for event in played.events[:cut])
    assert 0 < before < STORY_S * PLAYED_BYTES_PER_S, "cut short"
    ended = played.index("turnComplete")
    assert cut <= ended
    assert not any("audio" in event for event in played.events[cut : ended + 1]), "nothing of the old answer"
    assert played.total("interrupted") == 1
    assert played.total("turnComplete") == 2
    assert "I heard 0.4 seconds of speech." in "".join(event.get("said", "") for event in played.events[ended:])


def _check_nothing_answered(played: Played) -> None:
    assert played.audio_bytes == 0
    assert played.said == ""


def _check_video_stopped(played: Played) -> None:
    _check_nothing_answered(played)
    assert len(played.messages) == 1, "the setup, and no picture"


WEATHER = {
    "functionDeclarations": [
        {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]},
        }
    ]
}
_TOOL_CONFIG = {"responseModalities": ["AUDIO"], "tools": [WEATHER]}
_VOICE = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}, "languageCode": "de-DE"}
_HELLO = (text("hello"), until("turnComplete"))
_ASK = (text("Please call get_weather in Paris"), until("calls"), answer({"result": "sunny, 21 degrees"}))


def _refused(name: str, detail: str, **asked: Any) -> Scenario:
    """A setup that the guided policy refuses before Google is dialled."""
    refusal = f"refused by policy: {detail}"
    return Scenario(name, "guided", _HELLO, _check_nothing_answered, setup=None, refusal=refusal, **asked)


SCENARIOS = (
    Scenario("text", "guided", _HELLO, _check_greeted),
    Scenario(
        "voice",
        "guided",
        _HELLO,
        _check_voice,
        config={"responseModalities": ["AUDIO"], "speechConfig": _VOICE},
        setup={**ASSISTANT, "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": _VOICE}},
    ),
    Scenario("typed", "guided", (typed("Tell me the time, please"), until("turnComplete")), _check_typed),
    Scenario("speech", "guided", (audio(SPEECH), until("turnComplete")), _check_speech),
    Scenario(
        "tool",
        "tools",
        (*_ASK, until("turnComplete"), until("turnComplete")),
        _check_tool,
        config=_TOOL_CONFIG,
        setup={**ASSISTANT, "tools": [WEATHER]},
    ),
    Scenario(
        "blocking tool",
        "tools",
        (*_ASK, until("turnComplete")),
        _check_tool,
        config=_TOOL_CONFIG,
        model=BLOCKING_MODEL,
        setup={**ASSISTANT, "tools": [WEATHER]},
    ),
    Scenario(
        "barge-in",
        "guided",
        (
            text(f"Tell me a {STORY}."),
            until("audio"),
            audio(tone(0.4)),
            until("interrupted"),
            audio(silence(0.8)),
            until("turnComplete"),
            until("turnComplete"),
        ),
        _check_barge_in,
    ),
    Scenario(
        "everything stripped",
        "locked",
        _HELLO,
        _check_greeted,
        config={
            "responseModalities": ["AUDIO"],
            "systemInstruction": "You are a pirate.",
            "temperature": 1.9,
            "maxOutputTokens": 7,
            "speechConfig": _VOICE,
            "tools": [WEATHER, {"googleSearch": {}}],
        },
    ),
    _refused(
        "system instruction refused",
        "setup.systemInstruction.parts may not be set by the client",
        config={"responseModalities": ["AUDIO"], "systemInstruction": "You are a pirate."},
    ),
    _refused("tools refused", "setup.tools may not be set by the client", config=_TOOL_CONFIG),
    _refused("model refused", "setup.model is not a model this policy allows", model="models/gemini-4-secret"),
    Scenario(
        "video refused",
        "guided",
        ({"do": "video", "jpeg": "/9j/4AAQSkZJRg=="}, until("turnComplete")),
        _check_video_stopped,
        refusal="refused by policy: realtimeInput.video may not be sent by the client",
    ),
)
