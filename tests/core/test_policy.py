"""Policies: what a client's setup may hold, what is enforced on it, and what is said about the rest."""

from typing import Any

import pytest

from relay.core.policy import Behaviour, Messages, Models, Policy, SetupRules, SetupRuling
from relay.core.refusals import Refusal, Rule

MODEL = "models/gemini-3.8-live"
MODELS = Models(
    MODEL,
    frozenset({"models/gemini-2.5-flash", "publishers/google/models/x"}),
    {"fast": "models/gemini-2.5-flash", "secret": "models/not-allowed"},
)


def unseal(handle: str, model: str) -> str | None:
    """Opens what looks like `ours:<model>:<handle>`."""
    prefix = f"ours:{model}:"
    return handle.removeprefix(prefix) if handle.startswith(prefix) else None


def policy(
    allow: tuple[str, ...] = (), *, models: Models = MODELS, messages: Messages | None = None, **rules: Any
) -> Policy:
    """A policy with these setup rules."""
    return Policy(
        "test",
        models,
        setup=SetupRules(allow=frozenset(allow), **rules),
        messages=messages or Messages(),
        behaviour=Behaviour(),
    )


def ruled(under: Policy, **body: Any) -> SetupRuling:
    """What a policy makes of a setup."""
    return under.setup(body, unseal)


def paths(ruling: SetupRuling) -> list[str]:
    """What a ruling complains about."""
    return [violation.path for violation in ruling.violations]


# Models --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, MODEL),
        ({"model": ""}, MODEL),
        ({"model": MODEL}, MODEL),
        ({"model": "gemini-3.8-live"}, MODEL),
        ({"model": "models/gemini-2.5-flash"}, "models/gemini-2.5-flash"),
        ({"model": "gemini-2.5-flash"}, "models/gemini-2.5-flash"),
        ({"model": "fast"}, "models/gemini-2.5-flash"),
        ({"model": "models/fast"}, "models/gemini-2.5-flash"),
        ({"model": "publishers/google/models/x"}, "publishers/google/models/x"),
    ],
)
def test_an_allowed_model_is_given_by_its_full_name(asked: dict[str, Any], given: str) -> None:
    """Short names, the operator's own names and silence all lead to a full name."""
    ruling = ruled(policy(), **asked)
    assert (ruling.body, ruling.violations) == ({"model": given}, [])


@pytest.mark.threat("C4")
@pytest.mark.parametrize(
    "asked",
    ["models/other", "other", "secret", "x/fast", "models/models/gemini-3.8-live", " " + MODEL, MODEL + "\x00", "*"],
)
def test_any_other_model_is_a_violation_and_the_default_is_used(asked: str) -> None:
    """What is not on the list is refused; where violations are dropped, the default model answers."""
    ruling = ruled(policy(("*",)), model=asked)
    assert ruling.body == {"model": MODEL}
    assert ruling.violations == [Refusal(Rule.MODEL, "setup.model", "is not a model this policy allows")]


def test_a_star_allows_every_model() -> None:
    """An operator may leave the choice to the client."""
    assert ruled(policy(models=Models(MODEL, frozenset({"*"}))), model="other").body == {"model": "models/other"}


@pytest.mark.threat("A1", "F2")
@pytest.mark.parametrize(
    "name",
    ["auth_tokens/abcdefghijklmnop", "a b", "models/x\n", "models/" + "x" * 101, "x/y/z", "models/é", "https://x/y"],
)
def test_a_star_is_for_names_of_models(name: str) -> None:
    """The name stands in usage records and in the ledger, where nothing else of a client's may get to."""
    assert len(ruled(policy(models=Models(MODEL, frozenset({"*"}))), model=name).violations) == 1


def test_a_star_does_not_reach_into_projects() -> None:
    """A name may hold the project that Vertex bills: such a name must stand in the list as it is."""
    name = "projects/acme/locations/eu/publishers/google/models/x"
    assert len(ruled(policy(models=Models(MODEL, frozenset({"*"}))), model=name).violations) == 1
    assert ruled(policy(models=Models(MODEL, frozenset({"*", name}))), model=name).body == {"model": name}


