"""`relay sessions` and `relay usage`: what a running relay's admin API says, as a table, JSON or CSV.

Talks to the API as any other client would, so it works against a relay on another machine as well.
"""

import csv
import io
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPException, HTTPMessage
from typing import IO, Any

from relay.core.secret import Secret

TIMEOUT_S = 10.0
MAX_ANSWER = 64 * 1024**2

EXIT_UNAVAILABLE = 69  # sysexits.h: EX_UNAVAILABLE
EXIT_REFUSED = 77  # sysexits.h: EX_NOPERM
EXIT_USAGE = 64  # sysexits.h: EX_USAGE


class ConsoleError(Exception):
    """What was asked can't be answered: words for the operator, and the process's exit code."""

    def __init__(self, words: str, exit_code: int) -> None:
        super().__init__(words)
        self.exit_code = exit_code


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token somewhere else."""

    def redirect_request(
        self, _req: Any, _fp: IO[bytes], _code: int, _msg: str, _headers: HTTPMessage, _newurl: str
    ) -> None:
        return None


def opener() -> urllib.request.OpenerDirector:
    """Opens addresses without following redirects, and without the environment's proxies."""
    return urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Client:
    """A running relay's admin API."""

    url: str
    token: Secret

    def ask(self, path: str, parameters: Mapping[str, str | None], method: str = "GET") -> dict[str, Any]:
        """The answer to one request. Raises ConsoleError."""
        given = {name: value for name, value in parameters.items() if value is not None}
        query = f"?{urllib.parse.urlencode(given)}" if given else ""
        try:
            request = urllib.request.Request(  # noqa: S310 - the operator's own address
                self.url.rstrip("/") + path + query,
                method=method,
                headers={"Authorization": f"Bearer {self.token.reveal()}"},
            )
            with opener().open(request, timeout=TIMEOUT_S) as response:
                body = response.read(MAX_ANSWER)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from None
        except (OSError, HTTPException, ValueError) as error:
            raise self._unreachable(error) from None
        answer = _parsed(body)
        if answer is None:
            raise ConsoleError(f"what answers at {self.url} is not a relay's admin listener", EXIT_UNAVAILABLE)
        return answer

    def _refused(self, error: urllib.error.HTTPError) -> ConsoleError:
        answer = _parsed(error.read(MAX_ANSWER)) or {}
        told = answer.get("error")
        words = told.get("message") if isinstance(told, dict) else None
        if error.code == 401:
            return ConsoleError("the relay refused the token: is it the one of admin.token?", EXIT_REFUSED)
        if words is None and error.code == 404:
            return ConsoleError(
                f"there is no admin API at {self.url}: set admin.token in the relay's configuration", EXIT_UNAVAILABLE
            )
        exit_code = EXIT_USAGE if error.code in {400, 404} else EXIT_UNAVAILABLE
        return ConsoleError(printable(str(words or f"the relay answered {error.code}")), exit_code)

    def _unreachable(self, error: Exception) -> ConsoleError:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        words = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause) or type(cause).__name__
        hint = "is the relay running, and is this the address of its admin listener?"
        return ConsoleError(f"{self.url} can't be reached: {printable(words)}; {hint}", EXIT_UNAVAILABLE)


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    show: Callable[[Mapping[str, Any]], str]
    right: bool = False
    total: Callable[[Sequence[Mapping[str, Any]]], str] | None = None


def sessions(client: Client, tenant: str | None, form: str) -> str:
    """Live and parked sessions as `table`, `json` or `csv`. Raises ConsoleError."""
    answer = client.ask("/admin/sessions", {"tenant": tenant})
    if form == "json":
        return json.dumps(answer, indent=2)
    rows = sorted(answer["sessions"], key=lambda row: (row["tenant"], -row["age_s"]))
    if form == "csv":
        return as_csv([_flat(_flat(row, "labels"), "tokens_by_kind") for row in rows], answer["currency"])
    if not rows:
        return "no sessions"
    columns = _session_columns(answer["currency"])
    if any(row["end_user"] or row["labels"] for row in rows):
        columns.insert(2, Column("USER", _user))
    shown = table(columns, rows)
    if answer["unlisted"]:
        shown += f"\n{answer['unlisted']:,} more, which other replicas only count"
    return shown if answer["current"] else f"{shown}\nother replicas can't be asked now"


def end(client: Client, session_id: str) -> str:
    """End a session. Raises ConsoleError."""
    answer = client.ask(f"/admin/sessions/{urllib.parse.quote(session_id, safe='')}", {}, "DELETE")
    if answer["state"] == "ending":
        return f"session {session_id} is another replica's, which ends it within seconds"
    return f"session {session_id} has ended"


