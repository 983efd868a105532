"""structlog set-up: JSON lines on standard output, or coloured ones on a terminal; one rich line per session.

Everything that is logged, by the standard library's loggers too, takes one way out: floods are thinned (`Throttle`),
exceptions lose their texts (`traced`), known secrets are masked (`Scrubber`), and what would start a new line, or
steer a terminal, is spelled out (`plain`).
"""

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

from relay.core.printing import plain
from relay.scrubber import Scrubber

PER_SECOND = 10.0
"""Lines of one cause in a second, over a long time; the rest are counted."""
BURST = 100.0
"""So many may come at once."""
_MAX_CAUSES = 512
_RECORDS = frozenset({"budget", "handover", "ticket minted", "revoked", "session ended by the operator"})
_RECORDS_IF_SET_UP = frozenset({"session", "usage"})
"""Lines that are the only trace of what they say; none is about a session whose setup was never accepted."""
_CAUSE = "_cause"
_MAX_TRACE = 60


class Throttle:
    """Lets `PER_SECOND` lines of one cause through; the next one that passes says how many did not."""

    def __init__(
        self, on_suppressed: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_suppressed = on_suppressed
        self._clock = clock
        self._causes: dict[Any, list[float]] = {}
        """By cause: lines that may still pass, when that was worked out, lines suppressed since the last one."""

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """A structlog processor. Raises DropEvent."""
        cause = event.pop(_CAUSE, None) or _cause_of(event)
        if cause is None:
            return event
        if cause not in self._causes and len(self._causes) >= _MAX_CAUSES:
            cause = "any other"
        now = self._clock()
        state = self._causes.setdefault(cause, [BURST, now, 0])
        state[0] = min(state[0] + (now - state[1]) * PER_SECOND, BURST)
        state[1] = now
        if state[0] < 1:
            state[2] += 1
            self._on_suppressed()
            raise structlog.DropEvent
        state[0] -= 1
        if state[2]:
            event["suppressed"] = int(state[2])
            state[2] = 0
        return event


def _cause_of(event: EventDict) -> Any:
    name = event.get("event")
    if name in _RECORDS or (name in _RECORDS_IF_SET_UP and event.get("model")):
        return None
    return name, event.get("cause") or event.get("rule") or event.get("reason")


def traced(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put where an exception came from in the place of the exception.

    Its text is left out unless its class is ours: it may quote a message, an address, a header.
    """
    found = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["traceback"] = _trace(error)
    return event


def _trace(error: BaseException) -> list[str]:
    lines: list[str] = []
    seen: list[BaseException] = []
    following: list[BaseException] = [error]
    while following and len(lines) < _MAX_TRACE:
        error = following.pop()
        if any(error is other for other in seen):
            continue
        seen.append(error)
        lines += [_name_of(error), *_places(error.__traceback__)]
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        following += [before] if before is not None else []
        following += list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    return lines[:_MAX_TRACE]


def _name_of(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__.startswith("relay."):
        return f"{kind.__name__}: {error}"
    return f"{kind.__name__} {error.errno}" if isinstance(error, OSError) and error.errno else kind.__name__


def _places(trace: TracebackType | None) -> list[str]:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places


def printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Make every text one that can stand in a line, and everything else something JSON knows."""
    return {plain(str(name)): _printable(value) for name, value in event.items()}


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, MutableMapping):
        return {plain(str(name)): _printable(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(entry) for entry in value]
    return f"[{len(value)} bytes]" if isinstance(value, bytes | bytearray) else plain(str(value))


class _Forward(logging.Handler):
    """aiohttp and asyncio log through the standard library; their lines take the same way out."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            words = record.getMessage()
        except Exception:  # a mistake in the call; what it was given is not shown
            words = str(record.msg)
        level = next(name for number, name in _LEVELS if record.levelno >= number)
        cause = {_CAUSE: (record.name, str(record.msg))}
        getattr(structlog.get_logger(), level)(words, logger=record.name, exc_info=record.exc_info, **cause)


_LEVELS = ((50, "critical"), (40, "error"), (30, "warning"), (20, "info"), (0, "debug"))


def configure(level: str, style: str, scrubber: Scrubber, throttle: Throttle) -> None:
    """Set up structlog and the standard library's logging; `style` is auto, json or console."""
    terminal = sys.stdout.isatty()
    renderer: Any = structlog.processors.JSONRenderer()
    if style == "console" or (style == "auto" and terminal):
        renderer = structlog.dev.ConsoleRenderer(colors=terminal)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            throttle,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            traced,
            scrubber,
            printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_Forward()]
    root.setLevel(max(number, logging.INFO))
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # what can't be written would be quoted on standard error
    sys.excepthook = _on_uncaught
    threading.excepthook = lambda died: _on_uncaught(died.exc_type, died.exc_value, died.exc_traceback)
    sys.unraisablehook = lambda lost: _on_uncaught(lost.exc_type, lost.exc_value, lost.exc_traceback)


def _on_uncaught(kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None) -> None:
    structlog.get_logger().critical("uncaught exception", cause=kind.__name__, exc_info=error)
