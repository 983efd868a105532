"""Gemini's `usageMetadata`: read without trust, and summed by what its numbers mean for a model.

Bills are made from the counts; details only say how a count divides into modalities, and need not sum to it: what they
leave over is kept under a name of its own. Upstream is not trusted: a number that can't be right is clamped and
flagged, and no report ever makes a total smaller. Nothing here knows prices or sessions.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What tokens were used for; also a metric label."""

    PROMPT = "prompt"
    """The whole context, counted again in every turn."""
    TOOL_USE = "tool_use"
    """Results of Google's own tools, read as input."""
    CACHED = "cached"
    """The part of the prompt that came from a cache; it is counted in `PROMPT` too."""
    RESPONSE = "response"
    THOUGHTS = "thoughts"
    """Thoughts stand beside the response, outside Google's total."""

    @property
    def direction(self) -> str:
        """`up` for what Gemini read, `down` for what it wrote."""
        return "down" if self in {Kind.RESPONSE, Kind.THOUGHTS} else "up"


class Modality(StrEnum):
    """What tokens encode; also a metric label."""

    TEXT = "text"
    AUDIO = "audio"
    IMAGE = "image"
    VIDEO = "video"
    DOCUMENT = "document"
    UNATTRIBUTED = "unattributed"
    """What a count has beyond its details, and modalities that are newer than this release."""


Cell = tuple[Kind, Modality]
Tokens = Mapping[Cell, int]
"""Token counts by kind and modality; what is not there is zero."""


class Flag(StrEnum):
    """What was wrong with a report."""

    NEGATIVE = "negative"
    """A count was below zero and was taken for zero."""
    TOO_LARGE = "too_large"
    """A count was beyond all reason and was clamped."""
    UNREADABLE = "unreadable"
    """A count was no number and was taken for absent."""
    COUNT_MISSING = "count_missing"
    """Details came without their count; they were summed instead."""
    DETAILS_EXCEED = "details_exceed"
    """Details summed to more than their count and were cut to it."""
    TOTAL_EXCEEDS = "total_exceeds"
    """The total named more tokens than all counts together; the rest was taken for unattributed prompt."""
    SHRANK = "shrank"
    """A running total became smaller and was ignored."""


class Semantics(StrEnum):
    """What the numbers of successive reports mean; which model does which is data (`relay.core.prices`)."""

    PER_TURN = "per_turn"
    """Each report with a prompt count is the receipt of one turn; those without are pieces of the next receipt."""
    CUMULATIVE = "cumulative"
    """Each report is the running total of its upstream leg."""
    PER_CHUNK = "per_chunk"
    """Each report adds to those before it."""


MAX_COUNT = 2**31 - 1
"""Google's counts are 32-bit integers."""
MAX_STEP_TOKENS = 2**21
"""The most one report may add to one kind: the largest context window that Gemini ever had is 2 M tokens."""


@dataclass(slots=True)
class Usage:
    """One `usageMetadata`: what it counts by kind and modality, remainders included, and what was wrong with it."""

    tokens: dict[Cell, int] = field(default_factory=dict)
    flags: list[Flag] = field(default_factory=list)


_SHAPE: tuple[tuple[Kind, tuple[str, ...], tuple[str, ...]], ...] = (
    (Kind.PROMPT, ("promptTokenCount",), ("promptTokensDetails",)),
    (Kind.TOOL_USE, ("toolUsePromptTokenCount",), ("toolUsePromptTokensDetails",)),
    (Kind.CACHED, ("cachedContentTokenCount",), ("cacheTokensDetails",)),
    (
        Kind.RESPONSE,
        ("responseTokenCount", "candidatesTokenCount"),
        ("responseTokensDetails", "candidatesTokensDetails"),
    ),
    (Kind.THOUGHTS, ("thoughtsTokenCount",), ()),
)
"""Each kind's count and details, in the spelling of the Gemini API and in that of Vertex AI."""

_MODALITIES = {modality.value.upper(): modality for modality in Modality}


def usage(body: Mapping[str, Any]) -> Usage:
    """Read one `usageMetadata`, whatever stands in it."""
    read = Usage()
    counted = 0
    for kind, count_names, details_names in _SHAPE:
        count = _first(body, count_names, read.flags)
        cells = _details(body, kind, details_names, read.flags)
        detailed = sum(cells.values())
        if count is None:
            if detailed:
                read.flags.append(Flag.COUNT_MISSING)
            count = min(detailed, MAX_COUNT)
        if detailed > count:
            read.flags.append(Flag.DETAILS_EXCEED)
            _cut(cells, count)
        elif detailed < count:
            rest = (kind, Modality.TEXT if kind is Kind.THOUGHTS else Modality.UNATTRIBUTED)  # thoughts are text
            cells[rest] = cells.get(rest, 0) + count - detailed
        read.tokens.update((cell, tokens) for cell, tokens in cells.items() if tokens)
        counted += count if kind is not Kind.CACHED else 0
    _explain_total(body, read, counted)
    return read


def of_kind(tokens: Tokens, kind: Kind) -> int:
    """The tokens of one kind, all modalities together."""
    return sum(count for (of, _), count in tokens.items() if of is kind)


