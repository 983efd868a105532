"""Dialling Gemini: address, credentials in a header, TLS, time limits; failures as a status, never as their text.

aiohttp's exceptions print the request's URL and headers, so not one of them leaves this module.
"""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientWebSocketResponse

from relay import __version__
from relay.core.secret import MASK, Secret
from relay.net import tcp
from relay.net.credentials import Credential, CredentialError
from relay.net.engine import first_too_large
from relay.net.reach import guarded

USER_TIMEOUT_MS = 4000
"""TCP gives a peer up that acknowledges nothing for this long: a dead path is noticed without pings, whose answers
Gemini was seen to delay by 8 to 30 s."""


_ABOUT_US = {"User-Agent": f"relay/{__version__}"}
_MASK = MASK.encode()
_KEPT = 2
_SHORTEST = 16
"""Bytes of a credential that is looked for in messages: a short one, of a simulator, may be a word."""


class DialError(Exception):
    """Gemini was not reached; `status` is its HTTP answer, or 0 where there was none.

    401 stands for credentials of no use too, with which Gemini was not even asked.
    """

    def __init__(self, status: int, cause: str) -> None:
        super().__init__(cause)
        self.status = status


@dataclass(frozen=True, slots=True)
class Target:
    """Where to dial, and within what bounds."""

    url: str
    """ws:// or wss://, with the path of the Live API's method; no credential is in it."""
    timeout_s: float
    """For credentials, TCP, TLS and the upgrade together."""
    max_message_bytes: int
    private: bool = False
    """Whether its name may lead into the operator's own network."""


class Upstream:
    """Dials Gemini for every session of the process."""

    def __init__(self, target: Target, credential: Credential) -> None:
        self._target = target
        self._credential = credential
        self._client: aiohttp.ClientSession | None = None
        self._resolver: aiohttp.AsyncResolver | None = None
        self._shown: tuple[bytes, ...] = ()
        """The newest credentials, as they may come back."""

    async def start(self) -> None:
        """Make the shared HTTP client. Needs a running event loop."""
        self._resolver = aiohttp.AsyncResolver()
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                resolver=self._resolver,
                socket_factory=guarded(self._target.url, self._target.private, _socket),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(_refuse_redirects,),
            trust_env=False,
        )
        self._credential.start()

    async def stop(self) -> None:
        """Close it; sessions must have ended."""
        if self._client is not None and self._resolver is not None:
            await self._client.close()
            await self._resolver.close()  # the connector closes only one that it made itself

    def without_credentials(self, payload: bytes) -> bytes:
        """A message of Gemini's, from which the credentials are taken that it may quote."""
        for shown in self._shown:
            if shown in payload:  # which takes a tenth of the time that `replace` takes to find nothing
                payload = payload.replace(shown, _MASK)
        return payload

    def _remember(self, credentials: Iterable[Secret]) -> None:
        """Also the one before the newest: the legs that were dialled with it are still there."""
        shown = [each.reveal().removeprefix("Bearer ").encode() for each in credentials]
        new = [each for each in shown if len(each) >= _SHORTEST and each not in self._shown]
        self._shown = (*self._shown, *new)[-_KEPT:]

    async def dial(self) -> ClientWebSocketResponse[bool]:
        """Open one WebSocket to Gemini. Raises DialError."""
        assert self._client is not None, "start() comes first"
        status, waiting_for = 0, "token "
        try:
            async with asyncio.timeout(self._target.timeout_s):
                credentials = await self._credential.headers()
                waiting_for = ""
                self._remember(credentials.values())
                return await self._client.ws_connect(
                    self._target.url,
                    headers={name: each.reveal() for name, each in credentials.items()} | _ABOUT_US,
                    autoping=False,
                    compress=0,
                    max_msg_size=first_too_large(self._target.max_message_bytes),
                    decode_text=False,
                )
        except CredentialError as error:
            status, cause = error.status, f"token {error.cause}"
        except aiohttp.WSServerHandshakeError as error:
            status, cause = error.status, "handshake"
            if status == 401:
                self._credential.refused()
        except _RedirectedError as error:
            status, cause = error.status, "redirect"
        except aiohttp.ClientConnectorCertificateError:
            cause = "certificate"
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a timeout is an OSError
            cause = waiting_for + type(error).__name__
        raise DialError(status, cause) from None


class _RedirectedError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


async def _refuse_redirects(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Following one would hand the key to whichever host the answer names."""
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise _RedirectedError(response.status)
    return response


def _socket(address: tuple[int, int, int, str, tuple[str, int]]) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, tcp.RECEIVE_BUFFER_BYTES)  # only heeded before connect
    tcp.tune(made, USER_TIMEOUT_MS)
    return made
