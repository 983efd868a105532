"""`POST …/auth_tokens` on the public listener: a tenant's backend asks for tickets, and takes them back.

Server to server: a browser, which always says its origin, is turned away, because a page that can mint holds the key.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from aiohttp import hdrs, web

from relay.core.budget import Bucket
from relay.core.policy import Policy
from relay.core.secret import Secret
from relay.core.tickets import TicketStore, mark_of_tenant, mark_of_ticket, mark_of_user
from relay.metrics import Metrics
from relay.net.tickets import MAX_BODY_BYTES, MAX_WORD_CHARACTERS, PREFIX, MintError, id_of, mint
from relay.net.warden import Warden

_VERSIONS = ("v1", "v1beta", "v1alpha")
MINT_PATHS = frozenset(f"/{version}/auth_tokens" for version in _VERSIONS)
REVOKE_PATHS = frozenset(f"/{version}/auth_tokens:revoke" for version in _VERSIONS)
PER_SECOND = 50.0
"""Tickets and revocations of one tenant in a second at one process, over a long time: both fill the store."""
BURST = 500.0
BODY_S = 10.0
"""For a body to arrive."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Desk:
    """What minting needs of the process."""

    store: TicketStore
    warden: Warden
    metrics: Metrics
    clock: Callable[[], float]
    """Unix seconds."""
    buckets: dict[str, Bucket]


class BusyError(Exception):
    """The tenant asks for more than it may."""


async def minted(request: web.Request, desk: Desk, tenant: str, policy: Policy) -> web.Response:
    """Answer a request for a ticket. Raises MintError, BusyError, LedgerError."""
    _take_turn(desk, tenant)
    ticket = mint(await _body(request), tenant, policy, desk.clock())
    await desk.store.add(ticket.id, ticket.stub)
    desk.metrics.tickets.labels(tenant, "minted").inc()
    _log.info("ticket minted", tenant=tenant, ticket=ticket.id[:12], end_user=ticket.end_user or None)
    return _json({"name": ticket.name.reveal()})


async def revoked(request: web.Request, desk: Desk, tenant: str) -> web.Response:
    """Answer a request to revoke: `{"name"}` one ticket, `{"endUser"}`, or `{"all": true}`. Raises as `minted`."""
    _take_turn(desk, tenant)
    mark = _mark(await _body(request), tenant)
    return _json({"sessionsEndedHere": await desk.warden.revoke(mark)})


def _take_turn(desk: Desk, tenant: str) -> None:
    now = asyncio.get_running_loop().time()
    if not desk.buckets.setdefault(tenant, Bucket(PER_SECOND, BURST, now)).take(1, now):
        raise BusyError


def _mark(body: bytes, tenant: str) -> str:
    try:
        asked = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MintError("the body is not valid JSON") from None
    if not isinstance(asked, dict) or len(asked) != 1:
        raise MintError("send exactly one of name, endUser, all")
    ((name, value),) = asked.items()
    if name == "name" and isinstance(value, str) and value.startswith(PREFIX):
        return mark_of_ticket(tenant, id_of(Secret(value)))
    if name == "endUser" and isinstance(value, str) and 0 < len(value) <= MAX_WORD_CHARACTERS:
        return mark_of_user(tenant, value)
    if name == "all" and value is True:
        return mark_of_tenant(tenant)
    raise MintError('send one of {"name": "auth_tokens/…"}, {"endUser": "…"}, {"all": true}')


async def _body(request: web.Request) -> bytes:
    """The body, bounded in size and time before it is looked at."""
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.content.read(MAX_BODY_BYTES + 1)
            while len(body) <= MAX_BODY_BYTES and not request.content.at_eof():
                body += await request.content.read(MAX_BODY_BYTES + 1 - len(body))
    except (TimeoutError, web.HTTPException, OSError):
        raise MintError("the body did not arrive") from None
    if len(body) > MAX_BODY_BYTES:
        raise MintError(f"the body is larger than {MAX_BODY_BYTES} bytes")
    return body


def _json(answer: Mapping[str, Any]) -> web.Response:
    return web.json_response(answer, headers={hdrs.CACHE_CONTROL: "no-store"})
