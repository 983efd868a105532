"""The table of actions and its checks."""

from typing import Any

import pytest

from relay.sim.actions import ACTIONS, REQUIRED, Action, parse_action


@pytest.mark.parametrize("kind", ACTIONS)
def test_every_action_can_be_written(kind: str) -> None:
    """With its required arguments each action is read, complete with defaults."""
    samples: dict[str, Any] = {"time": "5s", "text": "x", "object": {"serverContent": {}}, "integer": 1}
    wanted = ACTIONS[kind][1]
    given = {name: samples[argument.kind] for name, argument in wanted.items() if argument.default is REQUIRED}

    action = parse_action({kind: given}, "do")

    assert isinstance(action, Action)
    assert action.kind == kind
    assert set(action.arguments) == set(wanted)


def test_an_action_without_arguments_may_have_none() -> None:
    """`{silence: }` in YAML is a null."""
    assert parse_action({"silence": None}, "do") == Action("silence", {})


def test_a_go_away_without_time_left() -> None:
    """`none` leaves the field out."""
    action = parse_action({"go_away": {"time_left": "none"}}, "do")

    assert isinstance(action, Action)
    assert action.arguments == {"time_left": None}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("cut", "do: must be an object with one key"),
        ({"cut": {}, "stall": {}}, "do: must be an object with one key"),
        ({"explode": {}}, "do.explode: no such action"),
        ({"stall": {}}, "do.stall.for: is missing"),
        ({"stall": {"for": "long"}}, "do.stall.for: not a duration"),
        ({"stall": {"for": -1}}, "do.stall.for: must be a time"),
        ({"close": {"code": "1011"}}, "do.close.code: must be an integer"),
        ({"close": {"code": True}}, "do.close.code: must be an integer"),
        ({"cut": {"hard": True}}, "do.cut.hard: no such argument"),
        ({"cut": []}, "do.cut: must be an object of arguments"),
        ({"send": {"message": "x"}}, "do.send.message: must be an object"),
    ],
)
def test_mistakes_have_their_path(value: Any, problem: str) -> None:
    """A wrong action says where and what."""
    problems = parse_action(value, "do")

    assert isinstance(problems, list)
    assert problems[0].startswith(problem)
