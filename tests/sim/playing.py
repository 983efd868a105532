"""Plays a client against a dialogue without sockets, on a clock of its own."""

import base64
import json
from random import Random
from typing import Any

from relay.sim import stamp
from relay.sim.archive import Archive
from relay.sim.dialogue import Dialogue
from relay.sim.families import Backend
from relay.sim.google import Google
from relay.sim.outputs import Close, Cut, Frame, Output, Stall
from relay.sim.profile import Profile, preset
from relay.sim.rules import Caller, Settings, settle
from relay.sim.scenario import Scenario, Script

RATE = 16_000
V25 = "models/gemini-2.5-flash-native-audio-latest"
V31 = "models/gemini-3.1-flash-live-preview"
V38 = MODEL = "models/gemini-3.8-live"
CASCADE = "projects/p/locations/l/publishers/google/models/gemini-live-2.5-flash"


def caller(backend: Backend = Backend.DEV, *credentials: str) -> Caller:
    """Someone who connected."""
    return Caller(1, backend, "v1beta", credentials or ("key",))


def settled(setup: dict[str, Any], backend: Backend = Backend.DEV, profile: Profile | None = None) -> Settings:
    """The settings a setup leads to; it must be accepted."""
    settings = settle(setup, caller(backend), profile or Profile())
    assert isinstance(settings, Settings), settings
    return settings


def tone(seconds: float, amplitude: int = 6_000, rate: int = RATE) -> bytes:
    """A loud square wave at 200 Hz."""
    period = rate // 200
    one = b"".join(
        (amplitude if at < period // 2 else -amplitude).to_bytes(2, "little", signed=True) for at in range(period)
    )
    return (one * (int(seconds * 200) + 1))[: int(seconds * rate) * 2]


def silence(seconds: float, rate: int = RATE) -> bytes:
    """Nothing to hear."""
    return bytes(int(seconds * rate) * 2)


def google(scenario: Scenario | None = None, **knobs: Any) -> Google:
    """A simulated service: the `instant` preset with some knobs changed."""
    profile = preset("instant", **knobs)
    random = Random(1)
    return Google(profile, Archive(profile, random), Script(scenario or Scenario()), random)


def setup(model: str = MODEL, **fields: Any) -> dict[str, Any]:
    """A setup message."""
    return {"setup": {"model": model, **fields}}


def said(text: str, **fields: Any) -> dict[str, Any]:
    """A complete clientContent with one user turn."""
    return {"clientContent": {"turns": [{"role": "user", "parts": [{"text": text}]}], "turnComplete": True, **fields}}


class Player:
    """One client connection: what it sends, what it got, and the time."""

    def __init__(
        self, service: Google, backend: Backend = Backend.DEV, connection: int = 1, now: float = 100.0
    ) -> None:
        self.now = now
        who = Caller(connection, backend, "v1beta", ("key",), "x-goog-api-key: key")
        self.dialogue = Dialogue(service, who, self.now)
        self.outputs: list[Output] = []

    def send(self, message: dict[str, Any] | str) -> list[dict[str, Any]]:
        """Send a message; what came back at once."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.dialogue.receive(text, self.now)
        return self.drain()

    def drain(self) -> list[dict[str, Any]]:
        """The frames that are due by now, parsed."""
        got: list[dict[str, Any]] = []
        while (output := self.dialogue.pop(self.now)) is not None:
            self.outputs.append(output)
            if isinstance(output, Frame) and output.kind != "raw":
                got.append(json.loads(output.payload))
        return got

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Let time pass, alarm by alarm; the frames that came in the meantime."""
        got, until = self.drain(), self.now + seconds
        while self.dialogue.next_at <= until:
            self.now = max(self.now, self.dialogue.next_at)
            got += self.drain()
        self.now = until
        return got + self.drain()

    @property
    def close(self) -> Close | None:
        """The close that was asked for, if any."""
        return next((output for output in self.outputs if isinstance(output, Close)), None)

    @property
    def cut(self) -> Cut | None:
        """The cut that was asked for, if any."""
        return next((output for output in self.outputs if isinstance(output, Cut)), None)

    @property
    def stalls(self) -> list[Stall]:
        """The stalls that were asked for."""
        return [output for output in self.outputs if isinstance(output, Stall)]


def live(service: Google, model: str = MODEL, /, *, connection: int = 1, now: float = 100.0, **fields: Any) -> Player:
    """A player whose setup is complete."""
    backend = Backend.VERTEX if "publishers/" in model else Backend.DEV
    player = Player(service, backend, connection, now)
    frames = player.send(setup(model, **fields))
    assert "setupComplete" in frames[0], player.outputs
    return player


def handles(frames: list[dict[str, Any]]) -> list[str]:
    """The handles in the frames, oldest first."""
    updates = [frame["sessionResumptionUpdate"] for frame in frames if "sessionResumptionUpdate" in frame]
    return [update["newHandle"] for update in updates if "newHandle" in update]


def spoken(frames: list[dict[str, Any]]) -> str:
    """The transcript of the answers in the frames."""
    contents = [frame.get("serverContent", {}) for frame in frames]
    return "".join(content.get("outputTranscription", {}).get("text", "") for content in contents)


def sound(pcm: bytes) -> dict[str, Any]:
    """A realtimeInput with audio."""
    data = base64.b64encode(pcm).decode()
    return {"realtimeInput": {"audio": {"mimeType": f"audio/pcm;rate={RATE}", "data": data}}}


def answers(*ids: str, name: str = "f", **fields: Any) -> dict[str, Any]:
    """A toolResponse to these calls."""
    responses = [{"id": one, "name": name, "response": {"output": "fog"}, **fields} for one in ids]
    return {"toolResponse": {"functionResponses": responses}}


def calls(frames: list[dict[str, Any]]) -> list[str]:
    """The ids of the calls in the frames."""
    return [call["id"] for frame in frames if "toolCall" in frame for call in frame["toolCall"]["functionCalls"]]


def stamp_of(frame: dict[str, Any]) -> stamp.Stamp | None:
    """The stamp on the audio in a frame, if there is any."""
    parts = frame.get("serverContent", {}).get("modelTurn", {}).get("parts", [])
    return stamp.read(base64.b64decode(parts[0]["inlineData"]["data"])) if parts else None


def shape(frames: list[dict[str, Any]]) -> list[str]:
    """The frames in words, neighbouring pieces of an answer folded: what a turn's grammar looks like."""
    names: list[str] = []
    for frame in frames:
        name = _name(frame)
        if name == "audio+transcript":  # not every chunk has a word beginning in it
            name = "audio"
        if not names or names[-1] != name or name not in ("audio", "transcript", "text"):
            names.append(name)
    return names


def _name(frame: dict[str, Any]) -> str:
    content = frame.get("serverContent")
    if content is None:
        kind = next(iter(frame))
        return kind if frame[kind] or kind == "setupComplete" else f"{kind}:empty"
    found = [name for name in ("interrupted", "generationComplete", "turnComplete") if name in content]
    if "inputTranscription" in content:
        found.append("input")
    parts = content.get("modelTurn", {}).get("parts", [])
    if parts:
        found.append("thought" if parts[0].get("thought") else "text" if "text" in parts[0] else "audio")
    if "outputTranscription" in content:
        found.append("transcript")
    if "usageMetadata" in frame:
        found.append("usage")
    return "+".join(found) or "opening"
