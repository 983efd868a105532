"""The composition root's part for the way in: which names, proxies and numbers of callers each listener admits."""

import resource

from relay.config import Config
from relay.core.crowd import Bounds, Crowd
from relay.metrics import Metrics
from relay.net.callers import Hops, Hosts, on_loopback
from relay.net.doorway import Doorway
from relay.net.refusals import Refusals

CONNECTIONS_PER_ADDRESS = 256
REQUESTS_PER_ADDRESS = 100
"""Limits of one address unless others are set. On loopback there are none: everybody is 127.0.0.1 there."""

ADMIN_CONNECTIONS = 32
"""Connections of the operator's listener at once; they come out of the files that are set aside."""

FILES_SET_ASIDE = 128


def socket_budget() -> int:
    """Sessions that fit the process's file limit: two sockets each, and some to spare."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max((soft - FILES_SET_ASIDE) // 2, 1)


def of(config: Config, metrics: Metrics, refusals: Refusals) -> tuple[Doorway, Doorway]:
    """The doorways of the operator's listener and of the public one."""
    listen, own = config.listen, config.admin
    hosts = Hosts(own.hosts, private=not on_loopback(own.host))
    operators = Doorway(hosts, Hops(), Crowd(Bounds(ADMIN_CONNECTIONS)), refusals)
    local = on_loopback(listen.host)
    bounds = Bounds(
        min(listen.max_connections or 2 * listen.max_sessions, socket_budget()),
        listen.connections_per_address or (None if local else CONNECTIONS_PER_ADDRESS),
        listen.requests_per_address or (None if local else REQUESTS_PER_ADDRESS),
    )
    crowd = Crowd(bounds)
    metrics.connections.set_function(lambda: len(crowd))
    hosts = Hosts(listen.hosts or (), everybody=listen.hosts is None and not local)
    return operators, Doorway(hosts, Hops(listen.trusted_proxies), crowd, refusals)
