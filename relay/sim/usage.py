"""Token counts as the real service reports them, oddities included.

The whole context is counted again with every turn; details need not sum to the count; thoughts stand outside the
total; Vertex uses other names.
"""

from dataclasses import dataclass
from typing import Any

from relay.sim.conversation import Conversation, text_tokens
from relay.sim.encoding import without_defaults
from relay.sim.families import Backend, Family


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the model produced in a turn, in tokens."""

    text_tokens: int = 0
    audio_tokens: int = 0


def usage_metadata(
    conversation: Conversation, instruction: str, spoken: Spoken, family: Family, backend: Backend
) -> dict[str, Any]:
    """The usageMetadata of one finished turn; `instruction` is the text that stands before the conversation."""
    utterances = conversation.utterances
    prompt = {
        "TEXT": text_tokens(instruction) + sum(entry.text_tokens for entry in utterances),
        "AUDIO": sum(entry.audio_tokens for entry in utterances),
        "IMAGE": sum(entry.image_tokens for entry in utterances),
    }
    response = {"TEXT": spoken.text_tokens, "AUDIO": spoken.audio_tokens}
    prompt_count = sum(prompt.values()) + family.detail_gap_tokens
    response_count = sum(response.values()) + family.response_gap_tokens
    vertex = backend is Backend.VERTEX
    answer = "candidates" if vertex else "response"
    return without_defaults(
        {
            "promptTokenCount": prompt_count,
            f"{answer}TokenCount": response_count,
            "totalTokenCount": prompt_count + response_count,
            "promptTokensDetails": _details(prompt),
            f"{answer}TokensDetails": _details(response),
            "thoughtsTokenCount": family.thoughts_tokens,
            "trafficType": "ON_DEMAND" if vertex else "",
        }
    )


def _details(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [{"modality": name, "tokenCount": count} for name, count in counts.items() if count]
