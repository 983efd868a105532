"""What may be asked of the admin API: query parameters read without trust, each mistake named."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from relay.core.ledger import Query

MAX_DAYS = 400
MAX_ROWS = 2_000
"""In one answer: building one must not keep the sessions waiting."""
MAX_TENANT = 200


class BadParameterError(Exception):
    """A parameter that can't be used."""

    def __init__(self, parameter: str, words: str) -> None:
        super().__init__(f"{parameter}: {words}")
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of an answer to send."""

    offset: int = 0
    limit: int = MAX_ROWS


def only(parameters: Mapping[str, str], *known: str) -> None:
    """Nothing but these may be asked: a misspelt filter must not look like an answer. Raises BadParameterError."""
    for name in parameters:
        if name not in known:
            raise BadParameterError(name, f"is not a parameter of this address ({', '.join(known) or 'it has none'})")


def tenant_of(parameters: Mapping[str, str]) -> str | None:
    """The tenant that is asked about, or None for all. Raises BadParameterError."""
    tenant = parameters.get("tenant")
    if tenant is not None and not 0 < len(tenant) <= MAX_TENANT:
        raise BadParameterError("tenant", f"must have 1 to {MAX_TENANT} characters")
    return tenant


def usage_query(parameters: Mapping[str, str], today: str) -> tuple[Query, Page]:
    """What `/admin/usage` is asked: this month by day, unless said otherwise. Raises BadParameterError."""
    only(parameters, "tenant", "from", "to", "by", "offset", "limit")
    last = _day(parameters, "to", date.fromisoformat(today))
    first = _day(parameters, "from", min(last, date.fromisoformat(today)).replace(day=1))
    if first > last:
        raise BadParameterError("from", "must not be after `to`")
    if last - first >= timedelta(MAX_DAYS):
        raise BadParameterError("from", f"must be at most {MAX_DAYS} days before `to`")
    by = parameters.get("by", "day")
    if by not in {"day", "model", "session"}:
        raise BadParameterError("by", "must be day, model or session")
    query = Query(first.isoformat(), last.isoformat(), by, tenant_of(parameters))  # type: ignore[arg-type]  # just seen
    offset = _number(parameters, "offset", 0, 0, 10**9)
    return query, Page(offset, _number(parameters, "limit", MAX_ROWS, 1, MAX_ROWS))


def _day(parameters: Mapping[str, str], name: str, default: date) -> date:
    text = parameters.get(name)
    if text is None:
        return default
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text or not 2000 <= found.year <= 2999:
        raise BadParameterError(name, "must be a day of this millennium such as 2026-11-25")
    return found


def _number(parameters: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise BadParameterError(name, f"must be a whole number from {least} to {most}")
    return int(text)
