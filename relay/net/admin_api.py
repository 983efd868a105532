"""The operator's API and page on the admin listener: who talks, what it costs, what is left, and an end to a session.

Every request needs the operator's token in a Bearer header; the page itself is static and has no secret in it. There
are no cookies and no CORS headers, so a foreign site can neither read anything nor do anything here.
"""

import asyncio
import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import hdrs, web

from relay.core.closing import CloseReason
from relay.core.ledger import Ledger, LedgerError, Used
from relay.core.secret import Secret
from relay.core.windows import day_of
from relay.metrics import Metrics
from relay.net import admin_views as views
from relay.net.accounts import Accounts
from relay.net.admin_query import BadParameterError, only, tenant_of, usage_query
from relay.net.diary import SAMPLE_S, Diary
from relay.net.doorway import plainly_spelt
from relay.net.refusals import STATUS_NAMES
from relay.net.registry import Registry
from relay.net.roster import PART, Roster
from relay.net.server import Admitted
from relay.web import CONTENT_SECURITY_POLICY, Asset

ROOT = "/admin"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Sight:
    """What the operator gets to see."""

    registry: Registry
    roster: Roster
    tenants: Mapping[str, Admitted]
    accounts: Accounts
    ledger: Ledger
    diary: Diary
    metrics: Metrics
    currency: str
    prices_as_of: str


@dataclass(frozen=True, slots=True)
class Entrance:
    """How the operator gets in, and what lies there for everybody."""

    token: Secret
    assets: Mapping[str, Asset]
    """The page's files by path."""
    description: Mapping[str, Any]
    """The OpenAPI document."""


class _AnsweredError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, words: str, parameter: str | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.parameter = parameter


