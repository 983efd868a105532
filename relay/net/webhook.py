"""Records as signed POST requests, by the Standard Webhooks specification, which has ready-made receivers.

The signature is an HMAC-SHA256 over the request's id, the time of the attempt and the body. Anything but a 2xx is a
failure; an attempt that failed is repeated with the same id and body.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import orjson

from relay.net.reach import guarded
from relay.net.spool import Item
from relay.net.usage_file import RefusedError, SinkError

PREFIX = "whsec_"
USER_AGENT = "relay-webhook"
_AWAY = frozenset({408, 425, 429, 502, 503, 504})
"""Answers that say something of the receiver's condition, and nothing of the records."""


def key_of(secret: str) -> bytes:
    """The key behind a secret: base64 after `whsec_`, else the secret's own bytes. Raises ValueError."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("is not base64 after whsec_") from None


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """What stands in `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


@dataclass(slots=True)
class Webhook:
    """Sends records to one address."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)
    timeout_s: float
    clock: Callable[[], float]
    """Gives Unix seconds."""
    batch: int = 100
    private: bool = False
    """Whether the address's name may lead into the operator's own network."""
    name: str = "webhook"
    _http: aiohttp.ClientSession | None = field(default=None, init=False)
    _pending: tuple[tuple[str, ...], str, bytes] | None = field(default=None, init=False, repr=False)
    """The records of the last failed attempt by their ids, its message id and body."""

    async def start(self) -> None:
        """Get ready to send."""
        timeout = aiohttp.ClientTimeout(total=self.timeout_s)
        self._http = aiohttp.ClientSession(
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(socket_factory=guarded(self.url, self.private)),
            trust_env=False,
        )

    async def stop(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def deliver(self, items: Sequence[Item]) -> None:
        """Send records in one request. Raises SinkError when it was not answered with 2xx, or too late."""
        assert self._http is not None, "start() comes first"
        message_id, body = self._message(items)
        timestamp = int(self.clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self.key, message_id, timestamp, body),
        }
        try:
            async with self._http.post(self.url, data=body, headers=headers, allow_redirects=False) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            raise SinkError(type(error).__name__) from None  # the text would hold the address, which may be a secret
        if not 200 <= status < 300:
            refused = status >= 400 and status not in _AWAY  # a 500 too: one record may be what it stumbles over
            raise (RefusedError if refused else SinkError)(f"it answered {status}")
        self._pending = None

    def _message(self, items: Sequence[Item]) -> tuple[str, bytes]:
        """The id and body of a request: those of the attempt before, when it was about the same records."""
        ids = tuple(item.id for item in items)
        if self._pending is None or self._pending[0] != ids:
            at = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            head = orjson.dumps({"type": "relay.records", "timestamp": at})[:-1]
            body = head + b',"data":{"records":[' + b",".join(item.body for item in items) + b"]}}"
            self._pending = (ids, f"msg_{secrets.token_hex(12)}", body)
        return self._pending[1], self._pending[2]
