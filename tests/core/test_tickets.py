"""What a ticket fixes of a setup, by Google's rules, and that it never widens a policy."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.client_frames import ClientFrame
from relay.core.policy import Behaviour, Conversation, Messages, Models, Policy, SetupRules
from relay.core.refusals import Refusal
from relay.core.tickets import Allotment, Constraint, Grant, constraint_of

SETUP = {"systemInstruction": {"parts": [{"text": "Be a tutor."}]}, "generationConfig": {"temperature": 0.5}}


def _constraint(setup: Any, mask: str = "") -> Constraint:
    made = constraint_of(setup, mask)
    assert isinstance(made, Constraint)
    return made


def test_neither_setup_nor_mask_fixes_nothing() -> None:
    """Google: the connection's setup is used."""
    assert constraint_of(None, "") is None


def test_a_setup_without_a_mask_replaces_everything_but_the_way_back() -> None:
    """Google: the client's setup is silently ignored; a resumption handle stays, or nobody could come back."""
    asked = {"tools": [{}], "generationConfig": {"temperature": 2}, "sessionResumption": {"handle": "h"}}
    assert _constraint(SETUP).imposed(asked) == {**SETUP, "sessionResumption": {"handle": "h"}}


@pytest.mark.parametrize(
    ("mask", "asked", "expected"),
    [
        ("generationConfig.temperature", {}, {"generationConfig": {"temperature": 0.5}}),
        (
            "generation_config.temperature",
            {"generationConfig": {"temperature": 2, "topK": 3}},
            {"generationConfig": {"temperature": 0.5, "topK": 3}},
        ),
        ("generationConfig.topK", {"generationConfig": {"topK": 3}}, {"generationConfig": {}}),
        ("outputAudioTranscription", {"outputAudioTranscription": {}, "tools": []}, {"tools": []}),
        (
            "systemInstruction",
            {"systemInstruction": {"parts": [{"text": "x"}]}},
            {"systemInstruction": SETUP["systemInstruction"]},
        ),
    ],
)
def test_a_mask_overwrites_its_fields_only(mask: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    """A masked field comes from the ticket, or is left out if the ticket lacks it; all others are the client's."""
    assert _constraint(SETUP, mask).imposed(asked) == expected


@pytest.mark.parametrize(
    ("setup", "mask", "path"),
    [
        ({"nope": 1}, "", "bidiGenerateContentSetup.nope"),
        ([], "", "bidiGenerateContentSetup"),
        ({"systemInstruction": {}, "system_instruction": {}}, "", "bidiGenerateContentSetup.systemInstruction"),
        (None, "nope", "fieldMask"),
        ({}, "tools.googleSearch", "fieldMask"),
    ],
)
def test_what_is_no_setup_or_mask_is_refused_by_name(setup: Any, mask: str, path: str) -> None:
    """The refusal names where it is wrong."""
    refused = constraint_of(setup, mask)
    assert isinstance(refused, Refusal)
    assert refused.path == path


def _policy(**rules: Any) -> Policy:
    return Policy(
        "p",
        Models("models/m", frozenset()),
        setup=SetupRules(**rules),
        messages=Messages(context_update=True),
        behaviour=Behaviour(),
    )


FIELDS = st.sampled_from(
    ["systemInstruction", "outputAudioTranscription", "generationConfig", "contextWindowCompression", "tools"]
)
BODIES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(FIELDS, st.just({}), max_size=4)


@given(BODIES, BODIES, st.lists(FIELDS, max_size=3), st.sets(FIELDS), BODIES)
def test_a_ticket_never_widens_its_policy(
    fixed: dict[str, Any], asked: dict[str, Any], mask: list[str], allow: set[str], enforce: dict[str, Any]
) -> None:
    """Whatever a ticket fixes: nothing reaches Gemini that the policy neither allows nor enforces."""
    policy = _policy(allow=frozenset(allow), enforce=enforce).under(Constraint(fixed, tuple(mask)))
    body = policy.setup(asked, lambda _handle, _model: None).body
    assert body.keys() <= {"model"} | allow | enforce.keys()
    assert {name: body[name] for name in enforce} == enforce


def test_what_a_ticket_fixes_cannot_be_changed_later() -> None:
    """A `contextUpdate` would replace the instructions that the ticket fixed."""
    policy = _policy(allow=frozenset({"*"})).under(_constraint(SETUP, "systemInstruction"))
    frame = ClientFrame("contextUpdate", {"systemInstruction": {"parts": [{"text": "x"}]}})
    assert [refusal.path for refusal in policy.check(frame, Conversation())] == ["contextUpdate.systemInstruction"]
    assert frame.body == {}


@pytest.mark.threat("E1")
@pytest.mark.parametrize(
    ("limits", "used", "expected"),
    [
        (Allotment(), Allotment(9e9, 9, 9), None),
        (Allotment(seconds=60), Allotment(59.9, 0, 0), None),
        (Allotment(seconds=60), Allotment(60.0, 0, 0), "seconds"),
        (Allotment(tokens=5, nanos=7), Allotment(1.0, 5, 0), "tokens"),
        (Allotment(nanos=7), Allotment(1.0, 5, 8), "money"),
    ],
)
def test_an_allotment_is_spent_at_its_limit(limits: Allotment, used: Allotment, expected: str | None) -> None:
    """The first limit that is reached is named."""
    assert limits.spent(used) == expected
    for ticket, words in ((True, "ticket"), (False, "token")):
        shown = Grant("a", ticket, 0.0, 1.0, allotment=limits).spent(used)
        assert shown == (expected and f"{expected} of this {words}")


@pytest.mark.threat("E6")
def test_handles_belong_to_the_end_user_or_else_to_the_ticket() -> None:
    """An end user may come back with a newer ticket; without one, only the same ticket leads back."""
    assert Grant("a", True, 0.0, 1.0, "eva").subject == Grant("b", True, 0.0, 1.0, "eva").subject
    assert Grant("a", True, 0.0, 1.0).subject != Grant("b", True, 0.0, 1.0).subject


@pytest.mark.threat("B8")
def test_a_grant_is_revoked_by_its_own_marks_only() -> None:
    """Tenant, ticket, end user: each with the tenant's name in it."""
    grant = Grant("a1", True, 0.0, 1.0, "eva")
    assert grant.marks("acme") == ["tenant:acme", "ticket:acme:a1", "user:acme:eva"]
