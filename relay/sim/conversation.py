"""What the simulated model remembers of a session: immutable, so that a handle can stand for a moment of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

AUDIO_TOKENS_PER_S = 25
IMAGE_TOKENS = 258


def text_tokens(text: str) -> int:
    """A rough count: four characters to a token, as the rule of thumb says."""
    return math.ceil(len(text) / 4)


def audio_tokens(seconds: float) -> int:
    """Tokens of so many seconds of audio, in or out."""
    return math.ceil(seconds * AUDIO_TOKENS_PER_S)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One thing said, by the user, the model, a tool or the system."""

    role: str
    text: str
    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All its tokens."""
        return self.text_tokens + self.audio_tokens + self.image_tokens


@dataclass(frozen=True, slots=True)
class Call:
    """A function the model called and has no answer for yet."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    blocking: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """The state behind a handle, but for the ledger of consumed messages that stands beside it."""

    model: str
    utterances: tuple[Utterance, ...] = ()
    turns: int = 0
    """Answers begun so far."""
    calls: tuple[Call, ...] = ()
    seeded: bool = False
    """The initial history of `historyConfig` is complete."""

    def say(self, utterance: Utterance) -> "Conversation":
        """The conversation with one more utterance."""
        return replace(self, utterances=(*self.utterances, utterance))

    @property
    def tokens(self) -> int:
        """Tokens of everything remembered."""
        return sum(utterance.tokens for utterance in self.utterances)

    def compressed(self, target_tokens: int) -> "Conversation":
        """The conversation without its oldest utterances, so that at most `target_tokens` remain."""
        kept, tokens = list(self.utterances), self.tokens
        while kept and tokens > target_tokens:
            tokens -= kept.pop(0).tokens
        return replace(self, utterances=tuple(kept))

    def heard_before(self) -> list[str]:
        """What the user said so far, oldest first."""
        return [entry.text for entry in self.utterances if entry.role == "user" and entry.text]
