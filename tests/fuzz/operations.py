"""What the operator writes and reads, and what other processes hand over."""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from relay.config.loading import ConfigError, load, shown
from relay.config.units import Bytes, Seconds
from relay.core.closing import MAX_REASON_BYTES, Close, CloseReason, cut, of_client_close, of_upstream_close
from relay.core.durations import duration_s
from relay.core.ledger import LedgerError, Used
from relay.core.secret import Secret
from relay.core.tickets import Allotment, Stub
from relay.log import printable, traced
from relay.net.admin_query import MAX_ROWS, BadParameterError, only, tenant_of, usage_query
from relay.net.report import Report
from relay.scrubber import Scrubber
from relay.store.redis import RedisLedger, _amounts, _answer
from relay.store.redis_tickets import RedisTickets
from tests.fuzz.target import JSON_WORDS, Target, at_once, text_of

CANARY = "canary-7f3a-google-key-0123456789"
_SCRUBBER = Scrubber([Secret(CANARY)])
_BEGINNING = CANARY[:12]


def close_reasons(data: bytes) -> None:
    """Whatever Gemini says at the end, a client gets our own words, short enough and whole characters.

    What the log gets of it is one printable line without the key that it may echo.
    """
    reason = data.decode("utf-8", "replace")
    meaning = of_upstream_close(data[0] * 20 if data else 1000, reason)
    assert meaning in CloseReason
    assert of_client_close(data[0] * 20 if data else 1000) in CloseReason
    for text in (Close(meaning).text, Close(meaning, reason).text, Close(meaning, text_of(data)).text, cut(reason, 9)):
        assert len(text.encode()) <= MAX_REASON_BYTES
    assert reason not in Close(meaning).text or len(reason) < 40
    report = cast(Report, type("Log", (), {"scrubber": _SCRUBBER})())
    words = Report._words(report, f"{reason[:40]}{CANARY}{reason[40:]}")
    assert words.isprintable()
    assert _BEGINNING not in words


def log_lines(data: bytes) -> None:
    """One event is one line of JSON, whatever stands in it, and no secret is in it, whole or in part."""
    text = text_of(data)
    try:
        tree: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        tree = text
    try:
        raise ValueError(text + CANARY)
    except ValueError as error:
        event: dict[str, Any] = {"event": text, "tree": tree, "echo": [f"{text}{CANARY}{text}"], "exc_info": error}
    event = dict(printable(None, "info", _SCRUBBER(None, "info", traced(None, "info", event))))
    line = structlog.processors.JSONRenderer()(None, "info", event)
    assert isinstance(line, str)
    assert "\n" not in line
    assert "\r" not in line
    assert line.isascii()
    assert json.loads(line).keys() == {"event", "tree", "echo", "traceback"}
    assert _BEGINNING not in line


_FILE = Path(tempfile.gettempdir()) / f"relay-fuzz-{os.getpid()}.yaml"


def configuration(data: bytes) -> None:
    """A file is a configuration or a list of one-line problems; the one key that it takes is not shown anywhere."""
    _FILE.write_bytes(data)
    try:
        config = load(_FILE, {"KEY": CANARY}, [text_of(data[-40:]).partition("\n")[2]] if data.endswith(b"=1") else [])
    except ConfigError as error:
        assert error.problems
        assert not any("\n" in problem for problem in error.problems), error.problems
        assert CANARY not in str(error) or not _takes_key_once(data)
    else:
        json.dumps(config.model_dump(mode="json"))
        if _takes_key_once(data):
            assert CANARY not in shown(config)
            assert CANARY not in repr(config)
    finally:
        _FILE.unlink()


def _takes_key_once(data: bytes) -> bool:
    """Whether the environment's key stands where a key belongs and nowhere else."""
    return data.count(b"${KEY") == data.count(b'{api_key: "${KEY}"}') == 1


def quantities(data: bytes) -> None:
    """Durations and sizes are finite and not negative, or refused; shown and read again they are the same."""
    text = text_of(data)
    seconds = duration_s(text)
    assert seconds is None or abs(seconds) < 1e12
    for kind, adapter in _QUANTITIES.items():
        try:
            value = adapter.validate_python(text)
        except ValidationError:
            continue
        assert 0 <= value <= 1e15
        again = adapter.validate_python(adapter.dump_python(value))
        assert again == value if kind == "bytes" else abs(again - value) <= 1e-9 * value + 1e-9, (value, again)


_QUANTITIES: dict[str, TypeAdapter[Any]] = {"seconds": TypeAdapter(Seconds), "bytes": TypeAdapter(Bytes)}


