"""What the relay shows Google: an API key, or an access token that is fetched, kept and renewed.

A token serves the whole process. However many dials ask, one fetch is under way, in a thread of its own: the libraries
that fetch tokens block. What they say when they fail stays here; it may hold what they were sent.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from relay.core.secret import NOTHING, Secret

RENEW_S = 300.0
"""A token is renewed in the background once it has less than this left; dials go on with the old one."""
TOO_LATE_S = 30.0
"""With less than this left it is not used: Google's clock is not ours."""
PAUSE_S = 1.0
"""After a failed fetch everybody is told of it for this long, or a crowd of clients would become one of requests."""

_log = structlog.get_logger()

Learn = Callable[[Secret], None]
"""Tells the log's scrubber of a new secret."""


class CredentialError(Exception):
    """There is nothing to show Google. `status` is 401 where trying again is pointless, else 0."""

    def __init__(self, status: int, cause: str) -> None:
        """`cause` is a word or two for the log, and holds no secret."""
        super().__init__(cause)
        self.status = status
        self.cause = cause


class Credential(Protocol):
    """Authenticates the relay to Google."""

    async def headers(self) -> dict[str, Secret]:
        """The header for one dial. Raises CredentialError."""
        ...

    def refused(self) -> None:
        """Google answered a dial with 401."""
        ...

    def start(self) -> None:
        """Get ready. Needs a running event loop."""
        ...


class _Settled:
    """A credential that is there or not: nothing to get ready, and nothing to be done about a 401."""

    def refused(self) -> None:
        pass

    def start(self) -> None:
        pass


class ApiKey(_Settled):
    """An API key, of the Developer API or of Vertex in express mode."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    async def headers(self) -> dict[str, Secret]:
        """See `Credential`."""
        return {"x-goog-api-key": self._key}


class TokenFile(_Settled):
    """An access token in a file that somebody else keeps fresh; read again whenever the file was written."""

    def __init__(self, path: Path, learn: Learn) -> None:
        self._path = path
        self._learn = learn
        self._seen: tuple[int, int, int] | None = None
        self._token = NOTHING

    async def headers(self) -> dict[str, Secret]:
        """See `Credential`; a file that can't be read just now may be about to be replaced."""
        try:
            return _bearer(self._current())
        except (OSError, UnicodeDecodeError):
            raise CredentialError(0, "file") from None

    def _current(self) -> Secret:
        stat = self._path.stat()
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen != self._seen:
            token = Secret(self._path.read_text("utf-8").strip())
            if not token:
                raise CredentialError(0, "file empty")
            self._learn(token)
            self._token, self._seen = token, seen
        return self._token


@dataclass(frozen=True, slots=True)
class Token:
    """One access token."""

    text: Secret
    expires_at: float
    """Wall time in seconds."""


class FetchedToken:
    """An access token from a function that gets one, which may block and raises CredentialError."""

    def __init__(self, fetch: Callable[[], Token], learn: Learn, clock: Callable[[], float]) -> None:
        """`clock` is wall time in seconds."""
        self._fetch = fetch
        self._learn = learn
        self._clock = clock
        self._token: Token | None = None
        self._fetching: asyncio.Future[Token] | None = None
        self._pause_until = 0.0

    def start(self) -> None:
        """Fetch the first token now, so that no client waits for it and a mistake shows in the log at once."""
        self._begin()

    def refused(self) -> None:
        """Forget the token: it was taken back before its time."""
        self._token = None

    async def headers(self) -> dict[str, Secret]:
        """See `Credential`."""
        token = self._token
        left_s = token.expires_at - self._clock() if token is not None else 0.0
        if left_s < RENEW_S:
            fetching = self._begin()
            if token is None or left_s < TOO_LATE_S:
                # Shielded, because a client that leaves must not take away what others wait for.
                token = await asyncio.shield(fetching)
        assert token is not None, "there is one with time left, or it was waited for"
        return _bearer(token.text)

    def _begin(self) -> asyncio.Future[Token]:
        """The fetch under way, the failed one that is not long ago, or a new one."""
        fetching = self._fetching
        if fetching is None or (fetching.done() and self._clock() >= self._pause_until):
            loop = asyncio.get_running_loop()
            fetching = self._fetching = loop.create_future()
            # Not the loop's executor: the end of the process would wait for its threads.
            threading.Thread(target=self._run, args=(loop, fetching), name="access-token", daemon=True).start()
        return fetching

    def _run(self, loop: asyncio.AbstractEventLoop, fetching: asyncio.Future[Token]) -> None:
        """The thread."""
        outcome: Token | CredentialError
        try:
            outcome = self._fetch()
        except CredentialError as error:
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            loop.call_soon_threadsafe(self._landed, fetching, outcome)

    def _landed(self, fetching: asyncio.Future[Token], outcome: Token | CredentialError) -> None:
        if isinstance(outcome, Token):
            self._learn(outcome.text)
            self._token, self._fetching = outcome, None
            fetching.set_result(outcome)
            return
        self._pause_until = self._clock() + PAUSE_S
        _log.warning("no access token", cause=outcome.cause)
        fetching.set_exception(outcome)
        fetching.exception()  # nobody may be waiting, and asyncio would complain of that


def _bearer(token: Secret) -> dict[str, Secret]:
    return {"Authorization": Secret(f"Bearer {token.reveal()}")}
