"""How much a JSON text holds, told without parsing it: never too much where it is not, always where it clearly is."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.bounds import holds_more

STRINGS = st.text(st.sampled_from('a,{}[]"\\:é\n'), max_size=12)
TREES = st.recursive(
    st.none() | st.integers(-9, 9) | STRINGS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(STRINGS, inner, max_size=6),
    max_leaves=60,
)


def members(tree: Any) -> int:
    """All members of all objects and lists."""
    below = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return len(below) + sum(members(each) for each in below)


@given(TREES, st.booleans(), st.integers(0, 60))
def test_what_holds_no_more_is_never_said_to(tree: Any, ascii_only: bool, bound: int) -> None:
    """Whatever is in its strings; and what holds more than twice as much, and something, is found out."""
    payload = json.dumps(tree, ensure_ascii=ascii_only).encode()
    found = holds_more(payload, bound)

    assert not found or members(tree) > bound
    assert found or members(tree) <= 2 * bound + 2


@pytest.mark.threat("C8")
@pytest.mark.parametrize(
    ("payload", "more"),
    [
        (b"[" + b"1," * 20_001 + b"1]", True),
        (b"[" + b"1," * 9_998 + b"1]", False),
        (b"[" + b"{}," * 10_001 + b"{}]", True),
        (b"[" * 100_000, True),
        (b'["' + b",{[" * 100_000 + b'"]', False),
        (b'["' + b'\\",' * 100_000 + b'"]', False),
        (b'["\\\\",' + b"1," * 30_000 + b"1]", True),
        (b'"' * 100_000, False),
        (b"," * 100_000, True),
        (b"", False),
    ],
    ids=["list", "list within", "objects", "deep", "string", "escapes", "backslash", "quotes", "commas", "nothing"],
)
def test_strings_count_for_nothing_and_everything_else_for_what_it_is(payload: bytes, more: bool) -> None:
    """Text that a client may well send is not mistaken for structure, nor structure hidden behind an escape."""
    assert holds_more(payload, 10_000) is more


@pytest.mark.threat("C8", "C14")
def test_a_giant_is_found_out_in_its_first_part() -> None:
    """What a parser would need a second for takes no longer than counting the first windows of it."""
    giant = b"[" + b"{}," * 5_000_000 + b"{}]"

    def cost_s() -> float:
        begin = time.thread_time()
        assert holds_more(giant, 20_000)
        return time.thread_time() - begin

    assert min(cost_s() for _ in range(3)) < 0.05
