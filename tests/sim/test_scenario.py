"""Scenario files."""

from pathlib import Path

import pytest

from relay.sim import scenario as scenarios
from relay.sim.profile import Profile
from relay.sim.scenario import Happened, ScenarioError, Script

CUT_ONCE = """
name: the first connection is cut in its second answer
profile: {burst: 4, go_away_after_s: 20s}
steps:
  - when: {event: frame, connection: 1, turn: 2, frame: 3}
    do: [{cut: {reset: false}}]
  - when: {event: text, text: BYE, repeat: true}
    do: [{say: {text: goodbye}}, {close: {code: 1000}}]
  - when: {after: 500ms, connection: 2}
    do: [{silence: }]
"""


def test_a_scenario_is_read() -> None:
    """Steps, conditions, actions and knobs."""
    scenario = scenarios.load(CUT_ONCE)

    assert len(scenario.steps) == 3
    assert scenario.steps[0].do[0].arguments == {"reset": False}
    assert scenario.applied_to(Profile()) == Profile(burst=4.0, go_away_after_s=20.0)
    assert scenario.name.startswith("the first")


def test_a_scenario_is_read_from_a_file(tmp_path: Path) -> None:
    """A Path is a file; text is YAML."""
    file = tmp_path / "cut.yaml"
    file.write_text(CUT_ONCE, "utf-8")

    assert scenarios.load(file) == scenarios.load(CUT_ONCE)


def test_an_empty_scenario_does_nothing() -> None:
    """No file, no steps."""
    assert Script(scenarios.load("")).on(Happened("setup", 1)) == []


def test_all_mistakes_are_reported_at_once_with_their_paths() -> None:
    """Every wrong key, value, action and knob is named in one go."""
    with pytest.raises(ScenarioError) as raised:
        scenarios.load(
            """
            titel: x
            profile: {burst: fast, colour: red}
            steps:
              - when: {event: thunder}
                do: [{cut: {}}]
              - when: {event: setup, after: 5s}
                do: []
              - when: {turn: 1}
                do: [{stall: {}}, {explode: {}}]
              - {when: {event: setup}}
              - when: {event: setup, frame: many, colour: red, after: soon}
                do: [{cut: {}}]
            """
        )

    starts = [problem.split(":")[0] for problem in raised.value.problems]
    assert starts == [
        "titel", "profile.burst", "profile.colour", "steps[0].when.event", "steps[1].when", "steps[1].do",
        "steps[2].when", "steps[2].do[0].stall.for", "steps[2].do[1].explode", "steps[3]",
        "steps[4].when.frame", "steps[4].when.colour", "steps[4].when.after",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "line 1: not YAML"),
        ("- x", "must be an object with `steps`"),
        ("steps: 5", "steps: must be a list"),
        ("profile: 5", "profile: must be an object of knobs"),
        ("steps: [5]", "steps[0]: must be an object"),
        ("steps: [{when: 5, do: [{cut: }]}]", "steps[0].when: must be an object"),
        ("!!python/object/apply:os.system ['true']", "line 1: not YAML"),
    ],
)
def test_other_nonsense_is_reported_too(text: str, problem: str) -> None:
    """Whatever the file holds, the answer is a list of problems, and nothing in it is run."""
    with pytest.raises(ScenarioError) as raised:
        scenarios.load(text)

    assert raised.value.problems[0].startswith(problem)


def test_a_step_acts_when_all_its_conditions_hold_and_once() -> None:
    """Event, connection, turn and frame must all fit; the second match does nothing."""
    script = Script(scenarios.load(CUT_ONCE))
    fits = Happened("frame", 1, turn=2, frame=3)

    assert script.on(Happened("frame", 1, turn=2, frame=2)) == []
    assert script.on(Happened("frame", 2, turn=2, frame=3)) == []
    assert [action.kind for action in script.on(fits)] == ["cut"]
    assert script.on(fits) == []


def test_a_repeating_step_acts_every_time() -> None:
    """`repeat` acts at every match; the text is looked for whatever its case."""
    script = Script(scenarios.load(CUT_ONCE))

    for _ in range(3):
        assert [action.kind for action in script.on(Happened("text", 5, text="good bye!"))] == ["say", "close"]
    assert script.on(Happened("text", 5, text="hello")) == []


def test_a_step_can_wait_for_its_nth_match() -> None:
    """`count: 3` is the third match."""
    script = Script(scenarios.load("steps: [{when: {event: setup, count: 3}, do: [{cut: }]}]"))

    assert [len(script.on(Happened("setup", 1))) for _ in range(4)] == [0, 0, 1, 0]


def test_timed_steps_are_for_their_connection() -> None:
    """A step with `after` concerns only the connections it names, and acts once."""
    script = Script(scenarios.load(CUT_ONCE))

    assert script.timed(1) == []
    assert script.timed(2) == [(0.5, 2)]
    assert [action.kind for action in script.elapsed(2)] == ["silence"]
    assert script.elapsed(2) == []
