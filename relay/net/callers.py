"""Who calls, and by which name: the address behind trusted proxies, and the names a listener answers to."""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORWARDED = "X-Forwarded-For"

_MOST_HOPS = 16
"""More proxies than stand behind each other anywhere."""

_HOST = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_WITH_PORT = re.compile(r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::\d+)?|(?P<four>[0-9.]+):\d+")


def address_of(text: str) -> Address | None:
    """An address as sockets and proxies write it, perhaps with a port; an IPv4 address mapped into IPv6 is IPv4."""
    if match := _WITH_PORT.fullmatch(text):
        text = match["six"] or match["four"]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def caller_of(address: Address | None) -> str:
    """Whom limits are for: an IPv4 address, or the /64 that one IPv6 customer has whole."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, 64), strict=False))
    return str(address) if address is not None else "unknown"


class Hops:
    """The proxies whose word on addresses is taken."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: Sequence[Network] = [ip_network(network) for network in trusted]

    def trusts(self, address: Address | None) -> bool:
        """Whether this is one of our proxies."""
        return address is not None and any(address in network for network in self._trusted)

    def client(self, peer: Address | None, forwarded: Sequence[str]) -> Address | None:
        """Who sent a request: the right-most address that is not one of our proxies.

        Each proxy appends whom it heard from, so what a client wrote itself stands further left and is never reached.
        """
        nearest = peer
        entries = [entry.strip() for line in forwarded for entry in line.split(",")]
        for entry in reversed(entries[-_MOST_HOPS:]):
            if not self.trusts(nearest):
                break
            told = address_of(entry)
            if told is None:
                break
            nearest = told
        return nearest


class Hosts:
    """The names in `Host` that a listener answers to.

    A page whose name was made to point here (DNS rebinding) is of the same origin as we are, in its browser's eyes; but
    the name in `Host` is still its own.
    """

    def __init__(self, named: Iterable[str], *, private: bool = False, everybody: bool = False) -> None:
        """Loopback's names and `named` ones are ours.

        `private` adds what no foreign page can be called: bare addresses, and names without a dot. `everybody`, or "*"
        among the names, switches the check off.
        """
        self._named = frozenset(name.lower() for name in named)
        self._private = private
        self._everybody = everybody or "*" in self._named

    def __contains__(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        if self._everybody:
            return True
        name = match["name"].lower().removesuffix(".").strip("[]")
        if name in self._named or name == "localhost" or name.endswith(".localhost"):
            return True
        address = address_of(name)
        if address is not None:
            return address.is_loopback or self._private
        return self._private and "." not in name and ":" not in name


def on_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener bound here."""
    address = address_of(host)
    return host == "localhost" or (address is not None and address.is_loopback)
