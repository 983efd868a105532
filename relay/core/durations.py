"""Protobuf JSON durations, the form in which the Live API writes seconds."""

import re

_DURATION = re.compile(r"(-?[0-9]{1,12}(?:\.[0-9]{1,9})?)s")
"""Twelve digits reach protobuf's own limit of 10,000 years, nine are its nanoseconds."""


def duration_s(text: object) -> float | None:
    """Seconds of a protobuf JSON duration such as `"9.500s"`; None when it is not one."""
    match = _DURATION.fullmatch(text) if type(text) is str else None
    return float(match[1]) if match else None
