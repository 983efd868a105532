"""What the simulated model says: plain sense for a demo, and facts of the session so that a listener can check them."""

import re
from dataclasses import dataclass

from relay.sim.conversation import Conversation

_GREETING = re.compile(r"^\W*(hello|hi|hey|good (morning|evening|day)|hallo|hola|bonjour|greetings)\b", re.IGNORECASE)
_RECALL = re.compile(r"(what did i|do you remember|what have i|remember what|said before)", re.IGNORECASE)
_QUOTED_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Heard:
    """What the user said in a turn."""

    text: str = ""
    speech_s: float = 0.0
    """Seconds of speech among the audio."""
    pictures: int = 0


def answer(heard: Heard, conversation: Conversation, connection: int, voice: str) -> str:
    """The reply to what was heard; `connection` counts the session's connections from 1."""
    facts = _facts(conversation, connection)
    if _GREETING.match(heard.text):
        model = conversation.model.rsplit("/", 1)[-1]
        return (
            f"Hello! I am the simulator, playing {model} with the voice {voice}. "
            f"Nothing you say leaves this machine. {facts}"
        )
    if _RECALL.search(heard.text):
        earlier = conversation.heard_before()[:-1][-3:]
        if not earlier:
            return f"You have said nothing before this. {facts}"
        return f"Before this you said: {'; '.join(_quoted(entry) for entry in earlier)}. {facts}"
    if heard.text:
        return f"You said: {_quoted(heard.text)}.{_pictures(heard)} {facts}"
    if heard.speech_s:
        return f"I heard {heard.speech_s:.1f} seconds of speech.{_pictures(heard)} {facts}"
    return f"I am listening.{_pictures(heard)} {facts}"


def transcript_of(heard: Heard) -> str:
    """The inputTranscription of streamed speech: there is no recogniser here, so it says what was measured."""
    return f" ({heard.speech_s:.1f} seconds of speech)"


def answer_to_tools(outcomes: list[tuple[str, str]], conversation: Conversation, connection: int) -> str:
    """The reply once functions have answered; `outcomes` are names and answers."""
    said = "; ".join(f"{name} answered {outcome[:_QUOTED_CHARACTERS]}" for name, outcome in outcomes)
    return f"The function {said}. {_facts(conversation, connection)}"


def _facts(conversation: Conversation, connection: int) -> str:
    again = f", on connection {connection}" if connection > 1 else ""
    return f"This is turn {conversation.turns}{again}."


def _pictures(heard: Heard) -> str:
    if not heard.pictures:
        return ""
    return f" I also saw {heard.pictures} picture{'s' if heard.pictures > 1 else ''}."


def _quoted(text: str) -> str:
    tidy = " ".join(text.split())
    return tidy if len(tidy) <= _QUOTED_CHARACTERS else tidy[:_QUOTED_CHARACTERS].rsplit(" ", 1)[0] + " and so on"
