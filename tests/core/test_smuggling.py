"""Every field of the schema, in every form that could get a value past a policy.

The cases are generated, so a field added to the schema is covered the day it is added. They run in a few loops
instead of ten thousand pytest items, and each loop collects all that went wrong.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from relay.core import schema
from relay.core.client_frames import ClientFrame, client_frame
from relay.core.policy import Behaviour, Messages, Models, Policy, SetupRules
from relay.core.refusals import Rule
from relay.core.schema import ENUMS, Field, Kind
from tests.core.frames import Members, Trail, dotted, escaped, has_two_spellings, place, read, sample, text, trails

MODEL = "models/gemini-3.8-live"

EVERYWHERE = [
    (field, *trail)
    for kind, field in schema.MESSAGES["ClientMessage"].items()
    for trail in trails(field.message)
    if (kind, trail[0].name) != ("realtimeInput", "mediaChunks")  # rewritten, and tested by itself
]
IN_SETUP = list(trails("Setup"))


def test_the_trails_are_the_fields_of_setup() -> None:
    """What is generated here is what the schema itself lists."""
    assert [(dotted(trail), trail[-1]) for trail in IN_SETUP] == list(schema.setup_paths())
    assert len(EVERYWHERE) > 700


# Spellings -----------------------------------------------------------------------------------------------------------


def in_snake_case(trail: Trail, value: Any) -> Any:
    """A message with every step of the trail in snake_case."""
    for holder, field in zip(reversed((None, *trail[:-1])), reversed(trail), strict=True):
        value = {schema.snake(field.name): value}
        if holder is not None and holder.repeated:
            value = [value]
    return value


@pytest.mark.threat("C1", "C2")
def test_each_spelling_alone_is_accepted_and_becomes_canonical() -> None:
    """Every field is read in camelCase, in snake_case and escaped, and always comes out the same."""
    wrong: list[str] = []
    for trail in EVERYWHERE:
        field, value = trail[-1], sample(trail[-1], 0)
        camel = place(trail, {field.name: value})
        expected = ClientFrame(trail[0].name, camel[trail[0].name])
        trees = (camel, in_snake_case(trail, value), place(trail, Members([(escaped(field.name), value)])))
        wrong.extend(text(tree) for tree in trees if read(tree) != expected)
    assert wrong == []


@pytest.mark.threat("C1")
def test_both_spellings_at_once_are_refused() -> None:
    """Google would merge them or take the last; in either order, equal, different or null, they are refused."""
    wrong = []
    cases = 0
    for trail in EVERYWHERE:
        field = trail[-1]
        if not has_two_spellings(field):
            continue
        camel, snake = field.name, schema.snake(field.name)
        one, other = sample(field, 0), sample(field, 1)
        for first, second in ((one, one), (one, other), (None, one), (one, None)):
            for members in ([(camel, first), (snake, second)], [(snake, first), (camel, second)]):
                cases += 1
                refusal = read(place(trail, dict(members)))
                if isinstance(refusal, ClientFrame) or (refusal.rule, refusal.path) != (
                    Rule.TWO_SPELLINGS,
                    dotted(trail),
                ):
                    wrong.append(text(place(trail, dict(members))))
    assert wrong == []
    assert cases > 3_000


@pytest.mark.threat("C4")
def test_an_unknown_neighbour_is_refused_everywhere() -> None:
    """Beside every field, at every depth, an unknown key is refused by its path."""
    wrong = []
    for trail in EVERYWHERE:
        refusal = read(place(trail, {trail[-1].name: sample(trail[-1], 0), "notAField": 1}))
        path = dotted((*trail[:-1], Field("notAField", Kind.VALUE)))
        if isinstance(refusal, ClientFrame) or (refusal.rule, refusal.path) != (Rule.UNKNOWN_FIELD, path):
            wrong.append(path)
    assert wrong == []


# Enforced fields -----------------------------------------------------------------------------------------------------


def smuggled(field: Field, enforced: Any, smuggle: Any) -> Iterator[Members]:
    """The object that holds an enforced field, with another value in it in every form there is."""
    camel, snake = f'"{field.name}"', f'"{schema.snake(field.name)}"'
    spellings = (camel, snake, escaped(field.name), escaped(schema.snake(field.name)))
    for spelling in spellings:
        yield Members([(spelling, smuggle)])
    for first in spellings:
        for second in spellings:
            yield Members([(first, enforced), (second, smuggle)])
            yield Members([(first, smuggle), (second, enforced)])
            yield Members([(first, None), (second, smuggle)])
            yield Members([(first, smuggle), (second, None)])
    if field.kind is Kind.ENUM:
        (name,) = smuggle if field.repeated else (smuggle,)
        number = next(number for number, each in ENUMS[field.enum].items() if each == name)
        for form in (number, name.lower(), name.title()):
            yield Members([(camel, [form] if field.repeated else form)])
            yield Members([(camel, enforced), (snake, [form] if field.repeated else form)])


def holds(body: Any, enforced: Any) -> bool:
    """Whether everything enforced is in a body as it was enforced."""
    if type(enforced) is not dict or type(body) is not dict:
        return bool(body == enforced)
    return all(name in body and holds(body[name], value) for name, value in enforced.items())


def policy(enforced: dict[str, Any], allow: set[str], *, strip: bool = False, pass_unknown: bool = False) -> Policy:
    """A policy that enforces a partial setup and allows these paths."""
    return Policy(
        "test",
        Models(MODEL, frozenset()),
        setup=SetupRules(enforce=enforced, allow=frozenset(allow)),
        messages=Messages(),
        behaviour=Behaviour(strip=strip, pass_unknown=pass_unknown),
    )


def never(_handle: str, _model: str) -> None:
    """No handle was ever given out."""


def leaks(trail: Trail, judge: Callable[[Policy, ClientFrame, dict[str, Any]], bool], **kwargs: Any) -> Iterator[str]:
    """The frames of one field whose outcome is not what `judge` says it must be."""
    field = trail[-1]
    value = sample(field, 0)
    enforced = place(trail, {field.name: value})
    under = policy(enforced, **kwargs)
    for members in smuggled(field, value, sample(field, 1)):
        payload = text({"setup": place(trail, members)}).encode()
        frame = client_frame(payload, pass_unknown=under.behaviour.pass_unknown)
        if isinstance(frame, ClientFrame) and not judge(under, frame, enforced):
            yield payload.decode()


ENFORCEABLE = [trail for trail in IN_SETUP if trail[0].name not in {"model", "sessionResumption"}]
"""What an operator may enforce; the other two have rules of their own."""


@pytest.mark.threat("C1", "C2", "C4")
def test_nothing_but_what_is_enforced_comes_out_of_a_closed_policy() -> None:
    """Where a client may set nothing, any form of any field leaves the operator's setup and nothing else."""

    def judge(under: Policy, frame: ClientFrame, enforced: dict[str, Any]) -> bool:
        ruling = under.setup(frame.body, never)
        # realtimeInputConfig may always be sent; it is overruled without a violation.
        named = bool(ruling.violations) or "realtimeInputConfig" in enforced or frame.body == enforced
        return named and ruling.body == {"model": MODEL, **enforced}

    assert [leak for trail in ENFORCEABLE for leak in leaks(trail, judge, allow=set())] == []


