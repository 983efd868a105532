"""Texts from outside as they may stand in a line of a log: nothing in them begins a line, or steers a terminal."""

import re

MAX_CHARACTERS = 2000
"""A path of a client's message may be as long as the message."""

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
"""Controls (CR, LF, ESC, C1), separators of lines, marks of writing direction, what has no width, lone surrogates."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: str) -> str:
    """The text with what can't be seen spelled out, such as `\\x1b` or `\\u202e`, and cut where it is too long."""
    if len(text) > MAX_CHARACTERS:
        text = f"{text[:MAX_CHARACTERS]}… ({len(text)} characters)"
    return _UNPRINTABLE.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    character = match[0]
    number = ord(character)
    return _SHORT.get(character) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")
