"""The manual is equal to the code."""

from dataclasses import fields
from pathlib import Path

import pytest

from relay.sim import profile as profiles
from relay.sim import scenario
from relay.sim.actions import ACTIONS, REQUIRED
from relay.sim.families import Backend, models_of
from relay.sim.profile import PRESETS, Profile
from relay.sim.scenario import EVENTS

MANUAL = (Path(profiles.__file__).parents[2] / "docs" / "simulator.md").read_text("utf-8")


def shown(value: object) -> str:
    """A default as the manual writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def knob_row(name: str) -> str:
    """The manual's row for a knob."""
    knob = next(knob for knob in fields(Profile) if knob.name == name)
    choices = knob.metadata["choices"]
    words = knob.metadata["help"] + (f" ({', '.join(choices)})" if choices else "")
    unit = " s" if isinstance(knob.default, float) and name.endswith("_s") else ""
    return f"| `{profiles.option(name)}` | {shown(knob.default)}{unit} | {words} |"


def action_row(kind: str) -> str:
    """The manual's row for an action."""
    words, wanted = ACTIONS[kind]
    given = [
        f"`{name}` ({argument.kind}{'' if argument.default is REQUIRED else f', {shown_default(argument.default)}'})"
        for name, argument in wanted.items()
    ]
    return f"| `{kind}` | {', '.join(given)} | {words} |"


def shown_default(value: object) -> str:
    """An argument's default as YAML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else f"{value}" if value != "" else "empty"


@pytest.mark.parametrize("name", [knob.name for knob in fields(Profile)])
def test_every_knob_is_in_the_manual(name: str) -> None:
    """Option, default and words, as they are."""
    assert knob_row(name) in MANUAL


@pytest.mark.parametrize("kind", ACTIONS)
def test_every_action_is_in_the_manual(kind: str) -> None:
    """Name, arguments and words, as they are."""
    assert action_row(kind) in MANUAL


def test_every_preset_event_and_model_is_in_the_manual() -> None:
    """Presets, a scenario's events, and the models that are served."""
    for name, (words, _) in PRESETS.items():
        assert f"| `{name}` | {words} |" in MANUAL
    for name, words in EVENTS.items():
        assert f"| `{name}` | {words} |" in MANUAL
    for backend in Backend:
        assert all(f"`{model}`" in MANUAL for model in models_of(backend))


def test_the_manual_has_no_knob_or_action_too_many() -> None:
    """As many rows as there are knobs and actions."""
    assert MANUAL.count("| `--") == len(fields(Profile))
    for row in [line for line in MANUAL.splitlines() if line.startswith("| `")]:
        name = row.split("`")[1]
        known = name.startswith("--") or name in {*ACTIONS, *EVENTS, *PRESETS}
        assert known or name.startswith(("GET", "POST", "models/", "gemini")) or "." in name, name


def test_the_manuals_scenarios_can_be_loaded() -> None:
    """Each YAML block in the manual is a valid scenario."""
    blocks = MANUAL.split("```yaml\n")[1:]
    loaded = [scenario.load(block.split("```")[0]) for block in blocks]

    assert loaded
    assert all(one.steps for one in loaded)
