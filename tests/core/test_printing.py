"""Texts that are about to be printed can't begin a line or steer a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.printing import MAX_CHARACTERS, plain

pytestmark = pytest.mark.threat("F1", "C9")

ANYTHING = st.text(st.characters(codec=None, categories=None, exclude_categories=[]), max_size=60)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("as it is: é 漢字 🎙", "as it is: é 漢字 🎙"),
        ('one\r\n{"event": "forged"}', 'one\\r\\n{"event": "forged"}'),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m\x85", "\\x9b31m\\x85"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("user\u202egnp.exe\u2066", "user\\u202egnp.exe\\u2066"),
        ("\ud800\udfff", "\\ud800\\udfff"),
        ("\x00\x7f\u200b\ufeff\U000e0041", "\\x00\\x7f\\u200b\\ufeff\\ue0041"),
    ],
)
def test_what_can_not_be_seen_is_spelled_out(text: str, printed: str) -> None:
    """Controls, line separators, marks of direction, lone surrogates."""
    assert plain(text) == printed


@given(ANYTHING)
def test_any_text_is_one_line_that_can_be_encoded(text: str) -> None:
    """Whatever it was."""
    printed = plain(text)

    assert printed.splitlines() in ([], [printed])
    printed.encode("utf-8")
    assert not {unicodedata.category(character) for character in printed} & {"Cc", "Cs", "Zl", "Zp"}
    directions = {unicodedata.bidirectional(character) for character in printed}
    assert not directions & {"RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI", "PDI", "PDF"}


def test_a_text_without_end_is_cut() -> None:
    """A path may be as long as the message that holds it."""
    assert len(plain("x" * 10**6)) < MAX_CHARACTERS + 50
    assert plain("x" * 10**6).endswith("(1000000 characters)")
