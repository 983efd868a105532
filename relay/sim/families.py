"""The models that can be talked to, and how each family of them behaves on the wire.

What is known comes from recordings of the real models (2026); where nothing was recorded the words say "assumed".
"""

from dataclasses import dataclass, replace
from enum import Enum


class Backend(Enum):
    """Which of Google's two services answers."""

    DEV = "dev"
    """The Gemini Developer API."""
    VERTEX = "vertex"
    """The Gemini Enterprise Agent Platform, formerly Vertex AI."""


class CallId(Enum):
    """How the ids of tool calls look."""

    FUNCTION_CALL = "function-call-{}"
    FC = "fc_{}"
    UUID = "uuid"


@dataclass(frozen=True, slots=True)
class Family:
    """The manners of one family of models."""

    name: str
    chunks_ms: tuple[int, ...]
    """Durations of successive audio chunks, repeated; one audio token is 40 ms."""
    call_id: CallId
    native_audio: bool = True
    """Speaks, and refuses TEXT as its response modality."""
    opens_empty: bool = False
    """Starts a turn with an empty serverContent."""
    joint: bool = False
    """Audio and its transcript share a frame."""
    transcript_first: bool = False
    """The whole transcript, framed by an empty and a `finished` piece, precedes the audio."""
    thought_parts: bool = False
    """Sends its thoughts as text parts by default."""
    thoughts_tokens: int = 0
    """Tokens of thought per turn, which stand beside the total."""
    unasked_handle: bool = False
    """Sends a handle although the setup did not ask for resumption."""
    opaque_handles: bool = False
    media_chunks: bool = True
    """Still takes the deprecated realtimeInput.mediaChunks."""
    async_tools: bool = True
    """Knows NON_BLOCKING functions."""
    async_by_default: bool = False
    splits_tool_turn: bool = False
    """Ends the calling turn after the tool response and answers in a second turn."""
    thinking_level: bool = False
    """Takes thinkingConfig.thinkingLevel (others take thinkingBudget)."""
    affective: bool = False
    """Takes enableAffectiveDialog and proactivity."""
    proactive_always: bool = False
    """Proactive audio can't be switched off."""
    interaction_status: bool = False
    """Sends interactionStatus with turnComplete."""
    role: bool = False
    """Writes `role: model` into modelTurn."""
    rate_in_mime: bool = True
    detail_gap_tokens: int = 0
    """Prompt tokens that appear in the count and in no detail, per turn."""
    response_gap_tokens: int = 0
    """The same of the response."""
    two_parts: bool = False
    """Puts two audio parts into one frame now and then."""


_V25 = Family(
    "2.5-native-audio",
    (40, 80, 80, 80),
    CallId.FUNCTION_CALL,
    thought_parts=True,
    thoughts_tokens=24,
    opaque_handles=True,
    affective=True,
)
_V31 = Family(
    "3.1",
    (200, 200, 160, 200),
    CallId.FC,
    opens_empty=True,
    joint=True,
    unasked_handle=True,
    media_chunks=False,
    async_tools=False,
    thinking_level=True,
    detail_gap_tokens=122,
    response_gap_tokens=12,
    two_parts=True,
)
# Chunk size and id style of 3.8 were not recorded: assumed.
_V38 = Family(
    "3.8",
    (160,),
    CallId.FC,
    opens_empty=True,
    joint=True,
    media_chunks=False,
    async_by_default=True,
    thoughts_tokens=17,
    proactive_always=True,
    detail_gap_tokens=25,
)
_V38_THINKING = replace(_V38, name="3.8-extended-thinking", interaction_status=True, thoughts_tokens=136)
_VERTEX_NATIVE = replace(_V25, name="2.5-native-audio-vertex", role=True, call_id=CallId.UUID)
_VERTEX_CASCADE = Family(
    "2.5-half-cascade",
    (200, 200, 160),
    CallId.UUID,
    native_audio=False,
    transcript_first=True,
    splits_tool_turn=True,
    role=True,
    rate_in_mime=False,
    opaque_handles=True,
)

_MODELS: dict[Backend, dict[str, Family]] = {
    Backend.DEV: {
        "gemini-3.8-live": _V38,
        "gemini-3.8-live-extended-thinking": _V38_THINKING,
        "gemini-3.1-flash-live-preview": _V31,
        "gemini-2.5-flash-native-audio-preview-12-2025": _V25,
        "gemini-2.5-flash-native-audio-preview-09-2025": _V25,
        "gemini-2.5-flash-native-audio-latest": _V25,
    },
    Backend.VERTEX: {
        "gemini-3.8-live": replace(_V38, role=True, call_id=CallId.UUID),
        "gemini-live-2.5-flash-native-audio": _VERTEX_NATIVE,
        "gemini-live-2.5-flash": _VERTEX_CASCADE,
    },
}


def family_of(model: str, backend: Backend, more: tuple[str, ...] = ()) -> Family | None:
    """The family of a model name as setup writes it; None when this backend does not serve it.

    `more` are additional ids, served with the manners of gemini-3.8-live.
    """
    prefix = "models/" if backend is Backend.DEV else "publishers/google/models/"
    if backend is Backend.VERTEX and prefix in model:
        identifier = model.split(prefix, 1)[1]
    elif backend is Backend.DEV and model.startswith(prefix):
        identifier = model.removeprefix(prefix)
    else:
        return None
    known = _MODELS[backend]
    return known.get(identifier) or (known["gemini-3.8-live"] if identifier in more else None)


def models_of(backend: Backend) -> tuple[str, ...]:
    """The ids of the models a backend serves."""
    return tuple(_MODELS[backend])
