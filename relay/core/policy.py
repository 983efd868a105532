"""What a tenant may ask for: the client's canonical messages in, allowed messages or violations out.

A policy is compiled once from relay.yaml and shared by every session under it; what changes during a conversation
lives in `Conversation`. Nothing here parses JSON or ends a session: the session decides what a violation costs.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.core.backend import DEVELOPER, Backend
from relay.core.client_frames import ClientFrame
from relay.core.refusals import Refusal, Rule
from relay.core.tickets import Constraint

ANYTHING = "*"
"""In `allow`, `models`, `roles` and `parts`: no limit."""

ALWAYS_ALLOWED = ("sessionResumption.handle", "realtimeInputConfig")
"""Setup paths several SDKs send as a matter of course; a handle still has to be one the relay gave out."""

Unseal = Callable[[str, str], str | None]
"""From a client's handle and its model to Gemini's handle; None unless the relay gave it to this tenant for both."""

MAX_OPEN_CALLS = 1000
"""Calls that wait for their answers; Gemini never asks for more than a few."""
MAX_REMEMBERED_CALLS = 256
"""Answered or cancelled call ids kept for telling a late answer from an invented one."""

_AUDIO = frozenset({"audio", "audioStreamEnd", "activityStart", "activityEnd"})


_MODEL = re.compile(r"(?:models|tunedModels|publishers/[\w.-]{1,40}/models)/[\w.-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Models:
    """Which models a client may name; names are full, such as `models/gemini-3.8-live`."""

    default: str
    allowed: frozenset[str]
    aliases: Mapping[str, str] = field(default_factory=dict)
    backend: Backend = DEVELOPER
    """The service that has them."""

    def resolve(self, name: str) -> str | None:
        """The full name of the model a client asked for; None when it may not have it."""
        if not name:
            return self.default
        name = self.aliases.get(name.removeprefix("models/"), name)
        full = name if "/" in name else f"models/{name}"
        # Names stand in usage records, so "any model" means what looks like one, and no name that holds a project.
        anything = ANYTHING in self.allowed and _MODEL.fullmatch(full)
        return full if anything or full in self.allowed or full == self.default else None


@dataclass(frozen=True, slots=True)
class Messages:
    """What a client may send after its setup."""

    audio: bool = True
    video: bool = False
    text: bool = True
    """`realtimeInput.text`."""
    client_content: bool = True
    roles: frozenset[str] = frozenset({"user"})
    """Roles a `clientContent` turn may have."""
    parts: frozenset[str] = frozenset({"text"})
    """Fields a part of a turn, or of a tool response, may have."""
    history: bool = False
    """Whether a conversation may begin with turns of the model (`historyConfig`)."""
    tool_response: bool = True
    context_update: bool = False


@dataclass(frozen=True, slots=True)
class SetupRules:
    """What a client's setup may hold; partial setups in canonical spelling, dotted canonical paths below `setup`."""

    enforce: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Always wins, at any depth."""
    defaults: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Used where the client is silent."""
    allow: frozenset[str] = frozenset()
    """Paths a client may set, each with everything below it."""
    deny: frozenset[str] = frozenset()
    """Paths it may not set even though `allow` covers them."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a policy treats what it forbids or does not know, and how it frames what Gemini says."""

    strip: bool = False
    """Drop what is forbidden, without a word to the client, instead of closing the session."""
    pass_unknown: bool = False
    """Let fields through that are newer than the schema table."""
    server_text: bool = False
    """Send Gemini's messages as text frames instead of the opcode they came with."""
    announce: str = "loss"
    """Which handovers the client is told of: never, loss (those that lost something), always."""


@dataclass(slots=True)
class Conversation:
    """What later messages of one session are judged against."""

    open_calls: set[str] = field(default_factory=set)
    past_calls: dict[str, None] = field(default_factory=dict)
    """Calls answered or cancelled, oldest first, at most `MAX_REMEMBERED_CALLS`."""
    seeding: bool = False
    """Whether `clientContent` still adds to the initial history."""
    nameless: bool = False
    """A call without an id awaits its answer."""

    @property
    def awaits_answers(self) -> bool:
        """Whether Gemini waits for a function."""
        return self.nameless or len(self.open_calls) > ("" in self.open_calls)

    def called(self, call_ids: Iterable[str]) -> None:
        """Gemini asked for these calls."""
        for call_id in call_ids:
            if len(self.open_calls) < MAX_OPEN_CALLS:
                self.open_calls.add(call_id)
        self.nameless = self.nameless or "" in call_ids

    def settled(self, call_ids: Iterable[str]) -> None:
        """These calls were answered for good, or Gemini took them back."""
        for call_id in call_ids:
            self.open_calls.discard(call_id)
            self.past_calls[call_id] = None
            if len(self.past_calls) > MAX_REMEMBERED_CALLS:
                del self.past_calls[next(iter(self.past_calls))]


@dataclass(frozen=True, slots=True)
class SetupRuling:
    """A decided setup: what Gemini is to get, and what of the client's had to go."""

    body: dict[str, Any] = field(repr=False)
    violations: list[Refusal]
    wants_resumption: bool
    """Whether the client asked for handles."""


