"""The public listener: a handshake becomes a session, or an HTTP answer that says why not.

Everything is checked before the upgrade, in this order: what `relay.net.doorway` asks of every request, path, method,
credential, origin, labels, room, the tenant's own limits. A path is taken from the request line as it came, never from
a rebuilt URL; only runs of slashes are folded.
"""

import asyncio
import functools
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web

from relay.core.backend import DEVELOPER_METHOD
from relay.core.closing import Close, CloseReason
from relay.core.events import CredentialOver
from relay.core.ledger import LedgerError
from relay.core.limits import Limits
from relay.core.policy import Policy
from relay.core.session import Session
from relay.core.tickets import Grant
from relay.metrics import Metrics
from relay.net import faults, minting, tcp
from relay.net.accounts import Accounts
from relay.net.admission import Gate
from relay.net.auth import PROTOCOL, Authenticator, Identity, KeyInUrlError, credential_of
from relay.net.diary import Diary
from relay.net.doorway import Doorway, plain_headers
from relay.net.driver import Driver, Wiring
from relay.net.engine import ServerSocket, Socket, first_too_large
from relay.net.faults import Faults
from relay.net.handles import HandleSealer
from relay.net.labels import Labels, LabelsError, labels_of
from relay.net.leg import LegLimits
from relay.net.listener import first_of
from relay.net.minting import MINT_PATHS, REVOKE_PATHS, BusyError, Desk
from relay.net.pages import Pages
from relay.net.refusals import RefusedError
from relay.net.registry import Live, Registry
from relay.net.report import Report
from relay.net.tickets import MintError
from relay.net.upstream import DialError, Upstream
from relay.net.warden import used_by
from relay.scrubber import Scrubber

ALIAS = "/v1/live"
ENDPOINTS = frozenset(
    {ALIAS}
    | {
        DEVELOPER_METHOD.format(version=version) + suffix
        for version in ("v1", "v1beta", "v1alpha")
        for suffix in ("", "Constrained")
    }
)
"""Google's own paths for the Live API, and our short one. The music method is not among them."""

