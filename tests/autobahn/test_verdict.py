"""What is made of the suite's words: nothing that fails, is missing or is tolerated by mistake passes."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.autobahn import running, verdict
from tests.autobahn.tool import Index
from tests.autobahn.verdict import CORE, SIZES

LIMIT_BYTES = 256 * 1024
GROUPS = {"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6}
SIZED = [f"{group}.{number}" for group, count in GROUPS.items() for number in range(1, count + 1)]


def _said(behavior: str = "OK", close: str = "OK", code: int | None = 1000, ms: int = 5) -> dict[str, Any]:
    return {"behavior": behavior, "behaviorClose": close, "remoteCloseCode": code, "duration": ms}


def _core(**replaced: dict[str, Any]) -> Index:
    """As many cases as the core has, all of them as they should be, save the one that is replaced."""
    special = [*verdict.LATE, *verdict.INFORMATIONAL]
    index = {case: _said(*verdict.expected(case)) for case in special}
    index |= {f"1.1.{number}": _said() for number in range(247 - len(special))}
    return index | {case.replace("_", "."): said for case, said in replaced.items()}


def test_as_expected_is_whole() -> None:
    """Nothing is broken where all is as it should be."""
    assert verdict.broken(_core(), [CORE]) == []


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("1_1_1", _said("FAILED")),
        ("1_1_1", _said(close="WRONG CODE")),
        ("1_1_1", _said("NON-STRICT")),
        ("1_1_1", _said("UNIMPLEMENTED")),
        ("6_4_1", _said("OK")),  # better than expected: then the list is to be shortened
        ("7_13_1", _said("FAILED", "INFORMATIONAL")),
    ],
)
def test_anything_else_is_broken(case: str, said: dict[str, Any]) -> None:
    """Behaviour and close both count, and the list of exceptions is strict in both directions."""
    (words,) = verdict.broken(_core(**{case: said}), [CORE])

    assert words.startswith(f"case {case.replace('_', '.')}: ")


async def test_cases_the_suite_gave_up_on_are_run_again_and_no_others() -> None:
    """A late case that is right the next time is right; one that is wrong each time, or wrong at once, is not."""
    late, wrong, at_once = _said("FAILED", ms=503), _said("FAILED", ms=1_004), _said("FAILED")
    runs: list[list[str]] = []

    async def run(cases: Sequence[str]) -> Index:
        runs.append(list(cases))
        return _core(**{"1_1_1": late, "1_1_2": wrong, "1_1_3": at_once}) if cases is CORE else _again(cases)

    def _again(cases: Sequence[str]) -> Index:
        return {case: wrong if case == "1.1.2" else _said() for case in cases}

    index = await running.patiently(run, CORE)

    assert runs == [list(CORE), ["1.1.1", "1.1.2"], ["1.1.2"]]
    assert [words.split(":")[0] for words in verdict.broken(index, [CORE])] == ["case 1.1.2", "case 1.1.3"]


def test_missing_cases_are_broken() -> None:
    """A suite that ran half of its cases proves nothing."""
    index = _core()
    del index["1.1.1"]

    assert verdict.broken(index, [CORE]) == ["246 cases were run and not 247"]
    assert verdict.broken_at_limit({}, LIMIT_BYTES) == ["0 cases were run and not 54"]


def _at_limit() -> Index:
    return {
        case: _said() if verdict.size_bytes(case) <= LIMIT_BYTES else _said("FAILED", "FAILED", 1009) for case in SIZED
    }


def test_the_sizes_are_those_of_the_suite() -> None:
    """As its descriptions give them."""
    assert len(SIZED) == verdict.COUNTS[SIZES]
    assert [verdict.size_bytes(case) for case in ("9.1.1", "9.2.2", "9.1.6")] == [2**16, 2**18, 2**24]
    assert [verdict.size_bytes(case) for case in ("9.3.9", "9.4.1", "9.6.6", "9.8.1")] == [2**22, 2**22, 2**20, 2**16]


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("9.1.2", _said("FAILED", "FAILED", 1009)),  # exactly the limit
        ("9.1.3", _said()),  # above it, and taken
        ("9.4.1", _said("FAILED", "FAILED", 1002)),
        ("9.4.1", _said("FAILED", "FAILED", 1009, ms=60_000)),
    ],
)
def test_what_is_too_big_is_refused_with_its_code_and_soon(case: str, said: dict[str, Any]) -> None:
    """And only that."""
    assert verdict.broken_at_limit(_at_limit(), LIMIT_BYTES) == []
    (words,) = verdict.broken_at_limit(_at_limit() | {case: said}, LIMIT_BYTES)
    assert words.startswith(f"case {case}: ")
