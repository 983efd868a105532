"""Policies: what a client may send after its setup."""

from typing import Any

import orjson
import pytest

from relay.core.client_frames import ClientFrame
from relay.core.policy import MAX_REMEMBERED_CALLS, Behaviour, Conversation, Messages, Models, Policy, SetupRules
from relay.core.refusals import Refusal, Rule

AUDIO = {"mimeType": "audio/pcm", "data": "AAAA"}
TEXT = {"text": "hello"}
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def policy(messages: Messages | None = None, **rules: Any) -> Policy:
    """A policy with these rules for messages and setup."""
    return Policy(
        "test",
        Models("models/m", frozenset()),
        setup=SetupRules(**rules),
        messages=messages or Messages(),
        behaviour=Behaviour(),
    )


def judged(
    under: Policy, kind: str, body: dict[str, Any], conversation: Conversation | None = None
) -> tuple[dict[str, Any], list[Refusal]]:
    """What is left of a message, and what was wrong with it."""
    frame = ClientFrame(kind, orjson.loads(orjson.dumps(body)))  # as it comes: nothing in it is shared
    violations = under.check(frame, conversation or Conversation())
    return frame.body, violations


# realtimeInput -------------------------------------------------------------------------------------------------------

CONTROLS = {"audioStreamEnd": True, "activityStart": {}, "activityEnd": {}}


def test_a_voice_conversation_is_allowed_by_default() -> None:
    """Audio, its signals and typed text pass untouched, alone and together."""
    for body in ({"audio": AUDIO}, {"text": "x"}, CONTROLS, {"audio": AUDIO, "text": "x", **CONTROLS}):
        assert judged(policy(), "realtimeInput", body) == (body, [])


@pytest.mark.threat("C11")
@pytest.mark.parametrize(
    ("messages", "body", "left"),
    [
        (Messages(), {"video": IMAGE, "text": "x"}, {"text": "x"}),
        (Messages(text=False), {"text": "x", "audio": AUDIO}, {"audio": AUDIO}),
        (Messages(audio=False), {"audio": AUDIO, "text": "x", **CONTROLS}, {"text": "x"}),
        (Messages(), {"newerThanUs": 1}, {}),
    ],
    ids=["video", "text", "audio", "unknown"],
)
def test_kinds_of_input_can_be_forbidden(messages: Messages, body: dict[str, Any], left: dict[str, Any]) -> None:
    """What is forbidden is taken out, each field by its name, and the rest stays."""
    names = sorted(body.keys() - left.keys())
    found, violations = judged(policy(messages), "realtimeInput", body)
    assert found == left
    assert violations == [
        Refusal(Rule.MESSAGE_FIELD, f"realtimeInput.{name}", "may not be sent by the client") for name in names
    ]


def test_video_can_be_allowed() -> None:
    """An operator may open the camera's way."""
    assert judged(policy(Messages(video=True)), "realtimeInput", {"video": IMAGE}) == ({"video": IMAGE}, [])


# clientContent -------------------------------------------------------------------------------------------------------


def turn(role: str | None = "user", *parts: Any) -> dict[str, Any]:
    """A turn of a conversation."""
    return ({} if role is None else {"role": role}) | {"parts": list(parts or (TEXT,))}


@pytest.mark.parametrize("role", ["user", "", None])
def test_a_user_s_turn_is_allowed(role: str | None) -> None:
    """A turn without a role is the user's."""
    body = {"turns": [turn(role)], "turnComplete": True}
    assert judged(policy(), "clientContent", body) == (body, [])


@pytest.mark.threat("C4")
@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("model", 'may not be "model"'),
        ("system", 'may not be "system"'),
        ("System", "is not allowed"),
        ("user ", "is not allowed"),
        ("developer", "is not allowed"),
    ],
)
def test_other_roles_are_refused_turn_by_turn(role: str, words: str) -> None:
    """A client can neither put words into the model's mouth nor change its instructions in passing."""
    found, violations = judged(policy(), "clientContent", {"turns": [turn(role), turn()], "turnComplete": True})
    assert found == {"turns": [turn()], "turnComplete": True}
    assert violations == [Refusal(Rule.ROLE, "clientContent.turns.role", words)]