CLIENT_USER_TIMEOUT_MS = 10_000

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Admitted:
    """A tenant as the listener needs it."""

    policy: Policy
    origins: frozenset[str]
    """Web origins its browsers may come from; `*` for any."""
    limits: Limits
    mint_from_pages: bool = False
    """Whether its own origins may ask for tickets."""

    @property
    def concurrent_sessions(self) -> int | None:
        """How many sessions it may have at once."""
        return self.limits.quotas.concurrent_sessions


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits the listener hands to each session and leg."""

    downstream: LegLimits
    upstream: LegLimits
    max_message_bytes: int


@dataclass(frozen=True, slots=True)
class Parts:
    """What the listener works with."""

    tenants: Mapping[str, Admitted]
    authenticator: Authenticator
    upstream: Upstream
    handles: HandleSealer
    registry: Registry
    accounts: Accounts
    gate: Gate
    desk: Desk
    metrics: Metrics
    diary: Diary
    bounds: Bounds
    scrubber: Scrubber
    random: Callable[[], float]


class Server:
    """Answers every request on the public listener."""

    def __init__(self, parts: Parts, pages: Pages, path_prefix: str, doorway: Doorway) -> None:
        self._parts = parts
        self._doorway = doorway
        self._pages = pages
        self._prefix = path_prefix

    def application(self) -> web.Application:
        """The aiohttp application: one route, because paths are matched here and nowhere else."""
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._answer)
        application.on_response_prepare.append(plain_headers)
        return application

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            with self._doorway.passing(request, first_of(request)):
                return await self._route(request, self._path(request))
        except RefusedError as refused:
            return self._doorway.refuse(request, refused)

    async def _route(self, request: web.Request, path: str) -> web.StreamResponse:
        if path in ENDPOINTS:
            return await self._handshake(request)
        if path in MINT_PATHS or path in REVOKE_PATHS:
            return await self._desk(request, path)
        if path == faults.PATH and self._pages.faults is not None:
            return await self._fault(request, self._pages.faults)
        return self._pages.answer(request, path)

    def _path(self, request: web.Request) -> str:
        path = re.sub(r"/{2,}", "/", request.raw_path.partition("?")[0])
        if not path.startswith(f"{self._prefix}/"):
            raise RefusedError(404, "path", "there is nothing at this path")
        return path.removeprefix(self._prefix)

    # Beside sessions --------------------------------------------------------------------------------------------------

    async def _fault(self, request: web.Request, allowed: Faults) -> web.Response:
        if request.method != hdrs.METH_POST:
            raise RefusedError(405, "method", "only POST works here")
        identity = await self._authenticate(request, [])
        own = self._parts.tenants[allowed.tenant].origins - {"*"}
        if identity.tenant != allowed.tenant or not _origins(request) or not _origins(request) <= own:
            raise RefusedError(403, "origin", "only the demo page itself may do this")
        order = allowed.kinds.get(str(await faults.kind_of(request)))
        if order is None:
            raise RefusedError(400, "kind", f"kind: one of {', '.join(allowed.kinds)}")
        done = order()
        _log.info("fault ordered by the demo page", connections=done)
        return web.json_response({"connections": done}, headers={"Cache-Control": "no-store"})

    async def _desk(self, request: web.Request, path: str) -> web.StreamResponse:
        """Mint or revoke tickets for a tenant's backend."""
        desk = self._parts.desk
        if request.method != hdrs.METH_POST:
            raise RefusedError(405, "method", "only POST works here")
        identity = await self._authenticate(request, [])
        admitted, origins = self._parts.tenants[identity.tenant], _origins(request)
        if identity.grant is not None:
            raise RefusedError(403, "not_a_key", "only a tenant's own key may do this")
        if origins and not (admitted.mint_from_pages and origins <= admitted.origins):
            raise RefusedError(403, "origin", "tickets are not for web pages to ask for: ask from your backend")
        try:
            if path in REVOKE_PATHS:
                return await minting.revoked(request, desk, identity.tenant)
            return await minting.minted(request, desk, identity.tenant, admitted.policy)
        except MintError as error:
            raise RefusedError(400, "ticket", str(error)) from None
        except BusyError:
            words = "too many tickets or revocations at once, try again later"
            raise RefusedError(429, "tickets", words, 1.0) from None
        except LedgerError:
            raise RefusedError(503, "store", "tickets can't be kept now, try again later") from None

    # Handshakes -------------------------------------------------------------------------------------------------------

    async def _handshake(self, request: web.Request) -> web.StreamResponse:
        parts = self._parts
        if request.method != hdrs.METH_GET:
            raise RefusedError(405, "method", "a WebSocket begins with GET")
        if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
            raise RefusedError(426, "no_upgrade", "this endpoint speaks WebSocket")
        offered = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, []))
        protocols = [offer.strip() for offer in offered.split(",")]
        identity = await self._authenticate(request, protocols)
        admitted = parts.tenants[identity.tenant]
        _check_origin(_origins(request), admitted.origins)
        labels = _labels(request, identity.grant)
        _check_upgrade(request)
        # From here to `admitted` nothing is awaited, so no other handshake can take the place in between.
        # A parked session yields its place: to its own client, which may be this one, or to another one of its tenant.
        registry, limit = parts.registry, admitted.concurrent_sessions
        if registry.draining or (registry.full and not registry.parked()):
            raise RefusedError(503, "capacity", "the relay has no room for another session, try again later")
        if limit is not None and registry.of_tenant(identity.tenant) - registry.parked(identity.tenant) >= limit:
            raise RefusedError(429, "concurrent_sessions", "this tenant has as many sessions as it may")
        live = Live(secrets.token_hex(8), identity.tenant, grant=identity.grant, labels=labels)
        here = registry.of_tenant(identity.tenant) - registry.parked(identity.tenant)
        with registry.admitted(live):
            refused = await parts.gate.admit(live.tenant, live.id, here)
            if refused is not None:
                raise RefusedError(refused.status, refused.cause, refused.words, refused.retry_after_s)
            try:
                return await self._serve(request, live, admitted)
            finally:
                await parts.gate.leave(live.tenant, live.id)

    async def _authenticate(self, request: web.Request, protocols: list[str]) -> Identity:
        credential = credential_of(request.headers, protocols, urlsplit(request.raw_path).query)
        try:
            identity = await self._parts.authenticator.authenticate(credential) if credential is not None else None
        except LedgerError:
            raise RefusedError(503, "store", "this credential can't be checked now, try again later") from None
        except KeyInUrlError:
            words = "a key or token may not stand in a URL: use a ticket, or a header"
            raise RefusedError(401, "key_in_url", words) from None
        if identity is None or identity.tenant not in self._parts.tenants:
            raise RefusedError(401, "credential", "no valid credential, or more than one")
        return identity

    async def _serve(self, request: web.Request, live: Live, admitted: Admitted) -> web.StreamResponse:
        parts = self._parts
        socket = unopened(parts.bounds)
        try:
            await socket.prepare(request)
        except web.HTTPException:
            raise RefusedError(400, "handshake", "not a valid WebSocket handshake") from None
        except ConnectionResetError:
            return web.Response(status=400)  # nobody is left to read it
        raw = request.get_extra_info("socket")
        if raw is not None:
            tcp.tune(raw, CLIENT_USER_TIMEOUT_MS)
        await self._run(socket, live, admitted)
        return socket

    async def _run(self, socket: web.WebSocketResponse[bool], live: Live, admitted: Admitted) -> None:
        parts, grant = self._parts, live.grant
        policy, limits = admitted.policy, admitted.limits
        if grant is not None:
            policy, limits = policy.under(grant.constraint), limits.at_most(grant.session_s)
        handles = parts.handles.bound(live.tenant, policy.name, grant.subject if grant is not None else "")
        session = Session(live.id, policy, limits, handles, parts.random)
        entry = parts.accounts.open(live.tenant, live.id, session, live.dispatch, live.labels)
        charge = functools.partial(parts.accounts.charged, entry)
        report = Report(
            live.id, live.tenant, policy.name, session, parts.metrics, parts.scrubber, charge, parts.diary, grant
        )
        live.flow = report.flow
        counted = False

        async def dial() -> Socket:
            nonlocal counted
            if not counted and (refused := await self._count(live, session)) is not None:
                live.dispatch(CredentialOver(refused))
                raise DialError(0, "the client's ticket admits no new session")
            counted = True
            parts.registry.make_room(live.tenant, admitted.concurrent_sessions)
            return await parts.upstream.dial()

        def moved(session_id: str) -> None:
            parts.registry.regrant(session_id, live.grant)
            parts.registry.release(live)
            parts.accounts.drop(entry)
            report.moved()

        live.driver = driver = Driver(
            session,
            Wiring(
                dial,
                parts.bounds.downstream,
                parts.bounds.upstream,
                report,
                parts.registry.find,
                parts.upstream.without_credentials,
                moved,
            ),
        )
        close: Close | None = Close(CloseReason.RELAY_ERROR)
        report.began()
        try:
            close = await driver.run(socket)
        finally:
            live.driver = None  # who holds it through what it was given, `dial` above all, holds itself
            session.forget()
            if close is not None:
                report.ended(close)
                parts.accounts.close(entry, close.reason.label)
                await parts.desk.warden.close(live, used_by(session, asyncio.get_running_loop().time()))

    async def _count(self, live: Live, session: Session) -> Close | None:
        """Count a use of the client's ticket before Gemini is dialled; why the session may not begin."""
        resumes = session.returning is not None and session.returning.handle
        try:
            return await self._parts.desk.warden.admit(live, new=not resumes)
        except LedgerError:
            return Close(CloseReason.TICKET_REFUSED, "it can't be checked now, try again later")


