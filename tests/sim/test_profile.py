"""Knobs, presets and their command-line form."""

import argparse
from dataclasses import fields

import pytest

from relay.sim import profile as profiles
from relay.sim.profile import PRESETS, Profile, preset, with_knobs


def parsed(*arguments: str) -> Profile:
    """The profile that these command-line arguments make."""
    parser = argparse.ArgumentParser()
    profiles.add_arguments(parser)
    return profiles.from_arguments(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("text", "seconds"), [("540s", 540.0), ("50ms", 0.05), ("9m", 540.0), ("2h", 7200.0), ("1.5", 1.5), (" 3s ", 3.0)]
)
def test_durations_are_read_with_their_unit(text: str, seconds: float) -> None:
    """A duration is a number with ms, s, m or h, and plain seconds without."""
    assert seconds == profiles.duration_s(text)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "1d", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is an error, not a guess."""
    with pytest.raises(ValueError, match="duration"):
        profiles.duration_s(text)


def test_without_arguments_the_default_profile_comes_out() -> None:
    """The first preset is the defaults."""
    assert Profile() == parsed() == preset("gemini-3.8-live")


def test_every_knob_has_an_option_that_sets_it() -> None:
    """Each field can be set from the command line, to something that is not its default."""
    for knob in fields(Profile):
        option = profiles.option(knob.name)
        if isinstance(knob.default, bool):
            arguments = ["--no-" + option[2:] if knob.default else option]
        elif isinstance(knob.default, tuple):
            arguments = [option, "one", option, "two"]
        elif knob.metadata["choices"]:
            arguments = [option, next(c for c in knob.metadata["choices"] if c != knob.default)]
        else:
            arguments = [option, "77"]

        assert getattr(parsed(*arguments), knob.name) != knob.default, knob.name


def test_an_option_overrides_the_preset_and_leaves_the_rest_of_it() -> None:
    """`--profile vertex --go-away-after 5s` is the vertex profile with one change."""
    made = parsed("--profile", "vertex", "--go-away-after", "5s")

    assert preset("vertex", go_away_after_s=5.0) == made


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_made(name: str) -> None:
    """A preset names only knobs that exist, with values of their type."""
    assert preset(name) == with_knobs(Profile(), PRESETS[name][1])


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"nonsense": 1}, "nonsense: no such knob"),
        ({"burst": "fast"}, "burst: must be float"),
        ({"go_away_after_s": "soon"}, "go_away_after_s: not a duration"),
        ({"numbered": 1}, "numbered: must be bool"),
        ({"upgrade": "418"}, "upgrade: must be one of"),
        ({"go_away_count": True}, "go_away_count: must be int"),
        ({"refused_keys": "k"}, "refused_keys: must be tuple"),
    ],
)
def test_a_wrong_knob_is_named(knobs: dict[str, object], words: str) -> None:
    """A mistake in a scenario's knobs says which and what."""
    with pytest.raises(ValueError, match=words):
        with_knobs(Profile(), knobs)


def test_knobs_from_yaml_are_settled_into_their_types() -> None:
    """Text durations, whole numbers for seconds and lists for tuples are taken."""
    made = with_knobs(Profile(), {"go_away_after_s": "5s", "burst": 4, "refused_keys": ["k"]})

    assert (made.go_away_after_s, made.burst, made.refused_keys) == (5.0, 4.0, ("k",))
