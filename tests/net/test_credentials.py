"""Access tokens: one fetch for everybody, renewed before they end, and never a wait that nobody else shares."""

import asyncio
import gc
import logging
import threading
from pathlib import Path

import pytest

from relay.core.secret import NOTHING, Secret
from relay.net.credentials import PAUSE_S, RENEW_S, TOO_LATE_S, ApiKey, CredentialError, FetchedToken, Token, TokenFile
from tests.net.conftest import WAIT_S

LIFETIME_S = 3600.0


class Bank:
    """Hands out numbered tokens, each when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetches = 0
        self.threads: set[str] = set()
        self.failure: CredentialError | None = None
        self.learned: list[Secret] = []
        self.open = threading.Event()
        self.open.set()
        self._begun = threading.Semaphore(0)

    def fetch(self) -> Token:
        """Blocks while it is closed."""
        self.fetches += 1
        self._begun.release()
        self.threads.add(threading.current_thread().name)
        assert self.open.wait(WAIT_S)
        if self.failure is not None:
            raise self.failure
        return Token(Secret(f"token-{self.fetches}"), self.now + LIFETIME_S)

    def credential(self) -> FetchedToken:
        """A credential that draws on it."""
        return FetchedToken(self.fetch, self.learned.append, lambda: self.now)

    async def begun(self) -> None:
        """Wait until one more fetch has begun."""
        assert await asyncio.to_thread(self._begun.acquire, timeout=WAIT_S)

    async def landed(self) -> None:
        """Wait until no fetch is under way, and what came of the last one is known on the loop."""
        for thread in threading.enumerate():
            if thread.name == "access-token":
                await asyncio.to_thread(thread.join, WAIT_S)
        await asyncio.sleep(0)  # what it handed to the loop is in line before us


async def shown(credential: FetchedToken) -> str:
    """The token a dial would show."""
    async with asyncio.timeout(WAIT_S):
        return (await credential.headers())["Authorization"].reveal().removeprefix("Bearer ")


async def test_an_api_key_is_a_header() -> None:
    """Of the Developer API and of Vertex in express mode alike."""
    assert await ApiKey(Secret("k")).headers() == {"x-goog-api-key": Secret("k")}


async def test_one_fetch_serves_everybody() -> None:
    """A crowd that arrives before the token is there shares the one that comes; later ones find it."""
    bank = Bank()
    bank.open.clear()
    credential = bank.credential()
    credential.start()
    crowd = [asyncio.create_task(shown(credential)) for _ in range(50)]
    await bank.begun()
    bank.open.set()

    assert set(await asyncio.gather(*crowd)) == {"token-1"}
    assert await shown(credential) == "token-1"
    assert (bank.fetches, bank.learned, bank.threads) == (1, [Secret("token-1")], {"access-token"})


async def test_a_client_that_leaves_does_not_take_the_fetch_along() -> None:
    """The first to ask is cancelled; the second gets what the first began."""
    bank = Bank()
    bank.open.clear()
    credential = bank.credential()
    first, second = (asyncio.create_task(shown(credential)) for _ in range(2))
    await bank.begun()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    bank.open.set()

    assert await second == "token-1"
    assert (first.cancelled(), bank.fetches) == (True, 1)


async def test_a_token_is_renewed_while_the_old_one_still_serves() -> None:
    """No dial waits for the renewal, even when it never comes."""
    bank = Bank()
    credential = bank.credential()
    assert await shown(credential) == "token-1"
    bank.now += LIFETIME_S - RENEW_S
    assert await shown(credential) == "token-1"
    assert bank.fetches == 1
    bank.open.clear()
    bank.now += 1
    assert [await shown(credential) for _ in range(3)] == ["token-1"] * 3
    bank.open.set()
    await bank.landed()

    assert await shown(credential) == "token-2"
    assert (bank.fetches, bank.learned) == (2, [Secret("token-1"), Secret("token-2")])


async def test_a_token_that_is_about_to_end_is_not_shown() -> None:
    """Google would refuse it half-way through the dial."""
    bank = Bank()
    credential = bank.credential()
    await shown(credential)
    bank.now += LIFETIME_S - TOO_LATE_S + 1

    assert await shown(credential) == "token-2"


async def test_a_refused_token_is_forgotten() -> None:
    """Taken back before its time: the next dial gets another."""
    bank = Bank()
    credential = bank.credential()
    await shown(credential)
    credential.refused()

    assert await shown(credential) == "token-2"


async def test_a_failure_holds_for_a_moment() -> None:
    """A crowd of clients is not a crowd of requests; afterwards it is tried again."""
    bank = Bank()
    bank.failure = CredentialError(401, "RefreshError")
    credential = bank.credential()
    for _ in range(3):
        with pytest.raises(CredentialError, match="RefreshError"):
            await shown(credential)
    assert bank.fetches == 1
    bank.now += PAUSE_S
    bank.failure = None

    assert await shown(credential) == "token-2"


async def test_a_failed_renewal_leaves_the_old_token(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waited for it, so nobody is told but the log; asyncio has nothing to complain of either."""
    bank = Bank()
    credential = bank.credential()
    await shown(credential)
    bank.failure = CredentialError(0, "TransportError")
    bank.now += LIFETIME_S - RENEW_S + 1
    with caplog.at_level(logging.WARNING):
        assert await shown(credential) == "token-1"
        await bank.landed()
        assert await shown(credential) == "token-1"
        bank.failure = None  # its traceback leads to everything
        del credential
        gc.collect()

    assert bank.fetches == 2
    assert "never retrieved" not in caplog.text


def test_a_fetch_that_outlives_the_loop_ends_quietly(capsys: pytest.CaptureFixture[str]) -> None:
    """The process is about to end: the thread finds no loop to report to."""
    bank = Bank()
    bank.open.clear()

    async def begin() -> None:
        bank.credential().start()
        await bank.begun()

    asyncio.run(begin())
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "access-token"]
    bank.open.set()
    thread.join(WAIT_S)

    assert not thread.is_alive()
    assert thread.daemon
    assert "Traceback" not in capsys.readouterr().err


async def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """Whoever keeps it fresh replaces it; between two changes it is not opened."""
    path = tmp_path / "token"
    path.write_text("first-token\n")
    learned: list[Secret] = []
    credential = TokenFile(path, learned.append)
    assert await credential.headers() == {"Authorization": Secret("Bearer first-token")}
    assert await credential.headers() == {"Authorization": Secret("Bearer first-token")}
    new = tmp_path / "new"
    new.write_text("other-token\n")
    new.replace(path)

    assert await credential.headers() == {"Authorization": Secret("Bearer other-token")}
    assert learned == [Secret("first-token"), Secret("other-token")]


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
async def test_a_token_file_without_a_token_is_tried_again(tmp_path: Path, content: bytes | None) -> None:
    """It may be about to be written."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    credential = TokenFile(path, [NOTHING].append)
    with pytest.raises(CredentialError) as failed:
        await credential.headers()
    assert failed.value.status == 0
    path.write_text("here it is")

    assert await credential.headers() == {"Authorization": Secret("Bearer here it is")}
