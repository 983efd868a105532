"""What the suite has to say of each case; everything else is a broken promise."""

from collections import Counter
from collections.abc import Sequence

from tests.autobahn.tool import Index

CORE = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
SIZES = ("9.*",)
COMPRESSION = ("12.*", "13.*")
COUNTS = {CORE: 247, SIZES: 54, COMPRESSION: 216}
"""How many cases there are, so that none is left out in silence."""

LATE = frozenset({"6.4.1", "6.4.2", "6.4.3", "6.4.4"})
"""Text that is no UTF-8 is found when the message is whole, not at its first wrong byte: NON-STRICT."""
INFORMATIONAL = frozenset({"7.1.6", "7.13.1", "7.13.2"})
"""The suite judges nothing here."""

REFUSED_WITHIN_MS = 5_000
GIVES_UP_AFTER_MS = 500
"""The suite's shortest patience, that of the cases of UTF-8."""

_SIZES_MIB = {1: (1 / 16, 1 / 4, 1, 4, 8, 16), 3: (4,) * 9, 5: (1,) * 6, 7: (1 / 16,) * 6}
"""The largest message of each case from 9.1.1 on; 9.2 repeats 9.1 with binary messages, and so on."""


def expected(case: str) -> tuple[str, str]:
    """`behavior` and `behaviorClose` of one case; there is no case that may fail."""
    if case in LATE:
        return "NON-STRICT", "OK"
    if case in INFORMATIONAL:
        return "INFORMATIONAL", "INFORMATIONAL"
    if case.startswith(("12.", "13.")):
        return "UNIMPLEMENTED", "OK"  # permessage-deflate is not offered and not accepted
    return "OK", "OK"


def broken(index: Index, groups: Sequence[tuple[str, ...]]) -> list[str]:
    """What differs from what is expected, one line for each case."""
    found = [
        f"case {case}: {', '.join(said)} and not {', '.join(expected(case))}"
        for case in sorted(index, key=_order)
        if (said := behaviour(index, case)) != expected(case)
    ]
    return [*_absent(index, groups), *found]


def given_up(index: Index) -> list[str]:
    """The cases that failed when the suite's patience may have run out, so that they have to be run again."""
    return [
        case
        for case, said in index.items()
        if said["duration"] >= GIVES_UP_AFTER_MS and behaviour(index, case) != expected(case)
    ]


def broken_at_limit(index: Index, limit_bytes: int) -> list[str]:
    """The same for the cases of sizes where messages above a limit have to be refused, with 1009 and soon."""
    found = _absent(index, [SIZES])
    for case in sorted(index, key=_order):
        if size_bytes(case) <= limit_bytes:
            if behaviour(index, case) != ("OK", "OK"):
                found.append(f"case {case}: {', '.join(behaviour(index, case))} though it is within the limit")
        elif index[case]["remoteCloseCode"] not in (1009, None):  # None: cut while the suite was still sending
            found.append(f"case {case}: closed with {index[case]['remoteCloseCode']} and not 1009")
        elif index[case]["duration"] > REFUSED_WITHIN_MS:
            found.append(f"case {case}: took {index[case]['duration']} ms to be refused")
    return found


def size_bytes(case: str) -> int:
    """The largest message of a case of sizes."""
    _, group, number = _order(case)
    return int(_SIZES_MIB[group - 1 + group % 2][number - 1] * 2**20)


def behaviour(index: Index, case: str) -> tuple[str, str]:
    """What the suite said."""
    return index[case]["behavior"], index[case]["behaviorClose"]


def summary(index: Index) -> str:
    """How often the suite said what."""
    counts = Counter(said["behavior"] for said in index.values())
    return ", ".join(f"{count} {behavior}" for behavior, count in counts.most_common())


def _absent(index: Index, groups: Sequence[tuple[str, ...]]) -> list[str]:
    wanted = sum(COUNTS[group] for group in groups)
    return [f"{len(index)} cases were run and not {wanted}"] if len(index) != wanted else []


def _order(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]
