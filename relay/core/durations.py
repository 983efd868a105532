"""Protobuf JSON durations, the form in which the Live API writes seconds."""


def duration_s(text: object) -> float | None:
    """Seconds of a protobuf JSON duration such as `"9.500s"`; None when it is not one."""
    if type(text) is not str or not text.endswith("s"):
        return None
    digits = text[:-1]
    if not digits.isascii() or not digits.replace(".", "", 1).removeprefix("-").isdigit():
        return None
    return float(digits)