def _explain_total(body: Mapping[str, Any], read: Usage, counted: int) -> None:
    """Take what only the total counts for prompt: a report must not be cheaper than its own total."""
    total = _count(body.get("totalTokenCount"), read.flags)
    if total is not None and total > counted:
        read.flags.append(Flag.TOTAL_EXCEEDS)
        rest = (Kind.PROMPT, Modality.UNATTRIBUTED)
        read.tokens[rest] = read.tokens.get(rest, 0) + total - counted


def _first(body: Mapping[str, Any], names: tuple[str, ...], flags: list[Flag]) -> int | None:
    for name in names:
        if name in body:
            return _count(body[name], flags)
    return None


def _count(value: object, flags: list[Flag]) -> int | None:
    if value is None:
        return None
    if type(value) is str and value.removeprefix("-").isdecimal() and len(value) <= 20:
        value = int(value)  # proto3 JSON may write an integer as a string
    elif type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        flags.append(Flag.UNREADABLE)
        return None
    if value < 0:
        flags.append(Flag.NEGATIVE)
        return 0
    if value > MAX_COUNT:
        flags.append(Flag.TOO_LARGE)
        return MAX_COUNT
    return value


def _details(body: Mapping[str, Any], kind: Kind, names: tuple[str, ...], flags: list[Flag]) -> dict[Cell, int]:
    cells: dict[Cell, int] = {}
    details = next((body[name] for name in names if name in body), None)
    for entry in details if type(details) is list else ():
        if type(entry) is dict:
            name = entry.get("modality")
            cell = (kind, _MODALITIES.get(name, Modality.UNATTRIBUTED) if type(name) is str else Modality.UNATTRIBUTED)
            cells[cell] = cells.get(cell, 0) + (_count(entry.get("tokenCount"), flags) or 0)  # 0 is left out
    return cells


def _cut(cells: dict[Cell, int], most: int) -> None:
    for cell, tokens in cells.items():
        cells[cell] = min(tokens, most)
        most -= cells[cell]


class Tally:
    """The sum of one session's reports, each counted once however often it is handed in."""

    __slots__ = ("_legs", "_semantics", "flags", "reports", "tokens")

    def __init__(self, semantics: Semantics = Semantics.PER_TURN) -> None:
        self.tokens: dict[Cell, int] = {}
        self.flags: Counter[Flag] = Counter()
        """How often a report was wrong, and in which way."""
        self.reports = 0
        """Reports that were counted."""
        self._semantics = semantics
        self._legs: dict[int, _Leg] = {}

    def add(self, report: Usage, leg: int, ordinal: int) -> bool:
        """Count the report that was message number `ordinal` of upstream leg `leg`; False when it was counted before.

        Messages of one leg arrive in order, so a number that is not higher than the last one is a repetition.
        """
        state = self._legs.setdefault(leg, _Leg())
        if ordinal <= state.ordinal:
            return False
        state.ordinal = ordinal
        self.reports += 1
        self.flags.update(report.flags)
        for cell, tokens in self._added(report.tokens, state).items():
            if tokens:
                self.tokens[cell] = self.tokens.get(cell, 0) + tokens
        return True

    def _added(self, report: dict[Cell, int], state: "_Leg") -> dict[Cell, int]:
        """What a report adds, by cell; per kind it is exact, whatever the modalities do."""
        if self._semantics is Semantics.CUMULATIVE:
            if any(of_kind(report, kind) < of_kind(state.seen, kind) for kind in Kind):
                self.flags[Flag.SHRANK] += 1
            added = _beyond(report, state.seen)
            state.see(added)  # in full: a leap that is clamped below must not be added again with each further report
            return self._clamped(added)
        if self._semantics is Semantics.PER_CHUNK:
            return self._clamped(report)
        if not of_kind(report, Kind.PROMPT):
            added = self._clamped(report)
            state.see(added)
            return added
        added = self._clamped(_beyond(report, state.seen))
        state.seen = {}  # the turn has its receipt
        return added

    def _clamped(self, added: dict[Cell, int]) -> dict[Cell, int]:
        clamped = dict(added)
        for kind in Kind:
            if of_kind(added, kind) > MAX_STEP_TOKENS:
                self.flags[Flag.TOO_LARGE] += 1
                cells = {cell: tokens for cell, tokens in added.items() if cell[0] is kind}
                _cut(cells, MAX_STEP_TOKENS)
                clamped.update(cells)
        return clamped


def _beyond(report: Tokens, seen: Tokens) -> dict[Cell, int]:
    """What a report has beyond what was counted already: exact for each kind, as good as may be for modalities."""
    added: dict[Cell, int] = {}
    for kind in Kind:
        left = of_kind(report, kind) - of_kind(seen, kind)
        cells = [cell for cell in report if cell[0] is kind] if left > 0 else []
        for cell in cells:
            added[cell] = min(max(report[cell] - seen.get(cell, 0), 0), left)
            left -= added[cell]
    return added


class _Leg:
    """What one upstream leg has reported so far."""

    __slots__ = ("ordinal", "seen")

    def __init__(self) -> None:
        self.ordinal = -1
        self.seen: dict[Cell, int] = {}
        """Counted already: the running total, or the pieces of the turn in progress."""

    def see(self, added: Tokens) -> None:
        for cell, tokens in added.items():
            self.seen[cell] = self.seen.get(cell, 0) + tokens
