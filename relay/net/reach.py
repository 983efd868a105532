"""Where the relay may connect to of its own accord: decided by the address that a name has turned out to have.

A name may be made to resolve to this machine, or to a cloud's metadata server, after the operator wrote it down. The
check stands where the socket is made, so it sees literal addresses, decimal ones and every answer of a resolver.
"""

import ipaddress
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

AddressInfo = tuple[int, int, int, str, tuple[str, int]]
SocketFactory = Callable[[AddressInfo], socket.socket]

_HERE = frozenset({"localhost", "127.0.0.1", "::1"})


def is_here(url: str) -> bool:
    """Whether a URL names this machine."""
    return urlsplit(url).hostname in _HERE


def is_reachable(address: str, url: str, private: bool) -> bool:
    """Whether the relay may connect to an address that a URL led to; `private` says the operator's network may be."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return is_here(url)
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    return private or ip.is_global


def guarded(url: str, private: bool, make: SocketFactory | None = None) -> SocketFactory:
    """A factory for aiohttp's connector that makes sockets for reachable addresses only. It raises OSError."""

    def made(address: AddressInfo) -> socket.socket:
        family, kind, protocol, _, where = address
        if not is_reachable(where[0], url, private):
            raise OSError("not an address the relay connects to")
        return make(address) if make is not None else socket.socket(family, kind, protocol)

    return made
