"""Requests that are answered without an upgrade: a status, a cause for the operator, words for the client."""

import asyncio
import json
import math
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web

from relay.core.budget import Bucket
from relay.metrics import Metrics
from relay.net.admission import RETRY_AFTER_S
from relay.net.diary import Diary

_LINES_PER_S, _LINES_AT_ONCE = 5.0, 50.0
"""Log lines for one cause: strangers can be refused as often as they like, but not fill a disk by it."""

_log = structlog.get_logger()


class RefusedError(Exception):
    """A request that is refused."""

    def __init__(self, status: int, cause: str, words: str, retry_after_s: float = RETRY_AFTER_S) -> None:
        super().__init__(words)
        self.status = status
        self.cause = cause
        self.words = words
        self.retry_after_s = retry_after_s


STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    421: "INVALID_ARGUMENT",
    426: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    431: "INVALID_ARGUMENT",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
"""What Google calls each status, in error bodies of both listeners."""


def error_answer(refused: RefusedError) -> web.Response:
    """The refusal as Google would word it, and the end of its connection: what stands behind it is not looked at."""
    response = web.Response(body=_body(refused), status=refused.status, headers=_headers(refused))
    response.force_close()
    return response


def error_bytes(refused: RefusedError) -> bytes:
    """The same for a connection that nobody reads requests from."""
    body, reason = _body(refused), HTTPStatus(refused.status).phrase
    lines = [f"HTTP/1.1 {refused.status} {reason}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in _headers(refused).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _body(refused: RefusedError) -> bytes:
    error = {"code": refused.status, "message": refused.words, "status": STATUS_NAMES[refused.status]}
    return json.dumps({"error": error}).encode()


def _headers(refused: RefusedError) -> dict[str, str]:
    headers = {
        hdrs.CONTENT_TYPE: "application/json; charset=utf-8",
        hdrs.CACHE_CONTROL: "no-store",
        hdrs.SERVER: "relay",
        "X-Content-Type-Options": "nosniff",
    }
    if refused.status in {429, 503}:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(refused.retry_after_s))
    if refused.status == 426:
        headers |= {hdrs.UPGRADE: "websocket", hdrs.SEC_WEBSOCKET_VERSION: "13"}
    return headers


class Refusals:
    """Where refusals are counted and told."""

    def __init__(self, metrics: Metrics, diary: Diary) -> None:
        self._metrics = metrics
        self._diary = diary
        self._lines: dict[str, Bucket] = {}
        self._unsaid: dict[str, int] = {}

    def tell(self, refused: RefusedError, address: str) -> None:
        """Count one, and write a line for it unless its cause has had enough of them; the next line says how many."""
        cause, now = refused.cause, asyncio.get_running_loop().time()
        self._metrics.refused.labels(refused.status, cause).inc()
        if refused.status in {429, 503}:
            self._diary.refused(refused.status, cause)
        if self._lines.setdefault(cause, Bucket(_LINES_PER_S, _LINES_AT_ONCE, now)).take(1, now):
            more = {"unsaid": unsaid} if (unsaid := self._unsaid.pop(cause, 0)) else {}
            _log.info("refused", status=refused.status, cause=cause, address=address, **more)
        else:
            self._unsaid[cause] = self._unsaid.get(cause, 0) + 1