def admin_queries(data: bytes) -> None:
    """A query is within its bounds, or one parameter of it is named as wrong."""
    parameters = dict(parse_qsl(text_of(data), keep_blank_values=True))
    try:
        query, page = usage_query(parameters, "2026-11-25")
    except BadParameterError as error:
        assert str(error).startswith(error.parameter)
        assert error.parameter in {*parameters, "from"}
    else:
        assert query.first <= query.last
        assert "2000-01-01" <= query.first
        assert query.last < "3000"
        assert query.by in {"day", "model", "session"}
        assert page.offset >= 0
        assert 1 <= page.limit <= MAX_ROWS
    for check in (tenant_of, only):
        try:
            check(parameters)
        except BadParameterError as error:
            assert error.parameter in parameters


class _Poisoned:
    """A Redis that answers with whatever somebody wrote into it."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def ask(self, _command: Any) -> Any:
        return self._answer


def redis_values(data: bytes) -> None:
    """What Redis holds is a value of its kind or a failure of the store, never anything else."""
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if type(answer) is list and all(type(each) is str for each in answer):
        if len(answer) >= 6:  # the six totals; the rest of an answer is a script's own
            _fails_cleanly(lambda: _answer(["", "0", "1795000000.5", *answer[:6]])[2], Used)
        _fails_cleanly(lambda: at_once(_tickets(answer).spend("ab", "s1", Allotment())), Allotment)
    elif type(answer) is dict and all(type(each) is str for each in answer.values()):
        _fails_cleanly(lambda: _amounts(answer), dict)
        _fails_cleanly(lambda: at_once(_tickets(answer).find("ab")), Stub | None)


def _tickets(answer: Any) -> RedisTickets:
    return RedisTickets(cast(RedisLedger, _Poisoned(answer)))


def _fails_cleanly(read: Any, kind: Any) -> None:
    with contextlib.suppress(LedgerError):
        assert isinstance(read(), kind)


_SMALL = b"""upstream: {api_key: "${KEY}"}
policies: {any: {model: models/any, allow: [tools]}}
tenants: [{id: acme, key_files: [/nowhere], policy: any}]
limits: {max_message: 256KiB, close_timeout: 2s}
"""
_FULL = b"""listen: {port: 0, path_prefix: /gemini}
upstream: {vertex: {project: p, location: us-central1, access_token_file: /nowhere}}
policies:
  any: &any {model: {default: models/any, allow: ["*"], aliases: {fast: models/any}}, enforce: {tools: []}}
  same: {<<: *any, on_violation: strip, messages: {roles: [user], parts: [text]}}
tenants: [{id: a, keys: ["sha256:%s"], policy: same, origins: ["https://a.example"], quotas: {sessions: 3}}]
usage: {file: {path: usage.jsonl}}
""" % (b"0" * 64)

OPERATIONS = (
    Target(
        close_reasons,
        ("A2",),
        (b"API key not valid", b"models/x is not found", "Deadline expired ü€😀".encode() * 9, b"Bearer abcdefghijkl"),
        (b"AIza", b"ya29.", b"eyJ", b"\r\n", b"\x1b[31m", "😀".encode(), b"\xed\xa0\x80", b"\x00"),
    ),
    Target(log_lines, ("A1", "F1"), (b'{"a":["b",1.5,null]}', b"\r\n\x1b[0m", "\u2028😀".encode()), JSON_WORDS),
    Target(
        configuration,
        ("F5",),
        (_SMALL, _FULL, b"a: &a {b: *a}", b"[" * 300, b"a: 2026-02-31"),
        (
            b"${KEY}",
            b"${NO:-x}",
            b"&a ",
            b"*a",
            b"<<: ",
            b"!!python/object:os.system ",
            b"- ",
            b": ",
            b"\n  ",
            b"[",
            b"{",
            b"=1",
        ),
    ),
    Target(
        quantities,
        (),
        (b"250ms", b"10s", b"1.5 h", b"256KiB", b"16MiB", b"9.5s", b"-0.5s"),
        (b"KiB", b"GiB", b"d", b".", b"9" * 40),
    ),
    Target(
        admin_queries,
        ("F3",),
        (b"tenant=acme&from=2026-11-01&to=2026-11-30&by=day&offset=0&limit=10", b"by=model", b"to=2026-11-31"),
        (
            b"&",
            b"=",
            b"%00",
            b"tenant=",
            b"from=",
            b"to=",
            b"by=session",
            b"limit=",
            b"9999-12-31",
            b"-W01-1",
            b"0001-01-01",
        ),
    ),
    Target(
        redis_values,
        ("E10",),
        (
            b'["1","2","3","4","5","6"]',
            b'["[1.5,2,3]","[0,0,0]"]',
            b'{"record":"{}","uses":"1","new_until":"1795000000.5","expires_at":"1795000000","issued_at":"1"}',
            b'{"tokens":"5","#sequence":"7"}',
        ),
        (*JSON_WORDS, b'"nan"', b'"inf"', b'"1e999"', b'"-1"', b'"' + b"9" * 5000 + b'"', b'"record"', b'"uses"'),
    ),
)
