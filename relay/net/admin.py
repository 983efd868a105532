"""The operator's listener: is it alive, may it take sessions, what has it counted. Own port, loopback by default.

What is behind the operator's token is in `relay.net.admin_api`.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from relay.metrics import Metrics
from relay.net.admission import Gate
from relay.net.doorway import Doorway, plain_headers, plainly_spelt
from relay.net.listener import first_of
from relay.net.refusals import RefusedError
from relay.net.registry import Registry


def application(
    registry: Registry, gate: Gate, metrics: Metrics, exports_degraded: Callable[[], bool], doorway: Doorway
) -> web.Application:
    """`/healthz`: the loop turns. `/readyz`: new sessions are admitted. `/metrics`: Prometheus text."""

    @web.middleware
    async def passing(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            with doorway.passing(request, first_of(request)):
                if not plainly_spelt(request) and not request.path.startswith("/admin"):  # which has its own words
                    raise RefusedError(404, "path", "there is nothing at this path")
                return await handler(request)
        except RefusedError as refused:
            return doorway.refuse(request, refused)

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        cause = "draining" if registry.draining else "full" if registry.full else "ledger" if gate.shut else None
        if cause is not None:
            return web.json_response({"status": "not ready", "cause": cause}, status=503)
        return web.json_response(
            {"status": "ready", "sessions": len(registry), "degraded": gate.degraded or exports_degraded()}
        )

    async def metrics_page(_request: web.Request) -> web.Response:
        for live in registry:
            if live.flow is not None:
                live.flow.report()
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    admin = web.Application(middlewares=[passing])
    admin.on_response_prepare.append(plain_headers)
    admin.router.add_get("/healthz", healthz)
    admin.router.add_get("/readyz", readyz)
    admin.router.add_get("/metrics", metrics_page)
    return admin