class Policy:
    """One named policy of relay.yaml, compiled."""

    def __init__(
        self,
        name: str,
        models: Models,
        *,
        setup: SetupRules,
        messages: Messages,
        behaviour: Behaviour,
        constraint: Constraint | None = None,
    ) -> None:
        """`constraint` is what a client's ticket fixes of its setup."""
        self.name = name
        self.backend = models.backend
        """The service its sessions run on."""
        self.messages = messages
        self.behaviour = behaviour
        self._models = models
        self._rules = setup
        self._constraint = constraint
        self._allow = _tree((*ALWAYS_ALLOWED, *setup.allow, *(("historyConfig",) if messages.history else ())))
        # "*" does not reach it, as it does not reach `transparent`: seeding speaks with the model's voice.
        self._allow.setdefault("historyConfig", {})
        self._deny = _tree(setup.deny)
        self._realtime = frozenset(_AUDIO if messages.audio else ()) | {
            name for name, allowed in (("video", messages.video), ("text", messages.text)) if allowed
        }

    def under(self, constraint: Constraint | None) -> "Policy":
        """The policy for a ticket's holder: what that fixes counts as asked by the client, so it widens nothing."""
        if constraint is None:
            return self
        rules, messages, behaviour = self._rules, self.messages, self.behaviour
        return Policy(
            self.name, self._models, setup=rules, messages=messages, behaviour=behaviour, constraint=constraint
        )

    def setup(self, body: dict[str, Any], unseal: Unseal) -> SetupRuling:
        """Decide a client's canonical setup; enforced fields win at any depth, defaults fill what is silent."""
        violations: list[Refusal] = []
        asked = dict(body) if self._constraint is None else self._constraint.imposed(body)
        model = self._model(asked.pop("model", ""), violations)
        asked = self._prune(asked, (self._allow, self._deny, self._rules.enforce), "setup", violations)
        if (resumption := asked.get("sessionResumption")) is not None:
            asked["sessionResumption"] = _unsealed(resumption, model, unseal, violations)
        merged = _merge(_merge(self._rules.defaults, asked), self._rules.enforce)
        return SetupRuling({"model": model, **merged}, violations, resumption is not None)

    def _model(self, name: str, violations: list[Refusal]) -> str:
        model = self._models.resolve(name)
        if model is None:
            violations.append(Refusal(Rule.MODEL, "setup.model", "is not a model this policy allows"))
            return self._models.default
        return model

    def _prune(
        self, body: dict[str, Any], trees: tuple[Any, Any, Any], path: str, violations: list[Refusal]
    ) -> dict[str, Any]:
        """Keep what `allow` covers and `deny` does not; a value equal to the enforced one is no violation."""
        allow, deny, enforced = trees
        kept: dict[str, Any] = {}
        for name, value in body.items():
            here = f"{path}.{name}"
            allowed = True if allow is True else allow.get(name, allow.get(ANYTHING))
            denied = deny.get(ANYTHING) or deny.get(name)
            must = enforced.get(name) if type(enforced) is dict else None
            if must is not None and value == must:
                continue
            if value == [] and not allowed:  # an SDK's way to say nothing
                continue
            nested = type(value) is dict and type(must) is dict  # a part of it may be as enforced
            if denied is True or (not allowed and not nested):
                violations.append(Refusal(Rule.SETUP_FIELD, here, "may not be set by the client"))
            elif allowed is True and not denied:
                kept[name] = value
            elif type(value) is dict:
                inner = self._prune(value, (allowed or {}, denied or {}, must), here, violations)
                if inner or not value:
                    kept[name] = inner
            else:  # a list, because what has paths below it is a message or a list of them
                pruned = [self._prune(element, (allowed, denied or {}, None), here, violations) for element in value]
                elements = [element for element in pruned if element]
                if elements or not value:  # as if it had not been sent: an empty list would clear the defaults
                    kept[name] = elements
        return kept

    def check(self, frame: ClientFrame, conversation: Conversation) -> list[Refusal]:
        """Judge a later message: returns the violations, each already taken out of `frame.body`.

        A body left empty has nothing allowed in it. No violation, no change: the common case costs one set operation.
        """
        if frame.kind == "realtimeInput":
            forbidden = frame.body.keys() - self._realtime
            return _drop(frame.body, forbidden, "realtimeInput") if forbidden else []
        if frame.kind == "clientContent":
            return self._check_content(frame.body, conversation)
        if frame.kind == "toolResponse":
            return self._check_tool_response(frame.body, conversation)
        return self._check_context_update(frame.body)

    def _check_content(self, body: dict[str, Any], conversation: Conversation) -> list[Refusal]:
        if not self.messages.client_content:
            return _refuse_all(body, "clientContent")
        roles = self.messages.roles | {"model"} if conversation.seeding else self.messages.roles
        violations: list[Refusal] = []
        turns = []
        for turn in body.get("turns", ()):
            role = turn.get("role") or "user"
            if role not in roles and ANYTHING not in roles:
                # The role is the client's own word, but it is quoted only where it is one of the known ones.
                words = f'may not be "{role}"' if role in {"model", "system"} else "is not allowed"
                violations.append(Refusal(Rule.ROLE, "clientContent.turns.role", words))
            elif self._check_parts(turn, "clientContent.turns", violations):
                turns.append(turn)
        if violations:
            body["turns"] = turns
            if not turns:
                body.clear()
        if body.get("turnComplete"):
            conversation.seeding = False
        return violations

    def _check_parts(self, holder: dict[str, Any], path: str, violations: list[Refusal]) -> bool:
        """Take what is forbidden out of the parts of a turn or an answer; False when that was all there was."""
        parts = holder.get("parts")
        if not parts or ANYTHING in self.messages.parts:
            return True
        found = len(violations)
        for part in parts:
            violations.extend(_drop(part, part.keys() - self.messages.parts, f"{path}.parts"))
        if len(violations) > found:
            holder["parts"] = [part for part in parts if part]
        return bool(holder["parts"])

    def _check_tool_response(self, body: dict[str, Any], conversation: Conversation) -> list[Refusal]:
        if not self.messages.tool_response:
            return _refuse_all(body, "toolResponse")
        path = "toolResponse.functionResponses"
        violations: list[Refusal] = []
        answers = []
        for answer in body.get("functionResponses", ()):
            call_id = answer.get("id", "")
            if call_id in conversation.open_calls:
                self._check_parts(answer, path, violations)
                answers.append(answer)
                if call_id and not answer.get("willContinue"):
                    conversation.settled((call_id,))
                elif not call_id:  # calls without an id can't be told apart, so they stay open for more answers
                    conversation.nameless = False
            elif call_id not in conversation.past_calls:  # a late answer to a cancelled call is nobody's fault
                violations.append(Refusal(Rule.TOOL_RESPONSE, f"{path}.id", "answers no call that was made"))
        body["functionResponses"] = answers
        if not answers:
            body.clear()
        return violations

    def _check_context_update(self, body: dict[str, Any]) -> list[Refusal]:
        if not self.messages.context_update:
            return _refuse_all(body, "contextUpdate")
        violations: list[Refusal] = []
        for name in list(body):
            # What the operator enforces at setup can't be replaced, or cleared by an empty list, later on.
            locked = self._constraint is not None and self._constraint.locks(name)
            if locked or name in self._rules.enforce or self._allow.get(name, self._allow.get(ANYTHING)) is None:
                violations.extend(_drop(body, {name}, "contextUpdate"))
                continue
            listed = name == "tools"  # a message with the list in it, where setup has the list itself
            value = body[name].get("tools", []) if listed else body[name]
            found = len(violations)
            kept = self._prune({name: value}, (self._allow, self._deny, {}), "contextUpdate", violations)
            if len(violations) == found:
                continue
            if kept.get(name):
                body[name] = {"tools": kept[name]} if listed else kept[name]
            else:
                del body[name]
        return violations


