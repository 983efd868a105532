"""Protections switched off: the list fits the code, and what nobody misses is said."""

from pathlib import Path

import pytest
import yaml

from proof.client import ProofError
from proof.mutating import Exit, Mutation, Verdict, broken, listed, run

ROOT = Path(__file__).parent.parent.parent
MUTATIONS = listed()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.protection)
def test_a_mutation_fits_the_code_as_it_is(mutation: Mutation) -> None:
    """It finds its text once, and changes it to something that Python takes; its tests are where it says."""
    path = ROOT / mutation.file
    text = path.read_text()
    mutated = mutation.mutated(text)
    assert mutated != text
    if path.suffix == ".py":
        compile(mutated, mutation.file, "exec")
    for test in mutation.tests:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0].rpartition('::')[2]}(" in (ROOT / file).read_text()


def test_a_text_that_is_not_there_once_is_a_mistake() -> None:
    """Else a mutation could change nothing, or something else."""
    mutation = Mutation((), "it", "x.py", "a", "b", ("tests",))
    for text in ("", "aa"):
        with pytest.raises(ProofError, match=f"{len(text)} × in x.py"):
            mutation.mutated(text)


async def test_what_nobody_misses_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that no test notices is reported; one that a test notices is not."""
    test = "tests/proof/test_figures.py::test_percentiles_are_values_that_occurred"
    common = {"rows": ["X1"], "file": "proof/figures.py", "tests": [test]}
    entries = [
        common | {"protection": name, "replace": old, "with": new}
        for name, old, new in (
            ("rank", "return ordered[min(", "return ordered[0 * min("),
            ("docstring", "Whole milliseconds, or a dash.", "Milliseconds, or a dash."),
        )
    ]
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(entries))
    monkeypatch.setattr("proof.mutating.listed", lambda: listed(tmp_path))
    verdicts = await run([], 2)
    assert [verdict.code for verdict in verdicts] == [Exit.FAILED, Exit.PASSED]
    (words,) = broken(verdicts)
    assert words.startswith("docstring is not missed")
    with pytest.raises(ProofError, match="no mutation is called nothing"):
        await run(["nothing"], 1)


def test_a_collection_that_breaks_is_no_notice() -> None:
    """pytest's other exit codes don't count: the test has to run, and to fail."""
    mutation = Mutation((), "it", "x.py", "a", "b", ("tests",))
    assert [Verdict(mutation, code, "").noticed for code in (0, 1, 2, 4, 5, -1)] == [False, True] + [False] * 4
