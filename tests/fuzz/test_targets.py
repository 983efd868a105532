"""Each target under Hypothesis: its seeds as they are, and seeds that were cut, spliced and repeated."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


@st.composite
def spliced(draw: st.DrawFn, target: Target) -> bytes:
    """One of a target's seeds with up to eight pieces put in, overwritten or taken out."""
    data = draw(st.sampled_from(target.seeds))
    pieces = st.sampled_from(target.words) | st.binary(max_size=3) if target.words else st.binary(max_size=3)
    for _ in range(draw(st.integers(0, 8))):
        begin = draw(st.integers(0, len(data)))
        end = min(begin + draw(st.sampled_from([0, 0, 1, 2, 8, 64])), len(data))
        data = data[:begin] + draw(pieces | st.just(data[begin:end] * 2)) + data[end:]
    return data


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.threat(*target.rows)) for name, target in TARGETS.items()]
)
def test_no_bytes_break_a_promise(name: str) -> None:
    """The promises stand in each target's docstring."""
    target = TARGETS[name]
    for seed in target.seeds:
        target.run(seed)

    @settings(max_examples=2 * settings().max_examples)
    @given(spliced(target) | st.binary(max_size=200))
    def run(data: bytes) -> None:
        target.run(data)

    run()
