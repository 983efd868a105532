"""Whom a session is for, in an app backend's own words: they come back in usage records and go nowhere else.

Only a backend may say so: a client that presents a tenant's own key in a header and is no web page, or one that mints a
ticket, which then says it. What it says is opaque here; it is bounded, because it is kept for as long as the session
lasts and is written with each record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from aiohttp import hdrs
from multidict import CIMultiDictProxy

from relay.core.tickets import Grant

END_USER = "x-relay-end-user"
LABELS = "x-relay-labels"
MAX_CHARACTERS = 64
"""Of the end user, of a label's name and of its value."""
MAX_LABELS = 8


class LabelsError(Exception):
    """The headers break a rule, which the text names; nothing of what they hold is in it."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What a backend calls a session's user, and what else it wants back."""

    end_user: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


NO_LABELS = Labels()


def labels_of(headers: CIMultiDictProxy[str], grant: Grant | None) -> Labels:
    """What a handshake, or the ticket or token it holds, says of its end user. Raises LabelsError."""
    end_users, texts = headers.getall(END_USER, []), headers.getall(LABELS, [])
    if not end_users and not texts:
        return Labels(grant.end_user or None, grant.labels) if grant is not None else NO_LABELS
    if grant is not None:
        raise LabelsError(f"{END_USER} and {LABELS} need a tenant's own key: a ticket or a token says for whom it is")
    if hdrs.ORIGIN in headers:
        raise LabelsError(f"{END_USER} and {LABELS} are for app backends, not for web pages")
    if "x-goog-api-key" not in headers and hdrs.AUTHORIZATION not in headers:
        raise LabelsError(f"{END_USER} and {LABELS} need the key in a header")
    if len(end_users) > 1 or len(texts) > 1:
        raise LabelsError(f"{END_USER} and {LABELS} may come once each")
    return Labels(_end_user(end_users[0]) if end_users else None, _labels(texts[0]) if texts else {})


def _end_user(value: str) -> str:
    if not _short(value):
        raise LabelsError(f"{END_USER}: 1 to {MAX_CHARACTERS} printable characters")
    return value


def _labels(text: str) -> dict[str, str]:
    rule = f"{LABELS}: a JSON object of at most {MAX_LABELS} texts, names and texts of 1 to {MAX_CHARACTERS} characters"
    try:
        found = orjson.loads(text.encode("utf-8", "surrogateescape"))
    except orjson.JSONDecodeError:
        raise LabelsError(rule) from None
    if type(found) is not dict or len(found) > MAX_LABELS:
        raise LabelsError(rule)
    if not all(_short(name) and _short(value) for name, value in found.items()):
        raise LabelsError(rule)
    return found


def _short(value: object) -> bool:
    """Whether it is a text that fits, and that a terminal can show."""
    return type(value) is str and 0 < len(value) <= MAX_CHARACTERS and value.isprintable()