def test_a_message_of_which_no_turn_is_left_is_empty() -> None:
    """Without its turns, `turnComplete` alone would make the model speak."""
    found, violations = judged(policy(), "clientContent", {"turns": [turn("model")], "turnComplete": True})
    assert (found, len(violations)) == ({}, 1)


def test_turn_complete_alone_is_allowed() -> None:
    """A client may say that it has finished."""
    assert judged(policy(), "clientContent", {"turnComplete": True}) == ({"turnComplete": True}, [])


@pytest.mark.parametrize("roles", [{"user", "model"}, {"*"}], ids=lambda names: " ".join(sorted(names)))
def test_roles_can_be_allowed(roles: set[str]) -> None:
    """An operator may trust a client with more."""
    body = {"turns": [turn("model")]}
    assert judged(policy(Messages(roles=frozenset(roles))), "clientContent", body) == (body, [])


def test_the_model_may_speak_in_a_seeded_history_until_it_is_complete() -> None:
    """The first `turnComplete` ends the history; afterwards only the allowed roles speak. Others never do."""
    conversation = Conversation(seeding=True)
    under = policy()
    assert judged(under, "clientContent", {"turns": [turn("model")]}, conversation)[1] == []
    assert judged(under, "clientContent", {"turns": [turn("system")]}, conversation)[1] != []
    seed = {"turns": [turn(), turn("model")], "turnComplete": True}
    assert judged(under, "clientContent", seed, conversation)[1] == []
    assert not conversation.seeding
    assert judged(under, "clientContent", {"turns": [turn("model")]}, conversation)[1] != []


@pytest.mark.threat("C4", "C11")
def test_parts_other_than_text_are_taken_out() -> None:
    """A part loses what is forbidden, a turn its empty parts, a message its empty turns."""
    body = {"turns": [turn("user", TEXT, IMAGE, {**TEXT, "thought": True}), turn("user", IMAGE)]}
    found, violations = judged(policy(), "clientContent", body)
    assert found == {"turns": [turn("user", TEXT, TEXT)]}
    assert [violation.path for violation in violations] == [
        "clientContent.turns.parts.inlineData",
        "clientContent.turns.parts.thought",
        "clientContent.turns.parts.inlineData",
    ]


def test_what_was_empty_before_stays() -> None:
    """Only what a policy emptied is left out; a client's own empty parts and turns are its own affair."""
    body: dict[str, Any] = {"turns": [turn("user", {}), {"role": "user"}, {}]}
    assert judged(policy(), "clientContent", body) == (body, [])
    found, violations = judged(policy(), "clientContent", {"turns": [*body["turns"], turn("model")]})
    assert (found, len(violations)) == (body, 1)


@pytest.mark.parametrize("parts", [{"text", "inlineData"}, {"*"}], ids=lambda names: " ".join(sorted(names)))
def test_parts_can_be_allowed(parts: set[str]) -> None:
    """An operator may let images in."""
    body = {"turns": [turn("user", IMAGE)]}
    assert judged(policy(Messages(parts=frozenset(parts))), "clientContent", body) == (body, [])


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        (Messages(client_content=False), "clientContent"),
        (Messages(tool_response=False), "toolResponse"),
        (Messages(), "contextUpdate"),
    ],
)
def test_a_kind_of_message_can_be_forbidden(messages: Messages, kind: str) -> None:
    """Nothing is left of a message whose kind is not allowed, whatever it holds."""
    bodies: list[dict[str, Any]] = [{}, {"turns": [turn()]}, {"functionResponses": [{"id": "a"}]}, {"tools": {}}]
    for body in bodies:
        found, violations = judged(policy(messages, allow=frozenset({"*"})), kind, body, Conversation({"a"}))
        assert found == {}
        assert violations == [Refusal(Rule.MESSAGE_KIND, kind, "may not be sent by the client")]


# toolResponse --------------------------------------------------------------------------------------------------------


