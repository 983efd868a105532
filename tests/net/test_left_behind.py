"""What ended sessions leave: nothing, at once, so that no pause for the collector of cycles grows with them."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from relay.core.session import Session
from relay.net.driver import Driver
from relay.net.engine import Engine
from relay.net.leg import Leg
from relay.sim.actions import Action
from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, Start
from tests.net.continuing import MODEL, Client, gone, simulator

POLICY = {"model": MODEL, "allow": ["*"]}


@pytest.fixture
def _uncollected() -> Iterator[None]:
    """No cycle is collected meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Births:
    """Everything of the relay that one session is made of, told apart from the dead."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._all: list[weakref.ref[Any]] = []
        for kind in (Driver, Engine, Leg, Session):
            self._watch(patch, kind)

    def _watch(self, patch: pytest.MonkeyPatch, kind: type) -> None:
        make = kind.__init__  # type: ignore[misc]

        def made(one: Any, *arguments: Any, **named: Any) -> None:
            make(one, *arguments, **named)
            self._all.append(weakref.ref(one))
            if kind is Engine:
                self._all.append(weakref.ref(one._socket))

        patch.setattr(kind, "__init__", made)

    def __len__(self) -> int:
        return len(self._all)

    def living(self) -> list[str]:
        """The names of the kinds of those that live."""
        return sorted(type(one).__name__ for ref in self._all if (one := ref()) is not None)

    async def all_dead(self) -> None:
        """Wait until the ledger knows the session, and nobody anything of it."""
        try:
            async with asyncio.timeout(WAIT_S):
                while self.living():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"these live on: {', '.join(self.living())}") from None


@pytest.mark.usefixtures("_uncollected")
async def test_a_session_that_was_moved_parked_and_found_again_leaves_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two sockets of the client's, two legs to Gemini and all that joined them."""
    births = Births(monkeypatch)
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin_parked("hello")
        await client.come_back()
        google.fault(Action("cut", {"reset": True}))
        await client.turn("hello again")
        assert set(births.living()) >= {"Driver", "Engine", "Leg", "ServerSocket", "Session"}
        assert len(births) >= 4 * 3 + 2 * 2
        await client.socket.close()
        await gone(running)

        await births.all_dead()


@pytest.mark.usefixtures("_uncollected")
@pytest.mark.parametrize("first", ["no setup", '{"setup": {}}'])
async def test_a_session_that_failed_leaves_nothing(
    start: Start, origin: Origin, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Whoever keeps failing, by a bad setup or before a Gemini that refuses, makes no work for others."""
    births = Births(monkeypatch)
    origin.script = _close
    running = await start()
    socket = await running.connect(headers={"x-goog-api-key": TENANT_KEY})
    await socket.send_str(first)
    async with asyncio.timeout(WAIT_S):
        while not socket.closed:
            await socket.receive()

    await births.all_dead()
    assert len(births) >= 4


async def _close(socket: Any) -> None:
    await socket.receive()
    await socket.close(code=1008, message=b"no")
