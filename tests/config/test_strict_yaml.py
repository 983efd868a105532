"""YAML that is data and nothing else: what a file could do to its reader, and what it may say."""

import contextlib
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from relay.config import strict_yaml
from relay.config.strict_yaml import MAX_CHARACTERS, MAX_NODES, YamlError

BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 12)
)


@pytest.mark.threat("F5")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor for the tag"),
        ("a: !!python/name:os.system", "could not determine a constructor for the tag"),
        ("a: !!python/module:os", "could not determine a constructor for the tag"),
        ("a: !include /etc/passwd", "could not determine a constructor for the tag"),
        ("a: !ENV ${HOME}", "could not determine a constructor for the tag"),
        (BOMB, f"has more than {MAX_NODES} values"),
        (MERGED, f"has more than {MAX_NODES} values"),
        ("a: &a [*a]", "an alias stands for itself"),
        ("a: &a {b: {c: *a}}", "an alias stands for itself"),
        ("&a [x, *a]", "an alias stands for itself"),
        ("a: *nobody", "found undefined alias"),
        ("[" * 5000 + "]" * 5000, "nests too deeply"),
        ("{a: " * 5000 + "}" * 5000, "nests too deeply"),
        ("a: 1\na: 2", "line 2: not valid YAML: a key stands here twice"),
        ("a: {b: 1, c: 2, b: 3}", "a key stands here twice"),
        ("? [a]\n: 1", "found unhashable key"),
        ("a: " + "9" * 5000, "not valid YAML"),
        ("a: 2026-13-45", "not valid YAML"),
        ("a: !!bool maybe", "not valid YAML"),
        ("a: !!int ''", "not valid YAML"),
        ("a: !!timestamp soon", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("# " + "x" * MAX_CHARACTERS, "is larger than"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_could_harm_or_mislead_is_refused_at_once(text: str, words: str) -> None:
    """One line that says why, soon, and without what stands in the text."""
    began = time.process_time()
    with pytest.raises(YamlError) as refused:
        strict_yaml.load(text)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert time.process_time() - began < 2.0


def test_aliases_and_merges_may_be_used() -> None:
    """Within reason: the shipped file has them."""
    text = (
        "base: &base {a: 1, b: 2}\none: {<<: *base, b: 3}\ntwo: [*base, *base]\nthree: {<<: [*base], c: &c {<<: *base}}"
    )
    assert strict_yaml.load(text) == yaml.safe_load(text)
    flattened = "x: &x {a: 1}\ny: &y {<<: *x, a: 2}\nz: {<<: *y, a: 3}"
    assert strict_yaml.load(flattened)["z"] == {"a": 3}


TEXTS = st.text("aZ09 _-.:#{}[]&*!%@'\"é日", max_size=12)
"""Without the line separators that YAML itself folds."""
TREES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.threat("F5")
@given(TREES)
def test_plain_data_is_read_as_it_was_written(tree: Any) -> None:
    """Strictness takes nothing away."""
    assert strict_yaml.load(yaml.safe_dump(tree, allow_unicode=True)) == tree


@pytest.mark.threat("F5")
@given(st.text(max_size=60) | st.text(st.sampled_from("&*!<>[]{}:,-?|%@`'\"\n #abn0."), max_size=60))
def test_any_text_is_data_or_one_line(text: str) -> None:
    """Nothing else is ever raised."""
    with contextlib.suppress(YamlError):
        strict_yaml.load(text)
