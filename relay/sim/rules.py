"""What Google refuses in a well-formed setup, and what a connection settles from it. Pure.

One function per concern, each answering with a `Rejection` or None; `settle` runs them in Google's order: the key
first, then the model, then the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.sim import rejections, speech, tools
from relay.sim.families import Backend, Family, family_of
from relay.sim.profile import Profile
from relay.sim.rejections import Rejection
from relay.sim.tools import Function
from relay.sim.turns import Manner
from relay.sim.vad import Sensitivity

_NO_KEY = Rejection(
    rejections.ABORTED,
    "Method doesn't allow unregistered callers (callers without established identity). "
    "Please use API Key or other form of API consumer identity to call this API.",
)
# Live refuses these although generateContent knows them.
_UNSUPPORTED_GENERATION = (
    "responseLogprobs", "responseMimeType", "logprobs", "responseSchema", "responseJsonSchema", "stopSequences",
    "routingConfig", "audioTimestamp",
)  # fmt: skip

Setup = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who connected, as far as the upgrade request tells."""

    connection: int
    backend: Backend
    version: str
    """The API version in the path."""
    credentials: tuple[str, ...]
    """Every credential the request carried."""
    shown: str = ""
    """The request's headers and query, where the profile echoes them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a connection goes by once its setup was accepted."""

    backend: Backend
    model: str
    manner: Manner
    functions: Mapping[str, Function]
    instruction: str
    """Text of the system instruction and the tools: what is billed with every turn."""
    sensitivity: Sensitivity
    automatic: bool
    """The server watches for speech itself."""
    interruptible: bool
    hears: bool
    """inputAudioTranscription is on."""
    signals: bool
    """explicitVadSignal is on."""
    resumption: bool
    """The client wants handles."""
    transparent: bool
    seeds_history: bool
    trigger_tokens: int
    """Compress beyond this many tokens; 0: never."""
    target_tokens: int
    raw: Setup = field(default_factory=dict)


def settle(setup: Setup, caller: Caller, profile: Profile) -> Settings | Rejection:
    """Check a setup in canonical form and settle how the connection behaves."""
    refused = _key(caller, profile)
    if refused:
        return refused
    model = setup.get("model", "")
    family = family_of(model, caller.backend, profile.models)
    if family is None:
        if caller.backend is Backend.VERTEX:
            return rejections.no_such_publisher_model(model)
        return rejections.no_such_model(model, caller.version)
    generation = setup.get("generationConfig", {})
    refused = (
        _modality(generation, family)
        or _voice(generation)
        or _manners(setup, generation, family)
        or _tools(setup, family)
        or _resumption(setup, caller)
    )
    return refused or _settings(setup, generation, family, profile, caller.backend)


def instruction_text(content: Mapping[str, Any]) -> str:
    """The text of a Content."""
    return "\n".join(part["text"] for part in content.get("parts", []) if "text" in part)


def _key(caller: Caller, profile: Profile) -> Rejection | None:
    if not caller.credentials:
        return _NO_KEY if profile.key_required else None
    if any(credential in profile.refused_keys for credential in caller.credentials):
        return rejections.BAD_KEY
    if profile.accepted_keys and not set(caller.credentials) <= set(profile.accepted_keys):
        return rejections.BAD_KEY
    return None


def _modality(generation: Setup, family: Family) -> Rejection | None:
    modalities = generation.get("responseModalities", [])
    if len(modalities) > 1 or not set(modalities) <= {"AUDIO", "TEXT"}:
        return rejections.BAD_ARGUMENT
    return rejections.TEXT_MODALITY if modalities == ["TEXT"] and family.native_audio else None


def _voice(generation: Setup) -> Rejection | None:
    name = _voice_name(generation)
    if name and speech.voice_named(name) is None:
        return rejections.no_such_voice(name)
    if name and generation.get("responseModalities") == ["TEXT"]:
        return rejections.invalid("Cannot extract voices from a non-audio request.")
    return None


