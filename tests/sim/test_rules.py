"""What a well-formed setup is refused for, in Google's order and words."""

from typing import Any

import pytest

from relay.sim import rejections
from relay.sim.families import Backend, family_of, models_of
from relay.sim.profile import Profile
from relay.sim.rejections import Rejection
from relay.sim.rules import Caller, Settings, settle
from tests.sim.playing import CASCADE, V25, V31, V38, caller, settled


def refused(setup: dict[str, Any], backend: Backend = Backend.DEV) -> Rejection:
    """The close a setup earns."""
    rejection = settle(setup, caller(backend), Profile())
    assert isinstance(rejection, Rejection), rejection
    return rejection


@pytest.mark.parametrize("model", models_of(Backend.DEV))
def test_every_known_model_of_the_developer_api_is_served(model: str) -> None:
    """The models of the fact sheet are there."""
    assert settled({"model": f"models/{model}"}).backend is Backend.DEV


@pytest.mark.parametrize("model", models_of(Backend.VERTEX))
def test_every_known_model_of_vertex_is_served(model: str) -> None:
    """Vertex names its models by a long path, and in express mode by a short one."""
    for prefix in ("projects/p/locations/l/", ""):
        assert settled({"model": f"{prefix}publishers/google/models/{model}"}, Backend.VERTEX)


def test_an_unknown_model_is_refused_in_googles_words() -> None:
    """1008, naming the model and the API version."""
    rejection = refused({"model": "models/gpt"})

    assert rejection.code == 1008
    assert rejection.reason.startswith("models/gpt is not found for API version v1beta, or is not supported for")


def test_the_backends_do_not_serve_each_others_names() -> None:
    """A Vertex name on the Developer API is unknown, and the other way round."""
    assert refused({"model": CASCADE}).code == 1008
    assert refused({"model": V38}, Backend.VERTEX).reason.startswith("Publisher Model")


def test_more_models_can_be_served() -> None:
    """The `models` knob adds ids with the manners of gemini-3.8-live."""
    settings = settled({"model": "models/mine"}, profile=Profile(models=("mine",)))

    assert settings.manner.family is family_of(V38, Backend.DEV)


def test_the_key_is_checked_before_the_model() -> None:
    """A refused key is the first thing Google complains of, after the setup."""
    rejection = settle({"model": "models/none"}, caller(Backend.DEV, "bad"), Profile(refused_keys=("bad",)))

    assert rejection == rejections.BAD_KEY
    assert rejection.reason == "API key not valid. Please pass a valid API key."


def test_only_accepted_keys_are_accepted_if_there_are_any() -> None:
    """With `accepted_keys`, every other key is not valid."""
    profile = Profile(accepted_keys=("good",))

    assert isinstance(settle({"model": V38}, caller(Backend.DEV, "good"), profile), Settings)
    assert settle({"model": V38}, caller(Backend.DEV, "other"), profile) == rejections.BAD_KEY
    assert settle({"model": V38}, caller(Backend.DEV, "good", "other"), profile) == rejections.BAD_KEY


def test_no_key_at_all_is_refused_unless_switched_off() -> None:
    """A caller without identity gets 1008, or nothing with `key_required` off."""
    nobody = Caller(1, Backend.DEV, "v1", ())
    rejection = settle({"model": V38}, nobody, Profile())

    assert isinstance(rejection, Rejection)
    assert rejection.reason.startswith("Method doesn't allow unregistered callers")
    assert isinstance(settle({"model": V38}, nobody, Profile(key_required=False)), Settings)


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        ({"generationConfig": {"responseModalities": ["TEXT"]}}, "Text output is not supported"),
        ({"generationConfig": {"responseModalities": ["AUDIO", "TEXT"]}}, "Request contains an invalid argument."),
        ({"generationConfig": {"responseModalities": ["VIDEO"]}}, "Request contains an invalid argument."),
        (
            {"generationConfig": {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Bob"}}}}},
            "No matching speaker voice found for name: Bob",
        ),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}, "Request contains an invalid argument."),
        ({"generationConfig": {"enableAffectiveDialog": True}}, "Request contains an invalid argument."),
        ({"generationConfig": {"responseMimeType": "text/plain"}}, "Request contains an invalid argument."),
        ({"proactivity": {"proactiveAudio": False}}, "Request contains an invalid argument."),
        ({"avatarConfig": {"avatarName": "x"}}, "Request contains an invalid argument."),
        (
            {"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]},
            "Request contains an invalid argument.",
        ),
        ({"sessionResumption": {"handle": "h", "transparent": True}}, "Request contains an invalid argument."),
    ],
)
def test_what_gemini_3_8_refuses(setup: dict[str, Any], reason: str) -> None:
    """Features the model does not have close with 1007."""
    rejection = refused({"model": V38, **setup})

    assert rejection.code == 1007
    assert rejection.reason.startswith(reason)


def test_what_older_models_take_and_newer_ones_do_not() -> None:
    """2.5 takes affective dialogue and proactivity, 3.1 thinking levels but no asynchronous functions."""
    assert settled({"model": V25, "generationConfig": {"enableAffectiveDialog": True}})
    assert settled({"model": V25, "proactivity": {"proactiveAudio": True}})
    assert settled({"model": V31, "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}})
    asynchronous = [{"functionDeclarations": [{"name": "f", "behavior": "NON_BLOCKING"}]}]
    assert refused({"model": V31, "tools": asynchronous}) == rejections.BAD_ARGUMENT
    assert settled({"model": V25, "tools": asynchronous})


def test_text_is_for_the_half_cascade_and_has_no_voice() -> None:
    """Half-cascade models answer in text, but then not with a voice."""
    text = {"responseModalities": ["TEXT"]}

    assert not settled({"model": CASCADE, "generationConfig": text}, Backend.VERTEX).manner.audio
    voiced = {**text, "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}}
    reason = refused({"model": CASCADE, "generationConfig": voiced}, Backend.VERTEX).reason
    assert reason == "Cannot extract voices from a non-audio request."


def test_settings_follow_the_setup() -> None:
    """Voice, transcripts, activity detection, compression and resumption are taken over."""
    settings = settled(
        {
            "model": V38,
            "generationConfig": {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "kore"}}}},
            "systemInstruction": {"parts": [{"text": "be brief"}]},
            "inputAudioTranscription": {},
            "outputAudioTranscription": {},
            "realtimeInputConfig": {
                "automaticActivityDetection": {"disabled": True, "silenceDurationMs": 700},
                "activityHandling": "NO_INTERRUPTION",
            },
            "contextWindowCompression": {"triggerTokens": 1000, "slidingWindow": {}},
            "sessionResumption": {},
            "historyConfig": {"initialHistoryInClientContent": True},
        }
    )

    assert settings.manner.voice == "Kore"
    assert settings.manner.transcript
    assert settings.hears
    assert not settings.automatic
    assert not settings.interruptible
    assert settings.sensitivity.silence_s == 0.7
    assert (settings.trigger_tokens, settings.target_tokens) == (1000, 500)
    assert settings.resumption
    assert settings.seeds_history
    assert settings.instruction.startswith("be brief")


def test_transparent_is_for_vertex() -> None:
    """The Developer API takes `transparent` on a first connection and ignores it."""
    wanted = {"sessionResumption": {"transparent": True}}

    assert not settled({"model": V38, **wanted}).transparent
    assert settled({"model": CASCADE, **wanted}, Backend.VERTEX).transparent
