"""Logs: one line per event whatever is in it, no secret in any of them, and no flood."""

import asyncio
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from relay import log
from relay.core.ledger import LedgerError
from relay.core.secret import Secret
from relay.scrubber import Scrubber

SECRET = "AKanaryKey-0123456789-abcdef"
NASTY = f'{SECRET}\r\n{{"event": "forged"}}\x1b[31m\x9b\u2028\u202e\ud800'


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Put the process's logging back afterwards."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers, root.level, logging.raiseExceptions
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers, root.level, logging.raiseExceptions = handlers, level, raising
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(False)
    structlog.reset_defaults()


pytestmark = pytest.mark.usefixtures("restored_logging")


def configure(level: str = "debug", style: str = "json", throttle: log.Throttle | None = None) -> None:
    """As the relay does, with one secret."""
    log.configure(level, style, Scrubber([Secret(SECRET)]), throttle or log.Throttle())


def _structlog(text: str) -> None:
    structlog.get_logger().info(text, reason=text, nested={text: [text, (text,)]}, raw=text.encode("utf-8", "replace"))


def _traceback(text: str) -> None:
    try:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise ValueError(text) from error
    except ValueError as error:
        structlog.get_logger().error("crashed", exc_info=error)


def _group(text: str) -> None:
    structlog.get_logger().error("crashed", exc_info=ExceptionGroup(text, [ValueError(text), OSError(24, text)]))


def _standard(text: str) -> None:
    logging.getLogger("aiohttp.server").error("Error handling request %s", text, exc_info=ValueError(text))


def _mistaken(text: str) -> None:
    logging.getLogger("aiohttp.server").error("one %s and another %s", *[text])


def _asyncio(text: str) -> None:
    loop = asyncio.new_event_loop()
    loop.call_exception_handler({"message": text, "exception": ValueError(text), "future": text})
    loop.close()


def _uncaught(text: str) -> None:
    error = ValueError(text)
    sys.excepthook(ValueError, error, None)


def _thread(text: str) -> None:
    def die() -> None:
        raise ValueError(text)

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()


def _warning(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(text, ResourceWarning, stacklevel=1)


WAYS = [_structlog, _traceback, _group, _standard, _mistaken, _asyncio, _uncaught, _thread, _warning]


@pytest.mark.threat("A1", "A4", "F1", "C9")
@pytest.mark.parametrize("style", ["json", "console"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_into_the_log_is_one_clean_line(
    capsys: pytest.CaptureFixture[str], way: Callable[[str], None], style: str
) -> None:
    """Events, lines of the standard library, tracebacks of every origin: one line each, no secret, no control."""
    configure(style=style)
    way(NASTY)
    captured = capsys.readouterr()
    (line,) = captured.out.removesuffix("\n").split("\n")

    assert captured.err == ""
    assert SECRET[:12] not in line
    assert not {character for character in line if not character.isprintable()}
    if style == "json":
        assert json.loads(line)["level"] in {"info", "warning", "error", "critical"}


@pytest.mark.threat("A1", "A4")
def test_a_traceback_says_where_and_only_ours_say_what(capsys: pytest.CaptureFixture[str]) -> None:
    """The text of a foreign exception may quote a message, an address or a header."""
    configure()
    private = "what the caller said in confidence"
    try:
        try:
            raise OSError(24, private)
        except OSError as error:
            raise LedgerError("the ledger failed") from error
    except LedgerError as error:
        structlog.get_logger().error("crashed", exc_info=error)
    trace = json.loads(capsys.readouterr().out)["traceback"]

    assert private not in str(trace)
    assert trace[0] == "LedgerError: the ledger failed"
    assert trace[2] == "OSError 24"
    assert trace[1].endswith("test_a_traceback_says_where_and_only_ours_say_what")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.threat("F1")
@given(event=st.text(st.characters(codec=None), max_size=30), value=VALUES)
def test_any_value_makes_one_line_of_valid_json(event: str, value: Any) -> None:
    """Also what JSON has no word for: NaN, bytes, numbers as keys, a secret, an object."""
    out = io.StringIO()
    kept, sys.stdout = sys.stdout, out
    try:
        configure()
        structlog.get_logger().info(event, value=value, secret=Secret("x"), thing=object())
    finally:
        sys.stdout = kept
    line = out.getvalue()

    assert line.count("\n") == 1
    assert line.isascii()
    json.loads(line, parse_constant=pytest.fail)


def test_the_level_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """Less severe events are not written."""
    configure("warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("asyncio").info("quiet")
    structlog.get_logger().warning("loud")

    assert "quiet" not in (out := capsys.readouterr().out)
    assert "loud" in out


class Flood:
    """Lines of the log at instants that a test chooses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.suppressed = 0
        configure(throttle=log.Throttle(self._count, lambda: self.now))

    def _count(self) -> None:
        self.suppressed += 1


@pytest.mark.threat("F1")
@pytest.mark.parametrize(
    "line",
    [
        lambda _: structlog.get_logger().info("refused", status=401, cause="credential"),
        lambda _: structlog.get_logger().warning("dial failed", status=0, cause="handshake", session="s"),
        lambda _: structlog.get_logger().debug("violation", rule="not_json", path="x"),
        lambda _: structlog.get_logger().info("session", reason="bad_frame", model="", session="s"),
        lambda _: structlog.get_logger().info("usage", reason="bad_frame", model="", session="s"),
        lambda number: logging.getLogger("asyncio").error("socket.accept() out of system resource %s", number),
    ],
)
def test_a_flood_of_one_cause_is_thinned_and_counted(
    capsys: pytest.CaptureFixture[str], line: Callable[[int], None]
) -> None:
    """At 1,000 lines a second for a minute the log gets ten a second; the next line says how many are missing."""
    flood = Flood()
    for number in range(60_000):
        flood.now = number / 1000
        line(number)
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]

    assert len(lines) <= log.BURST + 60 * log.PER_SECOND
    assert flood.suppressed == 60_000 - len(lines)
    flood.now += 10.0
    line(0)
    lines.append(json.loads(capsys.readouterr().out))
    assert sum(found.get("suppressed", 0) for found in lines) == flood.suppressed
    assert all("_cause" not in found for found in lines)


@pytest.mark.threat("F1")
def test_causes_do_not_hide_each_other_and_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    """A flood of one leaves room for another; causes without end share one limit."""
    flood = Flood()
    for _ in range(1000):
        structlog.get_logger().info("refused", cause="credential")
    structlog.get_logger().info("refused", cause="origin")
    assert "origin" in capsys.readouterr().out
    for number in range(10_000):
        structlog.get_logger().info(f"invented {number}")

    assert len(capsys.readouterr().out.splitlines()) < 700
    assert flood.suppressed > 9000


def test_records_are_never_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """What sessions used, and how those ended that were set up, stands nowhere else."""
    Flood()
    for number in range(500):
        structlog.get_logger().info("session", model="models/m", reason="client_left", number=number)
        structlog.get_logger().info("usage", model="models/m", reason="client_left", number=number)

    assert len(capsys.readouterr().out.splitlines()) == 1000