def answer(call_id: str | None, **fields: Any) -> dict[str, Any]:
    """One answer to a call."""
    return ({} if call_id is None else {"id": call_id}) | {"response": {"output": "ok"}, **fields}


def answered(
    conversation: Conversation, *answers: dict[str, Any], under: Policy | None = None
) -> tuple[list[dict[str, Any]], list[Refusal]]:
    """Which of these answers are passed on, and what was wrong with the others."""
    body, violations = judged(under or policy(), "toolResponse", {"functionResponses": list(answers)}, conversation)
    return body.get("functionResponses", []), violations


def called(*call_ids: str) -> Conversation:
    """A conversation in which Gemini asked for these calls."""
    conversation = Conversation()
    conversation.called(call_ids)
    return conversation


NO_CALL = Refusal(Rule.TOOL_RESPONSE, "toolResponse.functionResponses.id", "answers no call that was made")


def test_an_open_call_can_be_answered_once() -> None:
    """The first answer is passed on, a second one is dropped without blame."""
    conversation = called("a")
    assert answered(conversation, answer("a")) == ([answer("a")], [])
    assert answered(conversation, answer("a")) == ([], [])


@pytest.mark.threat("C12")
def test_a_call_answered_twice_in_one_message_is_answered_once() -> None:
    """The same id in one list counts once, the first time."""
    assert answered(called("a"), answer("a"), answer("a", response={})) == ([answer("a")], [])


def test_an_answer_that_goes_on_keeps_its_call_open() -> None:
    """`willContinue` announces more; the last answer closes the call."""
    conversation = called("a")
    more = answer("a", willContinue=True)
    assert answered(conversation, more, more) == ([more, more], [])
    assert answered(conversation, answer("a", willContinue=False)) == ([answer("a", willContinue=False)], [])
    assert answered(conversation, answer("a")) == ([], [])


@pytest.mark.threat("C12")
@pytest.mark.parametrize("call_id", ["b", "A", "", None], ids=repr)
def test_an_answer_to_no_call_is_a_violation(call_id: str | None) -> None:
    """Invented ids are refused and not quoted; the right answer beside them is passed on."""
    assert answered(called("a"), answer(call_id), answer("a")) == ([answer("a")], [NO_CALL])


@pytest.mark.threat("C12")
def test_a_late_answer_to_a_cancelled_call_is_dropped_without_blame() -> None:
    """The user interrupted, and the client could not know."""
    conversation = called("a", "b")
    conversation.settled(["a"])
    assert answered(conversation, answer("a"), answer("b")) == ([answer("b")], [])


def test_a_call_may_be_made_again() -> None:
    """An id that Gemini uses anew is open anew."""
    conversation = called("a")
    answered(conversation, answer("a"))
    conversation.called(["a"])
    assert answered(conversation, answer("a")) == ([answer("a")], [])


def test_calls_without_an_id_are_answered_without_one() -> None:
    """Vertex AI may leave the id out; such calls can't be told apart, so none of their answers is lost."""
    conversation = called("", "")
    assert answered(conversation, answer(None), answer("")) == ([answer(None), answer("")], [])
    assert answered(conversation, answer(None)) == ([answer(None)], [])


def test_only_so_many_past_calls_are_remembered() -> None:
    """A conversation of many calls stays small; the oldest are forgotten first."""
    conversation = Conversation()
    conversation.settled(str(number) for number in range(MAX_REMEMBERED_CALLS + 1))
    assert len(conversation.past_calls) == MAX_REMEMBERED_CALLS
    assert answered(conversation, answer("0"), answer("1")) == ([], [NO_CALL])


def test_parts_of_an_answer_are_judged_like_parts_of_a_turn() -> None:
    """A tool's image needs the same permission as the user's; the answer itself stays."""
    found, violations = answered(called("a"), answer("a", parts=[IMAGE]))
    assert found == [answer("a", parts=[])]
    assert [violation.path for violation in violations] == ["toolResponse.functionResponses.parts.inlineData"]
    allowed = policy(Messages(parts=frozenset({"inlineData"})))
    assert answered(called("a"), answer("a", parts=[IMAGE]), under=allowed) == ([answer("a", parts=[IMAGE])], [])