# allow and deny ------------------------------------------------------------------------------------------------------


@pytest.mark.threat("C4")
def test_nothing_is_allowed_by_default() -> None:
    """Every field a client sets without permission is named, and none of them is kept."""
    ruling = ruled(
        policy(),
        tools=[{"googleSearch": {}}],
        labels={"a": "b"},
        systemInstruction={},
        generationConfig={"seed": 1},
        historyConfig={"initialHistoryInClientContent": True},
    )
    assert ruling.body == {"model": MODEL}
    assert paths(ruling) == [
        "setup.tools",
        "setup.labels",
        "setup.systemInstruction",
        "setup.generationConfig",
        "setup.historyConfig",
    ]
    assert {violation.rule for violation in ruling.violations} == {Rule.SETUP_FIELD}
    assert ruling.violations[0].detail == "setup.tools may not be set by the client"


def test_what_sdks_send_by_habit_is_always_allowed() -> None:
    """An empty resumption, the voice detection's settings and empty lists are no violation anywhere."""
    config = {"automaticActivityDetection": {"disabled": True}}
    ruling = ruled(policy(), sessionResumption={}, realtimeInputConfig=config, tools=[])
    assert ruling.body == {"model": MODEL, "sessionResumption": {}, "realtimeInputConfig": config}
    assert ruling.violations == []
    assert ruling.wants_resumption


def test_a_path_is_allowed_with_everything_below_it_and_nothing_beside_it() -> None:
    """Permissions reach down, not sideways and not up."""
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
    under = policy(("generationConfig.speechConfig.voiceConfig", "generationConfig.temperature"))
    ruling = ruled(
        under, generationConfig={"speechConfig": {**voice, "languageCode": "de"}, "temperature": 1, "topK": 1}
    )
    assert ruling.body == {"model": MODEL, "generationConfig": {"speechConfig": voice, "temperature": 1}}
    assert paths(ruling) == ["setup.generationConfig.speechConfig.languageCode", "setup.generationConfig.topK"]


def test_an_object_of_which_nothing_is_left_is_left_out() -> None:
    """A field's mere presence may switch something on, so a client that may not set it can't even send it empty."""
    ruling = ruled(policy(("proactivity.proactiveVideo",)), proactivity={"proactiveAudio": True})
    assert ruling.body == {"model": MODEL}


def test_an_empty_object_is_kept_where_something_below_it_is_allowed() -> None:
    """`outputAudioTranscription: {}` switches transcription on; who may configure it may do that."""
    ruling = ruled(policy(("outputAudioTranscription.languageCodes",)), outputAudioTranscription={})
    assert ruling.body == {"model": MODEL, "outputAudioTranscription": {}}
    assert paths(ruled(policy(), outputAudioTranscription={})) == ["setup.outputAudioTranscription"]


@pytest.mark.parametrize("allow", [("a.b.c", "a"), ("a", "a.b.c"), ("a.b", "a", "a.b.c")], ids=str)
def test_the_wider_of_two_permissions_counts(allow: tuple[str, ...]) -> None:
    """A narrower path beside a wider one takes nothing away."""
    assert ruled(policy(allow), a={"b": {"d": 1}, "e": 2}).violations == []


def test_list_elements_are_judged_one_by_one() -> None:
    """A client may bring functions of its own and still not switch on Google's search."""
    functions = {"functionDeclarations": [{"name": "f"}]}
    under = policy(("tools.functionDeclarations",))
    ruling = ruled(under, tools=[functions, {"googleSearch": {}}, {**functions, "codeExecution": {}}])
    assert ruling.body == {"model": MODEL, "tools": [functions, functions]}
    assert paths(ruling) == ["setup.tools.googleSearch", "setup.tools.codeExecution"]