def usage(client: Client, parameters: Mapping[str, str | None], form: str) -> str:
    """What was used as `table`, `json` or `csv`; every page of it. Raises ConsoleError."""
    answer = client.ask("/admin/usage", parameters)
    rows: list[dict[str, Any]] = answer["rows"]
    following = answer["next_offset"]
    while following is not None:
        page = client.ask("/admin/usage", {**parameters, "offset": str(following)})
        rows += page["rows"]
        following = page["next_offset"]
    if form == "json":
        return json.dumps({**answer, "rows": rows, "next_offset": None}, indent=2)
    if form == "csv":
        return as_csv([_flat(row, "amounts") for row in rows], answer["currency"])
    title = f"{answer['from']} to {answer['to']}, prices of {answer['prices_as_of']}"
    if not rows:
        return f"{title}\nnothing was used"
    return f"{title}\n{table(_usage_columns(answer['by'], answer['currency']), rows)}"


def _user(row: Mapping[str, Any]) -> str:
    """For whom a session is: the user's id, and the labels behind it."""
    labels = " ".join(f"{name}={value}" for name, value in sorted(row["labels"].items()))
    return " ".join(filter(None, (row["end_user"] or "–", labels)))


def _session_columns(currency: str) -> list[Column]:
    return [
        Column("SESSION", lambda row: row["id"], total=lambda rows: f"{len(rows)} session{'s' * (len(rows) != 1)}"),
        Column("TENANT", lambda row: row["tenant"]),
        Column("MODEL", lambda row: (row["model"] or "–").removeprefix("models/")),
        Column("STATE", lambda row: row["state"].replace("_", " ")),
        Column("AGE", lambda row: duration(row["age_s"]), right=True),
        _number("TOKENS", "tokens"),
        Column(
            currency,
            lambda row: amount(row["cost"]),
            right=True,
            total=lambda rows: amount(sum((Decimal(row["cost"]) for row in rows), Decimal(0))),
        ),
        _number("HANDOVERS", "handovers"),
        _number("TURNS", "turns"),
        _number("UP", "frames_up"),
        _number("DOWN", "frames_down"),
    ]


def _usage_columns(by: str, currency: str) -> list[Column]:
    return [
        Column("TENANT", lambda row: row["tenant"], total=lambda _: "total"),
        Column(by.upper(), lambda row: row[by]),
        _number("SESSIONS", "sessions"),
        _number("TURNS", "turns"),
        _number("TOKENS", "tokens"),
        Column(
            "AUDIO",
            lambda row: duration(row["audio_s"]),
            right=True,
            total=lambda rows: duration(sum(row["audio_s"] for row in rows)),
        ),
        Column(
            currency,
            lambda row: amount(row["cost"]),
            right=True,
            total=lambda rows: amount(sum((Decimal(row["cost"]) for row in rows), Decimal(0))),
        ),
    ]


def _number(title: str, name: str) -> Column:
    return Column(
        title, lambda row: f"{row[name]:,}", right=True, total=lambda rows: f"{sum(row[name] for row in rows):,}"
    )


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows under their titles, with a line of totals where there is more than one row."""
    lines = [[column.title for column in columns]]
    lines += [[printable(column.show(row)) for column in columns] for row in rows]
    if len(rows) > 1:
        lines.append([column.total(rows) if column.total else "" for column in columns])
    widths = [max(len(line[number]) for line in lines) for number in range(len(columns))]

    def laid_out(line: Sequence[str]) -> str:
        cells = zip(line, widths, columns, strict=True)
        return "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width) for cell, width, column in cells
        ).rstrip()

    shown = [laid_out(line) for line in lines]
    rule = "─" * max(map(len, shown))
    shown.insert(1, rule)
    if len(rows) > 1:
        shown.insert(-1, rule)
    return "\n".join(shown)


def as_csv(rows: Sequence[Mapping[str, Any]], currency: str) -> str:
    """Rows with every column that any of them has; what a row has not is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*names, "currency"], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "currency": currency} for row in rows)
    return text.getvalue().rstrip("\n")


def _flat(row: Mapping[str, Any], inner: str) -> dict[str, Any]:
    """A row in which what stands under `inner` has columns of its own, after the others and in a fixed order."""
    return {name: value for name, value in row.items() if name != inner} | {
        f"{inner}.{name}": count for name, count in sorted(row[inner].items())
    }


def duration(seconds: float) -> str:
    """Such as 0:07, 12:34 or 5:06:07."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def amount(money: Decimal | str) -> str:
    """An amount of money to a ten-thousandth; CSV and JSON have all digits."""
    return f"{Decimal(money):,.4f}"


def printable(text: str) -> str:
    """Text that can do nothing to a terminal: a model's name is a client's word."""
    return "".join(character if character.isprintable() else "?" for character in text)
