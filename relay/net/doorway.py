"""What every request has to pass on any listener, before anybody looks at its path."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web

from relay.core.crowd import Crowd, Crowded
from relay.net.callers import FORWARDED, Address, Hops, Hosts, address_of, caller_of
from relay.net.refusals import Refusals, RefusedError, error_answer

_RETRY_AFTER_S = {Crowded.PROCESS: 5.0, Crowded.ADDRESS: 5.0, Crowded.RATE: 1.0}
_WORDS = {
    Crowded.PROCESS: "the relay has as many connections as it can hold, try again later",
    Crowded.ADDRESS: "there are as many connections from this address as there may be",
    Crowded.RATE: "too many requests from this address",
}


def crowded_error(crowded: Crowded) -> RefusedError:
    """The refusal for a limit that is reached."""
    status = 503 if crowded is Crowded.PROCESS else 429
    return RefusedError(status, crowded.value, _WORDS[crowded], _RETRY_AFTER_S[crowded])


@dataclass(frozen=True, slots=True)
class Doorway:
    """The names one listener answers to, the proxies it believes, and the room it has."""

    hosts: Hosts
    hops: Hops
    crowd: Crowd
    refusals: Refusals

    def arrive(self, peer: Address | None, now: float) -> tuple[str | None, Crowded | None]:
        """A connection was accepted: whose it is, None for a proxy's, and why there is no room for it.

        A proxy's connections are counted for those it speaks for, when their requests come.
        """
        if crowded := self.crowd.enter():
            return None, crowded
        if self.hops.trusts(peer):
            return None, None
        caller = caller_of(peer)
        if crowded := self.crowd.ask(caller, now) or self.crowd.claim(caller):
            self.crowd.leave()
            return None, crowded
        return caller, None

    def gone(self, caller: str | None) -> None:
        """A connection that `arrive` counted is closed."""
        self.crowd.leave()
        if caller is not None:
            self.crowd.release(caller)

    def address(self, request: web.BaseRequest) -> Address | None:
        """Where a request comes from, proxies left out."""
        return self.hops.client(address_of(request.remote or ""), request.headers.getall(FORWARDED, []))

    @contextmanager
    def passing(self, request: web.BaseRequest, first: bool) -> Iterator[None]:
        """Check a request, and count it for as long as it is served; the `first` of a connection came with it.

        Raises RefusedError.
        """
        if request.version not in {HttpVersion10, HttpVersion11}:
            raise RefusedError(400, "malformed", "this is not HTTP/1.1")
        if request.headers.get(hdrs.HOST, "") not in self.hosts:
            raise RefusedError(421, "host", "the relay does not answer to this name in `Host`")
        proxied = self.hops.trusts(address_of(request.remote or ""))
        caller = caller_of(self.address(request))
        crowded = self.crowd.ask(caller, asyncio.get_running_loop().time()) if proxied or not first else None
        if crowded := crowded or (self.crowd.claim(caller) if proxied else None):
            raise crowded_error(crowded)
        try:
            yield
        finally:
            if proxied:
                self.crowd.release(caller)

    def refuse(self, request: web.BaseRequest, refused: RefusedError) -> web.Response:
        """Count a refusal and answer with it."""
        self.refusals.tell(refused, str(self.address(request)))
        return error_answer(refused)


def plainly_spelt(request: web.BaseRequest) -> bool:
    """Whether the path is what stands in the request line: nothing escaped, nothing to resolve.

    aiohttp resolves `/x/../y` and `%61`, and who guards a path and who serves it may then mean two.
    """
    return request.path == request.raw_path.partition("?")[0]


async def plain_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Say nothing of what we are made of, and let no browser guess what an answer is."""
    response.headers[hdrs.SERVER] = "relay"
    response.headers["X-Content-Type-Options"] = "nosniff"