@pytest.mark.threat("C1", "C2", "C4")
def test_what_is_enforced_wins_in_an_open_policy() -> None:
    """Where a client may set anything, unknown fields too, any form of an enforced field comes out as enforced."""

    def judge(under: Policy, frame: ClientFrame, enforced: dict[str, Any]) -> bool:
        return holds(under.setup(frame.body, never).body, enforced)

    assert [leak for trail in ENFORCEABLE for leak in leaks(trail, judge, allow={"*"}, pass_unknown=True)] == []


@pytest.mark.threat("C1", "C2", "C4")
def test_a_denied_field_never_comes_out_of_an_open_policy() -> None:
    """Where a client may set anything but one field, no form of that field gets through."""
    wrong = []
    for trail in ENFORCEABLE:
        field = trail[-1]
        under = Policy(
            "test",
            Models(MODEL, frozenset()),
            setup=SetupRules(allow=frozenset({"*"}), deny=frozenset({dotted(trail)})),
            messages=Messages(),
            behaviour=Behaviour(),
        )
        for members in smuggled(field, sample(field, 0), sample(field, 1)):
            frame = read({"setup": place(trail, members)})
            if isinstance(frame, ClientFrame):
                ruling = under.setup(frame.body, never)
                if ruling.body != {"model": MODEL} or (frame.body and not ruling.violations):
                    wrong.append(text({"setup": place(trail, members)}))
    assert wrong == []


@pytest.mark.threat("C4")
@pytest.mark.parametrize("name", ["model", "sessionResumption.handle", "sessionResumption.transparent"])
def test_model_handle_and_transparent_keep_their_own_rules(name: str) -> None:
    """Whatever form it comes in, a client gets no other model, no foreign handle and no transparent mode."""
    (trail,) = [trail for trail in IN_SETUP if dotted(trail) == name]
    under = policy({}, {"*"})
    smuggle = {"model": "models/expensive", "handle": "stolen", "transparent": True}[trail[-1].name]
    outcomes = []
    for members in smuggled(trail[-1], "" if name != "sessionResumption.transparent" else False, smuggle):
        frame = read({"setup": place(trail, members)})
        if isinstance(frame, ClientFrame):
            ruling = under.setup(frame.body, never)
            outcomes.append((ruling.body["model"], ruling.body.get("sessionResumption", {}), bool(ruling.violations)))
    assert outcomes
    assert {(model, tuple(resumption)) for model, resumption, _ in outcomes} == {(MODEL, ())}
    assert all(violated for *_, violated in outcomes)