def test_denied_wins_over_allowed() -> None:
    """What is denied is a violation although a wider path, or everything, is allowed."""
    body: dict[str, Any] = {
        "labels": {"a": "b"},
        "tools": [{"googleSearch": {}}, {"codeExecution": {}}],
        "generationConfig": {"seed": 1, "topK": 2},
    }
    under = policy(("*", "generationConfig"), deny=frozenset({"labels", "tools.googleSearch", "generationConfig.seed"}))
    ruling = ruled(under, **body)
    assert ruling.body == {"model": MODEL, "tools": [{"codeExecution": {}}], "generationConfig": {"topK": 2}}
    assert paths(ruling) == ["setup.labels", "setup.tools.googleSearch", "setup.generationConfig.seed"]


@pytest.mark.parametrize("deny", [{"*"}, {"*", "tools.googleSearch"}], ids=lambda names: " ".join(sorted(names)))
def test_everything_can_be_denied(deny: set[str]) -> None:
    """`deny: ["*"]` leaves nothing of a client's setup."""
    ruling = ruled(policy(("*",), deny=frozenset(deny)), labels={}, tools=[{"codeExecution": {}}], sessionResumption={})
    assert (ruling.body, len(ruling.violations)) == ({"model": MODEL}, 3)


@pytest.mark.threat("C4")
def test_everything_does_not_include_transparent_or_history() -> None:
    """`transparent` changes what Gemini counts, history speaks for the model: both have to be named."""
    body: dict[str, Any] = {
        "sessionResumption": {"transparent": True},
        "historyConfig": {"initialHistoryInClientContent": True},
    }
    assert paths(ruled(policy(("*",)), **body)) == [
        "setup.sessionResumption.transparent",
        "setup.historyConfig",
    ]
    named = policy(("*", "sessionResumption.transparent", "historyConfig"))
    assert ruled(named, **body).body == {"model": MODEL, **body}
    assert ruled(policy(messages=Messages(history=True)), historyConfig=body["historyConfig"]).violations == []


# enforce and defaults ------------------------------------------------------------------------------------------------

ENFORCED = {
    "generationConfig": {"responseModalities": ["AUDIO"], "speechConfig": {"languageCode": "de"}},
    "tools": [{"googleSearch": {}}],
}


def test_what_is_enforced_wins_at_any_depth_and_leaves_the_rest() -> None:
    """Objects merge, lists and values are replaced, and a client's own fields stay beside them."""
    asked = {"responseModalities": ["TEXT"], "speechConfig": {"languageCode": "en", "voiceConfig": {"voice": "v"}}}
    ruling = ruled(
        policy(("generationConfig", "tools"), enforce=ENFORCED), generationConfig=asked, tools=[{"codeExecution": {}}]
    )
    assert ruling.violations == []
    assert ruling.body == {
        "model": MODEL,
        "generationConfig": {
            "responseModalities": ["AUDIO"],
            "speechConfig": {"languageCode": "de", "voiceConfig": {"voice": "v"}},
        },
        "tools": [{"googleSearch": {}}],
    }


def test_asking_for_what_is_enforced_is_no_violation() -> None:
    """A client that sends the operator's own value, whole or in part, asks for nothing."""
    parts: list[dict[str, Any]] = [
        {"generationConfig": {"responseModalities": ["AUDIO"]}},
        {"generationConfig": {}},
    ]
    for asked in (ENFORCED, *parts):
        ruling = ruled(policy(enforce=ENFORCED), **asked)
        assert (ruling.body, ruling.violations) == ({"model": MODEL, **ENFORCED}, [])


def test_asking_for_something_else_is_a_violation_that_names_the_field() -> None:
    """Only the field that differs is named."""
    asked = {"responseModalities": ["AUDIO"], "speechConfig": {"languageCode": "en"}, "seed": 1}
    ruling = ruled(policy(enforce=ENFORCED), generationConfig=asked, tools=[{"codeExecution": {}}])
    assert ruling.body == {"model": MODEL, **ENFORCED}
    assert paths(ruling) == [
        "setup.generationConfig.speechConfig.languageCode",
        "setup.generationConfig.seed",
        "setup.tools",
    ]