class AdminApi:
    """Answers everything under /admin."""

    def __init__(self, sight: Sight, entrance: Entrance) -> None:
        self._sight = sight
        self._entrance = entrance
        self._digest = _digest(entrance.token.reveal())
        self.routes: dict[tuple[str, str], Handler] = {
            (hdrs.METH_GET, "/admin/sessions"): self._sessions,
            (hdrs.METH_DELETE, "/admin/sessions/{id}"): self._end_session,
            (hdrs.METH_GET, "/admin/usage"): self._usage,
            (hdrs.METH_GET, "/admin/tenants"): self._tenants,
            (hdrs.METH_GET, "/admin/tenants/{id}"): self._tenant,
            (hdrs.METH_GET, "/admin/activity"): self._activity,
            (hdrs.METH_GET, "/admin/openapi.json"): self._openapi,
        }
        """Every address of the API by method and path; the OpenAPI document has the same."""

    def add_to(self, application: web.Application) -> None:
        """Answer under /admin in this application."""
        application.middlewares.append(self._guard)
        application.router.add_get(ROOT, self._to_page)
        for path in self._entrance.assets:
            application.router.add_get(path, self._asset)
        for (method, path), handler in self.routes.items():
            application.router.add_route(method, path, handler)

    # Entrance ---------------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != ROOT and not request.path.startswith(f"{ROOT}/"):
            return await handler(request)
        try:
            if request.path != ROOT and request.path not in self._entrance.assets:
                self._authenticate(request)
            if not plainly_spelt(request):
                raise web.HTTPNotFound
            return await handler(request)
        except BadParameterError as error:
            return _error(_AnsweredError(400, str(error), error.parameter))
        except _AnsweredError as answered:
            return _error(answered)
        except web.HTTPNotFound:
            return _error(_AnsweredError(404, "there is nothing at this address; see /admin/openapi.json"))
        except web.HTTPMethodNotAllowed as refused:
            return _error(_AnsweredError(405, f"only {', '.join(sorted(refused.allowed_methods))} works here"))

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(_digest(token.strip()), self._digest):
            self._sight.metrics.refused.labels(401, "admin_token").inc()
            raise _AnsweredError(401, "send the admin token as `Authorization: Bearer …`")

    async def _to_page(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=308, headers={hdrs.LOCATION: f"{ROOT}/", **_HEADERS})

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        asset = self._entrance.assets[request.path]
        headers = {hdrs.CONTENT_TYPE: asset.content_type, "Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return web.Response(body=asset.body, headers=headers | _HEADERS)

    async def _openapi(self, request: web.Request) -> web.StreamResponse:
        only(request.query)
        return _json(self._entrance.description)

    # Sessions ---------------------------------------------------------------------------------------------------------

    async def _sessions(self, request: web.Request) -> web.StreamResponse:
        only(request.query, "tenant")
        at, found = time.time(), await self._sight.roster.all(tenant_of(request.query))
        answer = {
            "at": views.stamp(at),
            "currency": self._sight.currency,
            "sessions": found.rows,
            "unlisted": found.unlisted,
            "current": found.current,
        }
        return _json(answer)

    async def _end_session(self, request: web.Request) -> web.StreamResponse:
        only(request.query)
        session_id, roster = request.match_info["id"], self._sight.roster
        reason = CloseReason.ENDED_BY_OPERATOR
        answer = {"id": session_id, "reason": reason.label, "code": reason.code}
        if roster.end(session_id):
            return _json({**answer, "state": "ended"})
        try:
            elsewhere = await roster.dismiss(session_id)
        except LedgerError:
            raise _AnsweredError(503, "it is not here, and other replicas can't be told now") from None
        if not elsewhere:
            raise _AnsweredError(404, "there is no such session, or no longer")
        return _json({**answer, "state": "ending"}, 202)

    # Usage ------------------------------------------------------------------------------------------------------------

    async def _usage(self, request: web.Request) -> web.StreamResponse:
        query, page = usage_query(request.query, day_of(time.time()))
        try:
            rows = await self._sight.ledger.usage(query)
        except LedgerError:
            raise _AnsweredError(503, "the ledger does not answer now; live sessions are not affected") from None
        end = page.offset + page.limit
        found = []
        for number, row in enumerate(rows[page.offset : end], start=1):
            found.append(views.usage_view(row, query.by))
            if number % PART == 0:
                await asyncio.sleep(0)
        answer = {
            "from": query.first,
            "to": query.last,
            "by": query.by,
            "tenant": query.tenant,
            "currency": self._sight.currency,
            "prices_as_of": self._sight.prices_as_of,
            "rows": found,
            "next_offset": end if end < len(rows) else None,
        }
        return _json(answer)

    # Tenants ----------------------------------------------------------------------------------------------------------

    async def _tenants(self, request: web.Request) -> web.StreamResponse:
        only(request.query)
        parked = self._parked()
        tenants = []
        for number, tenant in enumerate(self._sight.tenants, start=1):
            tenants.append(views.standing_view(await self._standing(tenant, parked[tenant])))
            if number % PART == 0:
                await asyncio.sleep(0)
        return _json({"at": views.stamp(time.time()), "currency": self._sight.currency, "tenants": tenants})

    async def _tenant(self, request: web.Request) -> web.StreamResponse:
        only(request.query)
        tenant = request.match_info["id"]
        if tenant not in self._sight.tenants:
            raise _AnsweredError(404, "there is no such tenant in the configuration")
        return _json(
            {
                "currency": self._sight.currency,
                **views.standing_view(await self._standing(tenant, self._parked()[tenant])),
            }
        )

    def _parked(self) -> Counter[str]:
        """How many sessions of each tenant wait for their clients."""
        return Counter(live.tenant for live in self._sight.registry if live.parked)

    async def _standing(self, tenant: str, parked: int) -> views.Standing:
        sight = self._sight
        admitted, account = sight.tenants[tenant], sight.accounts.account(tenant)
        sessions = sight.registry.of_tenant(tenant)
        current = not sight.accounts.degraded
        clocks = _clocks()
        used = views.known_here(account, clocks.loop, clocks.unix)
        if current and not sessions:  # of one with sessions the ledger tells several times a second
            try:
                used = _with_pending(await sight.ledger.used(tenant), account.pending)
            except LedgerError:
                current = False
        return views.Standing(
            tenant=tenant,
            policy=admitted.policy.name,
            quotas=admitted.limits.quotas,
            sessions=sessions,
            parked=parked,
            used=used,
            current=current,
        )

    async def _activity(self, request: web.Request) -> web.StreamResponse:
        only(request.query, "tenant")
        tenant, diary = tenant_of(request.query), self._sight.diary
        samples = []
        for number, sample in enumerate([*diary.samples, diary.current()], start=1):
            samples.append(views.sample_view(sample, tenant))
            if number % PART == 0:
                await asyncio.sleep(0)
        answer = {
            "at": views.stamp(time.time()),
            "currency": self._sight.currency,
            "sample_s": SAMPLE_S,
            "samples": samples,
            "events": [views.event_view(event) for event in diary.events if tenant in (None, event.tenant)],
        }
        return _json(answer)


def _with_pending(used: Used, pending: Any) -> Used:
    return Used(used.day + pending, used.month + pending, used.at)


def _clocks() -> views.Clocks:
    return views.Clocks(asyncio.get_running_loop().time(), time.time())


def _digest(token: str) -> bytes:
    """Tokens are compared by digest: in constant time, whatever their length and alphabet."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    content = {hdrs.CONTENT_TYPE: "application/json"}
    return web.Response(body=orjson.dumps(body), status=status, headers=content | _HEADERS | dict(headers or {}))


def _error(answered: _AnsweredError) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if answered.status == 401 else {}
    if answered.status == 503:
        headers["Retry-After"] = "5"
    body = views.error_view(answered.status, STATUS_NAMES[answered.status], answered.words, answered.parameter)
    return _json(body, answered.status, headers)
