"""What each kind of client message does to a live connection, and how it is written into the ledger. Pure."""

import base64
from dataclasses import replace
from typing import Any

from relay.sim import ear as hearing
from relay.sim import rejections, rules, stamp, tools
from relay.sim.archive import Session
from relay.sim.conversation import IMAGE_TOKENS, Utterance, audio_tokens, text_tokens
from relay.sim.ear import Began, Ear, Ended
from relay.sim.encoding import Message, duration
from relay.sim.families import Backend
from relay.sim.ledger import Consumed
from relay.sim.line import Line
from relay.sim.mouth import Mouth
from relay.sim.profile import Profile
from relay.sim.rejections import Rejection
from relay.sim.replies import Heard, transcript_of
from relay.sim.rules import Settings

_NOTED_CHARACTERS = 200
_STAMP_CHARACTERS = stamp.SIZE_BYTES * 4 // 3


class Consumer:
    """Takes the later messages of one connection."""

    def __init__(self, ear: Ear, mouth: Mouth, line: Line, session: Session, profile: Profile) -> None:
        self._ear = ear
        self._mouth = mouth
        self._line = line
        self._session = session
        self._profile = profile
        self._unanswered: list[Utterance] = []
        """What clientContent brought without turnComplete so far."""

    @property
    def _settings(self) -> Settings:
        return self._mouth.settings

    def take(self, message: Message, now: float) -> Rejection | None:
        """Consume one message in canonical form; the close it earns, if it earns one."""
        kind, body = next(iter(message.items()))
        match kind:
            case "clientContent":
                return self._client_content(body, now)
            case "realtimeInput":
                return self._realtime_input(body, now)
            case "toolResponse":
                return self._mouth.tool_response(body, now)
            case "contextUpdate":
                return self._context_update(body)
            case _:  # a second setup
                return rejections.BAD_ARGUMENT

    def _client_content(self, body: dict[str, Any], now: float) -> Rejection | None:
        seeding = self._settings.seeds_history and not self._session.conversation.seeded
        if not seeding:
            self._mouth.interrupt(now)
        said: list[Utterance] = []
        for content in body.get("turns", []):
            role = content.get("role", "user")
            if role == "system" and self._settings.backend is Backend.VERTEX:
                self._instruct(content)
                continue
            if role not in ("user", "model"):
                return rejections.BAD_ARGUMENT
            said.append(_utterance(role, content))
        for utterance in said:
            self._session.conversation = self._session.conversation.say(utterance)
        complete = body.get("turnComplete", False)
        if seeding:
            if complete:
                self._session.conversation = replace(self._session.conversation, seeded=True)
            return None
        self._unanswered += [utterance for utterance in said if utterance.role == "user"]
        if not complete:
            return None
        heard = Heard(
            " ".join(utterance.text for utterance in self._unanswered if utterance.text),
            pictures=sum(utterance.image_tokens for utterance in self._unanswered) // IMAGE_TOKENS,
        )
        self._unanswered = []
        return self._respond(heard, now)

    def _realtime_input(self, body: dict[str, Any], now: float) -> Rejection | None:
        noticed = self._ear.hear(body)
        if isinstance(noticed, Rejection):
            return noticed
        for event in noticed:
            if isinstance(event, Began):
                self._signal("ACTIVITY_START", event.at_s)
                if self._settings.interruptible:
                    self._mouth.interrupt(now)
                continue
            heard = event.heard
            if isinstance(event, Ended):
                self._signal("ACTIVITY_END", event.at_s)
                if self._settings.hears and heard.speech_s:
                    self._line.send("serverContent", {"inputTranscription": {"text": transcript_of(heard)}})
            self._session.conversation = self._session.conversation.say(hearing.utterance(heard))
            refused = self._respond(heard, now)
            if refused:
                return refused
        return None

    def _context_update(self, body: dict[str, Any]) -> Rejection | None:
        if "tools" in body:
            settings = self._settings
            functions = tools.declared(body["tools"].get("tools", []), settings.manner.family)
            self._mouth.settings = replace(settings, functions=functions)
        if "systemInstruction" in body:
            self._instruct(body["systemInstruction"])
        return None

    def _instruct(self, content: dict[str, Any]) -> None:
        self._mouth.settings = replace(self._settings, instruction=rules.instruction_text(content))

    def _respond(self, heard: Heard, now: float) -> Rejection | None:
        """Answer, unless the conversation has outgrown the context window."""
        conversation, settings = self._session.conversation, self._settings
        if settings.trigger_tokens and conversation.tokens > settings.trigger_tokens:
            self._session.conversation = conversation.compressed(settings.target_tokens)
        elif conversation.tokens > self._profile.context_tokens:
            return rejections.BAD_ARGUMENT
        self._mouth.answer(heard, now)
        return None

    def _signal(self, kind: str, at_s: float) -> None:
        if self._settings.signals:
            activity = {"voiceActivityType": kind, "audioOffset": duration(at_s)}
            self._line.send("voiceActivity", activity)


def kind_of(message: Message) -> str:
    """The event name of a message: its main key, or what a realtimeInput brings."""
    kind, body = next(iter(message.items()))
    if kind != "realtimeInput":
        return kind
    return next((name for name in ("audio", "video", "text") if name in body), next(iter(body), "realtimeInput"))


def text_of(message: Message) -> str:
    """The text in a message, for scripts and the ledger."""
    kind, body = next(iter(message.items()))
    if kind == "clientContent":
        return " ".join(rules.instruction_text(content) for content in body.get("turns", []))
    if kind == "toolResponse":
        return " ".join(f"{r.get('name', '')} {r.get('id', '')}" for r in body.get("functionResponses", []))
    if kind == "contextUpdate":
        return rules.instruction_text(body.get("systemInstruction", {}))
    return str(body.get("text", ""))


def ledger_entry(message: Message, connection: int, index: int, size: int) -> Consumed:
    """How a message stands in the ledger."""
    kind, body = next(iter(message.items()))
    number = None
    if kind == "realtimeInput" and "audio" in body:
        beginning = base64.b64decode(body["audio"].get("data", "")[:_STAMP_CHARACTERS])
        found = stamp.read(beginning)
        number = found.number if found else None
    name = f"realtimeInput.{kind_of(message)}" if kind == "realtimeInput" else kind
    return Consumed(connection, index, name, number, text_of(message)[:_NOTED_CHARACTERS], size)


def _utterance(role: str, content: dict[str, Any]) -> Utterance:
    text = rules.instruction_text(content)
    images = audio_s = 0.0
    for part in content.get("parts", []):
        mime = part.get("inlineData", {}).get("mimeType", "")
        images += mime.startswith(("image/", "video/"))
        if mime.startswith("audio/"):
            audio_s += len(part["inlineData"].get("data", "")) * 3 / 4 / 32_000
    return Utterance(role, text, text_tokens(text), audio_tokens(audio_s), int(images) * IMAGE_TOKENS)
