"""structlog set-up: JSON lines on standard output, or coloured ones on a terminal; one rich line per session.

Whatever goes into an event passes `Scrubber` last, so a secret that Google echoes back does not reach the sink.
"""

import logging
import re
import sys
from collections import deque
from collections.abc import Iterable
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

_MIN_SECRET_CHARACTERS = 8
_PREFIX_CHARACTERS = 12
"""A reason is cut at 123 bytes, so a secret may come in part; this much of its beginning counts as the secret."""

_MAX_LEARNED = 8

_KEY_SHAPES = re.compile(
    r"AIza[\w-]{10,}|auth_tokens(?:/|%2[Ff])[\w-]+|eyJ[\w-]{8,}\.[\w.-]+|ya29\.[\w.~+/=-]+"
    r"|(?i:bearer|token) [\w.~+/=-]{8,}"
)
"""What a Google API key, a ticket, a JWT, an access token and a credential header look like, known to us or not."""

MASK = "[secret]"


class Scrubber:
    """Replaces known secrets, their beginnings and anything shaped like a Google credential."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._given = set(secrets)
        self._learned: deque[str] = deque(maxlen=_MAX_LEARNED)
        self._known = _prefixes(self._given)

    def learn(self, secret: str) -> None:
        """Mask one more; of those learned in this way the last few are kept, because old ones have expired."""
        if secret not in self._learned:
            self._learned.append(secret)
            self._known = _prefixes({*self._given, *self._learned})

    def scrub(self, text: str) -> str:
        """The text with every secret masked."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _KEY_SHAPES.sub(MASK, text)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """A structlog processor."""
        return {key: self._clean(value) for key, value in event.items()}

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, dict):
            return {key: self._clean(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean(entry) for entry in value]
        return value


def _prefixes(secrets: Iterable[str]) -> re.Pattern[str] | None:
    prefixes = sorted({secret[:_PREFIX_CHARACTERS] for secret in secrets if len(secret) >= _MIN_SECRET_CHARACTERS})
    known = "|".join(re.escape(prefix) + r"[\w.~+/=%-]*" for prefix in prefixes)
    return re.compile(known) if known else None


def configure(level: str, style: str, scrubber: Scrubber) -> None:
    """Set up structlog and the standard library's logging; `style` is auto, json or console."""
    console = style == "console" or (style == "auto" and sys.stdout.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        scrubber,
    ]
    renderer: Any = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    # aiohttp and asyncio log through the standard library; their lines take the same way out.
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.INFO))
