"""Percentiles and Markdown tables: how results are shown."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that so large a share of them does not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * len(ordered) * 1000) // 1000) - 1))]


def spread_ms(seconds: Sequence[float]) -> dict[str, float | None]:
    """Median, 99th percentile and largest, in milliseconds."""
    figures = {"p50": percentile(seconds, 0.5), "p99": percentile(seconds, 0.99), "max": max(seconds, default=None)}
    return {name: None if value is None else round(value * 1000, 1) for name, value in figures.items()}


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, padded so that it reads well on a terminal too."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def ms(seconds: float | None) -> str:
    """Whole milliseconds, or a dash."""
    return "–" if seconds is None else f"{seconds * 1000:.0f}"


def save(file: Path | None, result: Mapping[str, Any]) -> None:
    """Write the figures as JSON, if a file was asked for."""
    if file is not None:
        file.write_text(json.dumps(result, indent=1, default=str) + "\n")


def note(words: str) -> None:
    """Say how far it is, beside the result."""
    print(words, file=sys.stderr, flush=True)
