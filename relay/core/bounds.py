"""How much there is in a JSON text, known before it is parsed: what a parser builds costs a hundred times its bytes."""

_WINDOW_BYTES = 64 * 1024
_OPENERS_AND_COMMAS = b"{[,"


def holds_more(payload: bytes, members: int) -> bool:
    """Whether a JSON text surely holds more than so many members of objects and lists, together; costs no parsing.

    Each member but the first of its object or list has a comma, and each object and list is a member, save one: texts
    with more commas and brackets than this allows are too large, whatever the rest. In strings they do not count.
    Of a text that is no JSON the answer may be either.
    """
    most = 2 * members + 1
    if len(payload) <= most or not _more_marks(payload, most):
        return False
    if b"\\" in payload:
        payload = payload.replace(b"\\\\", b"").replace(b'\\"', b"")
    return _more_marks(b"".join(payload.split(b'"')[::2]), most)


def _more_marks(text: bytes, most: int) -> bool:
    """Count window by window: a giant is found out in its first part."""
    seen = 0
    for begin in range(0, len(text), _WINDOW_BYTES):
        window = text[begin : begin + _WINDOW_BYTES]
        seen += len(window) - len(window.translate(None, _OPENERS_AND_COMMAS))
        if seen > most:
            return True
    return False
