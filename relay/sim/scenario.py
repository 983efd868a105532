"""Scripted behaviour: a small YAML file of steps, each a condition and what to do when it holds.

`load` reports every mistake at once, each with its dotted path. `Script` is one run of a scenario: it counts the
matches and says what to do; it does nothing itself and knows no socket and no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from relay.sim.actions import Action, parse_action, read_time
from relay.sim.profile import Profile, with_knobs

EVENTS: Mapping[str, str] = {
    "connect": "an upgrade request arrived",
    "setup": "a setup arrived, before it is looked at",
    "resumed": "a setup with a good handle was accepted",
    "clientContent": "a clientContent arrived",
    "realtimeInput": "a realtimeInput of any kind arrived",
    "audio": "a realtimeInput with audio arrived",
    "text": "a realtimeInput with text arrived",
    "toolResponse": "a toolResponse arrived",
    "contextUpdate": "a contextUpdate arrived",
    "frame": "a frame of an answer was sent",
    "turn_start": "an answer begins",
    "tool_call": "a toolCall was sent",
    "generation_complete": "generationComplete was sent",
    "turn_complete": "turnComplete was sent",
    "handle": "a new handle was sent",
    "go_away": "goAway was sent",
}
"""What a step can wait for."""


class ScenarioError(Exception):
    """A scenario can't be used; `problems` are all the mistakes, each with its dotted path."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Condition:
    """When a step acts: all that is given must hold."""

    event: str = ""
    after_s: float | None = None
    """Instead of an event: this long after a connection's setup was accepted."""
    connection: int = 0
    """Only on the simulator's n-th connection; 0: on any."""
    turn: int = 0
    """Only in the session's n-th answer; 0: in any."""
    frame: int = 0
    """Only at the n-th frame of the answer; 0: at any."""
    text: str = ""
    """Only if the message has this text in it, whatever the case."""
    count: int = 1
    """Act at the n-th match."""
    repeat: bool = False
    """Act at every match from then on."""


@dataclass(frozen=True, slots=True)
class Step:
    """A condition and its actions."""

    when: Condition
    do: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole script."""

    steps: tuple[Step, ...] = ()
    knobs: Mapping[str, Any] | None = None
    """Knobs of the profile that the scenario needs."""
    name: str = ""

    def applied_to(self, profile: Profile) -> Profile:
        """The profile with the scenario's knobs."""
        return with_knobs(profile, self.knobs or {})


@dataclass(frozen=True, slots=True)
class Happened:
    """Something a step may wait for."""

    event: str
    connection: int
    turn: int = 0
    frame: int = 0
    text: str = ""


def load(source: Path | str) -> Scenario:
    """Read a scenario from a file (a Path) or from YAML text.

    Raises ScenarioError with every mistake in it, OSError when the file can't be read.
    """
    text = source.read_text("utf-8") if isinstance(source, Path) else source
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ScenarioError([f"line {mark.line + 1}: not YAML" if mark else "not YAML"]) from None
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ScenarioError(["must be an object with `steps`"])
    problems = [f"{key}: no such key (name, profile, steps)" for key in tree if key not in ("name", "profile", "steps")]
    knobs = tree.get("profile") or {}
    problems += _check_knobs(knobs)
    entries = tree.get("steps") or []
    steps: list[Step] = []
    if not isinstance(entries, list):
        problems.append("steps: must be a list")
    else:
        for at, entry in enumerate(entries):
            step = _step(entry, f"steps[{at}]", problems)
            if step is not None:
                steps.append(step)
    if problems:
        raise ScenarioError(problems)
    return Scenario(tuple(steps), knobs, str(tree.get("name", "")))


class Script:
    """One run of a scenario over all connections of a simulator."""

    def __init__(self, scenario: Scenario) -> None:
        self._steps = scenario.steps
        self._matches = [0] * len(scenario.steps)

    def on(self, happened: Happened) -> list[Action]:
        """What to do now that this happened."""
        actions: list[Action] = []
        for at, step in enumerate(self._steps):
            if step.when.after_s is None and _holds(step.when, happened) and self._due(at):
                actions += step.do
        return actions

    def timed(self, connection: int) -> list[tuple[float, int]]:
        """The timed steps that concern a connection: seconds after its setup, and the step to give to `elapsed`."""
        return [
            (step.when.after_s, at)
            for at, step in enumerate(self._steps)
            if step.when.after_s is not None and step.when.connection in (0, connection)
        ]

    def elapsed(self, step: int) -> list[Action]:
        """What to do when the time of that timed step has come."""
        return list(self._steps[step].do) if self._due(step) else []

    def _due(self, at: int) -> bool:
        when = self._steps[at].when
        self._matches[at] += 1
        return self._matches[at] == when.count or (when.repeat and self._matches[at] > when.count)


def _holds(when: Condition, happened: Happened) -> bool:
    return (
        when.event == happened.event
        and when.connection in (0, happened.connection)
        and when.turn in (0, happened.turn)
        and when.frame in (0, happened.frame)
        and when.text.lower() in happened.text.lower()
    )


def _check_knobs(knobs: Any) -> list[str]:
    if not isinstance(knobs, dict):
        return ["profile: must be an object of knobs"]
    problems: list[str] = []
    for name, value in knobs.items():
        try:
            with_knobs(Profile(), {name: value})
        except ValueError as error:
            problems.append(f"profile.{error}")
    return problems


def _step(entry: Any, path: str, problems: list[str]) -> Step | None:
    if not isinstance(entry, dict) or set(entry) != {"when", "do"}:
        problems.append(f"{path}: must be an object with `when` and `do`")
        return None
    when = _condition(entry["when"], f"{path}.when", problems)
    if not isinstance(entry["do"], list) or not entry["do"]:
        problems.append(f"{path}.do: must be a list of actions")
        return None
    actions: list[Action] = []
    for at, value in enumerate(entry["do"]):
        action = parse_action(value, f"{path}.do[{at}]")
        if isinstance(action, Action):
            actions.append(action)
        else:
            problems += action
    return Step(when, tuple(actions)) if when is not None else None


def _condition(value: Any, path: str, problems: list[str]) -> Condition | None:
    if not isinstance(value, dict):
        problems.append(f"{path}: must be an object")
        return None
    before = len(problems)
    settled: dict[str, Any] = {}
    for name, given in value.items():
        if name == "after":
            try:
                settled["after_s"] = read_time(given)
            except ValueError as error:
                problems.append(f"{path}.after: {error}")
        elif name not in _CONDITION_TYPES:
            problems.append(f"{path}.{name}: no such condition ({', '.join(_CONDITION_TYPES)}, after)")
        elif type(given) is not _CONDITION_TYPES[name]:
            problems.append(f"{path}.{name}: must be {_CONDITION_TYPES[name].__name__}")
        elif name == "event" and given not in EVENTS:
            problems.append(f"{path}.event: no such event ({', '.join(EVENTS)})")
        else:
            settled[name] = given
    if len(problems) == before and ("event" in settled) == ("after_s" in settled):
        problems.append(f"{path}: give either `event` or `after`")
    return Condition(**settled) if len(problems) == before else None


_CONDITION_TYPES: Mapping[str, type] = {
    "event": str, "connection": int, "turn": int, "frame": int, "text": str, "count": int, "repeat": bool,
}  # fmt: skip