def test_an_empty_answer_is_nothing() -> None:
    """A toolResponse without an answer is not worth forwarding, and no violation."""
    assert judged(policy(), "toolResponse", {}) == ({}, [])


# contextUpdate -------------------------------------------------------------------------------------------------------

UPDATES = Messages(context_update=True)
INSTRUCTION = {"parts": [TEXT]}
FUNCTIONS = {"functionDeclarations": [{"name": "f"}]}
SEARCH: dict[str, Any] = {"googleSearch": {}}


def test_an_update_may_change_what_a_setup_might_have_set() -> None:
    """The permissions for setup hold for updates, down to the tool."""
    body = {"systemInstruction": INSTRUCTION, "tools": {"tools": [FUNCTIONS]}}
    under = policy(UPDATES, allow=frozenset({"systemInstruction", "tools.functionDeclarations"}))
    assert judged(under, "contextUpdate", body) == (body, [])


@pytest.mark.threat("C4")
def test_an_update_may_not_change_more_than_a_setup() -> None:
    """What setup may not hold is taken out of an update, and named."""
    body = {"systemInstruction": INSTRUCTION, "tools": {"tools": [SEARCH, {**FUNCTIONS, **SEARCH}]}}
    found, violations = judged(policy(UPDATES, allow=frozenset({"tools.functionDeclarations"})), "contextUpdate", body)
    assert found == {"tools": {"tools": [FUNCTIONS]}}
    assert [violation.path for violation in violations] == [
        "contextUpdate.systemInstruction",
        "contextUpdate.tools.googleSearch",
        "contextUpdate.tools.googleSearch",
    ]


def test_what_is_partly_forbidden_keeps_its_rest() -> None:
    """A field of an instruction can be denied without the instruction."""
    under = policy(UPDATES, allow=frozenset({"*"}), deny=frozenset({"systemInstruction.role"}))
    found, violations = judged(under, "contextUpdate", {"systemInstruction": {"role": "system", **INSTRUCTION}})
    assert found == {"systemInstruction": INSTRUCTION}
    assert [violation.path for violation in violations] == ["contextUpdate.systemInstruction.role"]


@pytest.mark.parametrize("tools", [{}, {"tools": []}], ids=str)
def test_tools_can_be_cleared_only_where_they_may_be_set(tools: dict[str, Any]) -> None:
    """An empty list clears them at Gemini, so it needs the same permission."""
    assert judged(policy(UPDATES, allow=frozenset({"tools"})), "contextUpdate", {"tools": tools}) == (
        {"tools": tools},
        [],
    )
    for rules in ({}, {"allow": frozenset({"*"}), "deny": frozenset({"tools"})}):
        found, violations = judged(policy(UPDATES, **rules), "contextUpdate", {"tools": {**tools}})
        assert (found, len(violations)) == ({}, 1)


@pytest.mark.threat("C4", "C5")
@pytest.mark.parametrize("name", ["systemInstruction", "tools"])
def test_what_is_enforced_can_not_be_updated(name: str) -> None:
    """What the operator enforced at setup stands for the whole session, even against a client that may set anything."""
    enforced = {"systemInstruction": INSTRUCTION, "tools": [SEARCH]}
    under = policy(UPDATES, allow=frozenset({"*"}), enforce={name: enforced[name]})
    body = {"systemInstruction": INSTRUCTION, "tools": {"tools": [SEARCH]}}
    found, violations = judged(under, "contextUpdate", body)
    assert name not in found
    assert len(found) == 1
    assert violations == [Refusal(Rule.MESSAGE_FIELD, f"contextUpdate.{name}", "may not be sent by the client")]


def test_an_update_with_nothing_allowed_in_it_is_empty() -> None:
    """When every tool had to go, the tools stay as they are instead of being cleared."""
    under = policy(UPDATES, allow=frozenset({"tools.functionDeclarations"}))
    assert judged(under, "contextUpdate", {"tools": {"tools": [SEARCH]}})[0] == {}