def unopened(bounds: Bounds) -> ServerSocket:
    """A client's WebSocket before its handshake, as an engine takes it over: raw, whole messages, no extension."""
    return ServerSocket(
        autoping=False,
        compress=False,
        decode_text=False,
        max_msg_size=first_too_large(bounds.max_message_bytes),
        protocols=(PROTOCOL,),
    )


def _origins(request: web.Request) -> set[str]:
    """Where a request says that it comes from; none for what is no browser, and more than one is nobody's."""
    return set(request.headers.getall(hdrs.ORIGIN, []))


def _check_origin(origins: set[str], allowed: frozenset[str]) -> None:
    """Only browsers send an Origin, and a page of any site can open a socket to us: hence an exact list."""
    if not origins <= allowed and "*" not in allowed:
        raise RefusedError(403, "origin", "this origin may not connect")


def _check_upgrade(request: web.Request) -> None:
    """What aiohttp lets pass and a proxy may read in another way."""
    if request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) != "13":  # aiohttp would take 7 and 8 as well
        raise RefusedError(426, "version", "this endpoint speaks version 13 of WebSocket")
    if request.headers.get(hdrs.CONTENT_LENGTH, "0") != "0" or hdrs.TRANSFER_ENCODING in request.headers:
        # what a proxy takes for a body we would take for WebSocket frames
        raise RefusedError(400, "handshake", "a WebSocket handshake has no body")


def _labels(request: web.Request, grant: Grant | None) -> Labels:
    try:
        return labels_of(request.headers, grant)
    except LabelsError as error:
        raise RefusedError(400, "labels", str(error)) from None
