"""Requests that are answered without an upgrade: a status, a cause for the operator, words for the client."""

import math

from aiohttp import hdrs, web

from relay.net.admission import RETRY_AFTER_S


class RefusedError(Exception):
    """A request that is refused."""

    def __init__(self, status: int, cause: str, words: str, retry_after_s: float = RETRY_AFTER_S) -> None:
        super().__init__(words)
        self.status = status
        self.cause = cause
        self.words = words
        self.retry_after_s = retry_after_s


_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "INVALID_ARGUMENT",
    426: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


def error_answer(refused: RefusedError) -> web.Response:
    """The refusal as Google would word it."""
    body = {
        "error": {"code": refused.status, "message": refused.words, "status": _STATUS_NAMES[refused.status]},
    }
    headers = {"Retry-After": str(math.ceil(refused.retry_after_s))} if refused.status in {429, 503} else {}
    if refused.status == 426:
        headers[hdrs.UPGRADE] = "websocket"
    return web.json_response(body, status=refused.status, headers=headers)
