"""Where sessions are opened and closed: the mock's listener, and clients through whatever listens on a port."""

import asyncio

from bench.ends import GOODBYE, ClientEnd, GeminiEnd
from bench.frames import CLOSE, encode
from bench.session import BenchError, Session, Sessions

TIMEOUT_S = 20.0
"""For one session to open or to close."""
_AT_ONCE = 16


class Stage:
    """The mock upstream and every session that is open on it."""

    def __init__(self) -> None:
        self.port = 0
        """Where the mock listens."""
        self._sessions = Sessions()
        self._last = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port of the loopback interface."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: GeminiEnd(self._sessions), "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def check(self) -> None:
        """Raises BenchError when anything went wrong since the last call."""
        self._sessions.check()

    async def open(self, port: int, key: str, enforced: bool) -> Session:
        """Open one session through what listens on a port; returns when it is ready. Raises BenchError."""
        self._last += 1
        session = Session(self._last, key, enforced)
        self._sessions.live[session.number] = session
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.get_running_loop().create_connection(
                    lambda: ClientEnd(self._sessions, session, port), "127.0.0.1", port
                )
                await session.ready
        except (OSError, TimeoutError, BenchError) as error:
            self._sessions.check()
            raise BenchError(f"session {session.number} did not open: {error!r}") from None
        return session

    async def close(self, session: Session) -> None:
        """Let the client say goodbye; returns when both ends are gone. Raises BenchError."""
        session.closing = True
        assert session.up.transport is not None
        session.up.transport.write(encode(GOODBYE, CLOSE, masked=True))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await session.gone
        except TimeoutError:
            raise BenchError(f"session {session.number} did not close on both ends") from None
        del self._sessions.live[session.number]

    async def open_many(self, count: int, port: int, key: str, enforced: bool) -> list[Session]:
        """Open sessions, a few at a time. Raises BenchError."""
        opened: list[Session] = []
        while len(opened) < count:
            batch = min(_AT_ONCE, count - len(opened))
            opened += await asyncio.gather(*(self.open(port, key, enforced) for _ in range(batch)))
        return opened

    async def close_many(self, sessions: list[Session]) -> None:
        """Close sessions, all at once. Raises BenchError."""
        await asyncio.gather(*(self.close(session) for session in sessions))