def _drop(body: dict[str, Any], names: Iterable[str], path: str) -> list[Refusal]:
    violations = []
    for name in sorted(names):
        del body[name]
        violations.append(Refusal(Rule.MESSAGE_FIELD, f"{path}.{name}", "may not be sent by the client"))
    return violations


def _refuse_all(body: dict[str, Any], kind: str) -> list[Refusal]:
    body.clear()
    return [Refusal(Rule.MESSAGE_KIND, kind, "may not be sent by the client")]


def _unsealed(resumption: dict[str, Any], model: str, unseal: Unseal, violations: list[Refusal]) -> dict[str, Any]:
    handle = resumption.get("handle")
    if not handle:
        return {name: value for name, value in resumption.items() if name != "handle"}
    original = unseal(handle, model)
    if original is None:
        violations.append(
            Refusal(
                Rule.HANDLE,
                "setup.sessionResumption.handle",
                "was not given out by this relay, or has expired",
            )
        )
        return {}
    return {**resumption, "handle": original}


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `under`: objects merge at any depth, everything else (lists too) is replaced whole."""
    merged = dict(under)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merge(below, value) if type(below) is dict and type(value) is dict else value
    return merged


def _tree(paths: Iterable[str]) -> Any:
    """Fold dotted paths into nested dictionaries; True means everything below."""
    root: dict[str, Any] = {}
    for path in paths:
        node: Any = root
        *steps, last = path.split(".")
        for step in steps:
            node = node.setdefault(step, {})
            if node is True:
                break
        if node is not True:
            node[last] = True
    return root


def seeds_history(setup: dict[str, Any]) -> bool:
    """Whether a setup announces that the conversation begins with turns that were said elsewhere."""
    return bool(setup.get("historyConfig", {}).get("initialHistoryInClientContent"))


def update_setup(setup: dict[str, Any], update: dict[str, Any]) -> None:
    """What a client changed in mid-session (`contextUpdate`) holds on the next upstream leg too."""
    if "systemInstruction" in update:
        setup["systemInstruction"] = update["systemInstruction"]
    if "tools" in update:
        setup["tools"] = update["tools"].get("tools", [])