def test_defaults_fill_only_what_is_silent() -> None:
    """A client that may set a field replaces its default, and keeps the defaults beside it."""
    defaults = {"generationConfig": {"temperature": 0.5, "seed": 7}, "tools": [{"googleSearch": {}}]}
    under = policy(("generationConfig.temperature", "tools"), defaults=defaults)
    assert ruled(under).body == {"model": MODEL, **defaults}
    assert ruled(under, generationConfig={"temperature": 1.0}).body["generationConfig"] == {
        "temperature": 1.0,
        "seed": 7,
    }
    assert ruled(under, tools=[]).body["tools"] == []


def test_enforced_wins_over_defaults() -> None:
    """What is both is as enforced."""
    under = policy(defaults={"generationConfig": {"seed": 1, "topK": 1}}, enforce={"generationConfig": {"seed": 2}})
    assert ruled(under).body == {"model": MODEL, "generationConfig": {"seed": 2, "topK": 1}}


@pytest.mark.parametrize(
    ("allow", "asked"),
    [((), []), (("tools.codeExecution",), [{"googleMaps": {}}])],
    ids=["not allowed", "nothing allowed in it"],
)
def test_a_default_list_can_not_be_cleared_without_permission(allow: tuple[str, ...], asked: list[Any]) -> None:
    """A list that had to go is as if it had not been sent: the operator's default stands."""
    defaults: dict[str, Any] = {"tools": [{"googleSearch": {}}]}
    assert ruled(policy(allow, defaults=defaults), tools=asked).body == {"model": MODEL, **defaults}


def test_a_ruling_leaves_the_policy_and_the_client_s_setup_as_they_were() -> None:
    """A policy is shared by sessions: no ruling may change what the next one is measured by."""
    under = policy(("generationConfig",), enforce=ENFORCED, defaults={"generationConfig": {"seed": 1}})
    first = ruled(under, generationConfig={"topK": 1})
    asked = {"generationConfig": {"topK": 2}, "labels": {"a": "b"}}
    ruled(under, **asked)
    assert asked == {"generationConfig": {"topK": 2}, "labels": {"a": "b"}}
    assert ruled(under, generationConfig={"topK": 1}) == first


# Resumption handles --------------------------------------------------------------------------------------------------


def test_a_handle_of_ours_is_opened() -> None:
    """Gemini gets its own handle back."""
    ruling = ruled(policy(), sessionResumption={"handle": f"ours:{MODEL}:h1"})
    assert ruling.body["sessionResumption"] == {"handle": "h1"}
    assert ruling.violations == []


@pytest.mark.threat("C4")
@pytest.mark.parametrize("handle", ["stolen", "ours:models/gemini-2.5-flash:h1", f"ours:{MODEL}", " "])
def test_any_other_handle_is_a_violation_and_the_session_begins_afresh(handle: str) -> None:
    """A handle of another model, tenant or relay is never passed on; neither is it quoted."""
    ruling = ruled(policy(("*",)), sessionResumption={"handle": handle})
    assert ruling.body == {"model": MODEL, "sessionResumption": {}}
    assert ruling.wants_resumption
    assert ruling.violations == [
        Refusal(Rule.HANDLE, "setup.sessionResumption.handle", "was not given out by this relay, or has expired")
    ]


def test_a_handle_counts_for_the_model_that_is_really_used() -> None:
    """The model is decided first, aliases included."""
    ruling = ruled(policy(), model="fast", sessionResumption={"handle": "ours:models/gemini-2.5-flash:h2"})
    assert ruling.body["sessionResumption"] == {"handle": "h2"}


def test_an_empty_handle_asks_for_a_new_session() -> None:
    """SDKs send an empty handle to begin with."""
    assert ruled(policy(), sessionResumption={"handle": ""}).body["sessionResumption"] == {}


def test_resumption_can_be_denied() -> None:
    """Where it is denied, the client neither resumes nor is told handles."""
    ruling = ruled(policy(deny=frozenset({"sessionResumption"})), sessionResumption={})
    assert (ruling.body, ruling.wants_resumption, len(ruling.violations)) == ({"model": MODEL}, False, 1)