def _voice_name(generation: Setup) -> str:
    voice = generation.get("speechConfig", {}).get("voiceConfig", {})
    return str(voice.get("prebuiltVoiceConfig", {}).get("voiceName", "") or voice.get("voice", ""))


def _manners(setup: Setup, generation: Setup, family: Family) -> Rejection | None:
    """Features that only some families have."""
    level = generation.get("thinkingConfig", {}).get("thinkingLevel")
    proactivity = setup.get("proactivity", {})
    bad = (
        any(name in generation for name in _UNSUPPORTED_GENERATION)
        or (level and not family.thinking_level)
        or (generation.get("enableAffectiveDialog") and not family.affective)
        or (proactivity.get("proactiveAudio") and not (family.affective or family.proactive_always))
        or (proactivity.get("proactiveAudio") is False and family.proactive_always)
        or "avatarConfig" in setup
    )
    return rejections.BAD_ARGUMENT if bad else None


def _tools(setup: Setup, family: Family) -> Rejection | None:
    names: list[str] = []
    for tool in setup.get("tools", []):
        for declaration in tool.get("functionDeclarations", []):
            names.append(declaration.get("name", ""))
            if declaration.get("behavior") == "NON_BLOCKING" and not family.async_tools:
                return rejections.BAD_ARGUMENT
    return rejections.BAD_ARGUMENT if len(set(names)) != len(names) or "" in names else None


def _resumption(setup: Setup, caller: Caller) -> Rejection | None:
    resumption = setup.get("sessionResumption", {})
    # Reported for the Developer API: a first connection with `transparent` works, coming back does not.
    if caller.backend is Backend.DEV and resumption.get("transparent") and resumption.get("handle"):
        return rejections.BAD_ARGUMENT
    return None


def _settings(setup: Setup, generation: Setup, family: Family, profile: Profile, backend: Backend) -> Settings:
    realtime = setup.get("realtimeInputConfig", {})
    detection = realtime.get("automaticActivityDetection", {})
    compression = setup.get("contextWindowCompression")
    trigger = target = 0
    if compression is not None:
        trigger = compression.get("triggerTokens") or profile.context_tokens * 4 // 5
        target = compression.get("slidingWindow", {}).get("targetTokens") or trigger // 2
    resumption = setup.get("sessionResumption")
    thinking = generation.get("thinkingConfig", {})
    manner = Manner(
        family,
        speech.voice_named(_voice_name(generation)) or speech.DEFAULT_VOICE,
        audio=generation.get("responseModalities") != ["TEXT"],
        transcript="outputAudioTranscription" in setup,
        thoughts=thinking.get("includeThoughts", True) and thinking.get("thinkingBudget", 1) != 0,
    )
    return Settings(
        backend=backend,
        model=setup["model"],
        manner=manner,
        functions=tools.declared(setup.get("tools", []), family),
        instruction=instruction_text(setup.get("systemInstruction", {})) + str(setup.get("tools", "")),
        sensitivity=_sensitivity(detection),
        automatic=not detection.get("disabled", False),
        interruptible=realtime.get("activityHandling") != "NO_INTERRUPTION",
        hears="inputAudioTranscription" in setup,
        signals=bool(setup.get("explicitVadSignal")),
        resumption=resumption is not None,
        transparent=bool(resumption and resumption.get("transparent")) and backend is Backend.VERTEX,
        seeds_history=bool(setup.get("historyConfig", {}).get("initialHistoryInClientContent")),
        trigger_tokens=trigger,
        target_tokens=target,
        raw=setup,
    )


def _sensitivity(detection: Setup) -> Sensitivity:
    """The numbers behind the sensitivities are ours; Google's are not published."""
    low_start = detection.get("startOfSpeechSensitivity") == "START_SENSITIVITY_LOW"
    low_end = detection.get("endOfSpeechSensitivity") == "END_SENSITIVITY_LOW"
    silence_s = detection.get("silenceDurationMs", 0) / 1000 or (0.8 if low_end else 0.5)
    return Sensitivity(1_000 if low_start else 400, 0.12 if low_start else 0.06, silence_s)
