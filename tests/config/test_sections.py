"""Policies in relay.yaml: their setups and paths are held to the schema when the file is read."""

from typing import Any

import pytest
from pydantic import ValidationError

from relay.app import policy_of
from relay.config import PolicyRule

MODEL = "models/gemini-3.8-live"


def rule(**fields: Any) -> PolicyRule:
    """A policy of the file."""
    return PolicyRule.model_validate({"model": MODEL, **fields})


def complaint(**fields: Any) -> str:
    """What is wrong with a policy of the file."""
    with pytest.raises(ValidationError) as raised:
        rule(**fields)
    (one,) = raised.value.errors()
    return one["msg"].removeprefix("Value error, ")


def ruled(written: PolicyRule, **setup: Any) -> dict[str, Any]:
    """What Gemini gets for a client's setup under a policy of the file."""
    return policy_of("test", written).setup(setup, lambda _handle, _model: None).body


def test_setups_and_paths_may_be_written_in_either_spelling() -> None:
    """An operator's snake_case and lower case mean what Google's reader would take them for."""
    written = rule(
        enforce={"generation_config": {"response_modalities": ["audio"], "topK": "3"}},
        allow=["generation_config.speech_config", "tools.function_declarations"],
        deny=["system_instruction"],
    )
    assert written.enforce == {"generationConfig": {"responseModalities": ["AUDIO"], "topK": 3}}
    assert written.allow == ["generationConfig.speechConfig", "tools.functionDeclarations"]
    assert written.deny == ["systemInstruction"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"enforce": {"generationConfig": {"topk": 1}}}, "generationConfig.topk is not a field of the Live API"),
        ({"defaults": {"tools": {}}}, "tools must be a list"),
        ({"enforce": {"model": "x"}}, "model has its own rules, it can't stand here"),
        ({"defaults": {"session_resumption": {}}}, "sessionResumption has its own rules, it can't stand here"),
        ({"enforce": {"labels": {1: "x"}}}, "holds something that JSON can't express"),
        ({"enforce": {"generationConfig": {"temperature": 2**70}}}, "holds something that JSON can't express"),
        (
            {"defaults": {"generationConfig": {"temperature": float("nan")}}},
            "generationConfig.temperature must be a finite number",
        ),
        ({"allow": ["generationConfig.topk"]}, '"generationConfig.topk" is not a field of setup'),
        ({"deny": ["tools.*"]}, '"tools.*" is not a field of setup'),
        ({"allow": ["labels.team"]}, '"labels.team" is not a field of setup'),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_could_never_work_is_refused(fields: dict[str, Any], words: str) -> None:
    """A misspelt field would protect nothing, so the file is not accepted."""
    assert complaint(**fields) == words


def test_a_rule_of_the_file_becomes_a_policy() -> None:
    """Models, what is enforced and what is allowed arrive in the core as they were written."""
    written = rule(
        model={"default": "gemini-3.8-live", "allow": ["gemini-x"], "aliases": {"fast": "gemini-x"}},
        enforce={"generationConfig": {"topK": 3}},
        allow=["generationConfig.temperature"],
    )
    assert ruled(written) == {"model": MODEL, "generationConfig": {"topK": 3}}
    assert ruled(written, model="fast", generationConfig={"temperature": 1, "seed": 1}) == {
        "model": "models/gemini-x",
        "generationConfig": {"topK": 3, "temperature": 1},
    }


def test_behaviour_and_messages_become_a_policy() -> None:
    """The words of the file switch what they say."""
    policy = policy_of(
        "test",
        rule(
            on_violation="strip",
            unknown_fields="pass",
            server_frames="text",
            messages={"video": True, "roles": ["user", "model"], "parts": ["*"]},
        ),
    )
    assert (policy.behaviour.strip, policy.behaviour.pass_unknown, policy.behaviour.server_text) == (True, True, True)
    assert (policy.messages.video, policy.messages.roles) == (True, frozenset({"user", "model"}))
    assert policy.messages.parts == frozenset({"*"})
