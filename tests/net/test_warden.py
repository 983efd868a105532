"""The watch over credentials, alone with a store that a test writes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from relay.core.closing import CloseReason
from relay.core.events import BudgetSpent, CredentialOver
from relay.core.ledger import LedgerError
from relay.core.tickets import Allotment, Grant, Stub, Use
from relay.metrics import Metrics
from relay.net import warden
from relay.net.registry import Live, Registry
from relay.net.warden import Warden
from tests.net.conftest import WAIT_S

NOW = 1_795_608_000.0


@dataclass
class Store:
    """A store whose clock and answers a test sets."""

    at: float = NOW
    marks: dict[str, float] = field(default_factory=dict)
    used: dict[str, Allotment | LedgerError] = field(default_factory=dict)
    stub: Stub | LedgerError | None = None
    since: list[float] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    async def start(self) -> None:
        """There is nothing to open."""

    async def stop(self) -> None:
        """There is nothing to close."""

    async def now(self) -> float:
        """As it was set."""
        return self.at

    async def add(self, ticket_id: str, stub: Stub) -> None:
        """Remembered."""
        self.added.append(ticket_id)

    async def find(self, ticket_id: str) -> Stub | None:
        """What was set."""
        if isinstance(self.stub, LedgerError):
            raise self.stub
        return self.stub

    async def use(self, ticket_id: str, session: str) -> Use:
        """Always."""
        return Use.USED

    async def spend(self, ticket_id: str, session: str, used: Allotment) -> Allotment:
        """What was set."""
        found = self.used.get(ticket_id, Allotment(0.0, 0, 0))
        if isinstance(found, LedgerError):
            raise found
        return found

    async def revoke(self, mark: str, ticket_id: str | None = None) -> None:
        """Noted with the store's time."""
        self.marks[mark] = self.at

    async def revocations(self, since: float) -> dict[str, float]:
        """Those since."""
        self.since.append(since)
        return {mark: at for mark, at in self.marks.items() if at >= since}


class Driver:
    """Hears what its session is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.session: Any = None

    def dispatch(self, event: Any) -> None:
        """Keep it."""
        self.told.append(event)

    @property
    def reasons(self) -> list[CloseReason]:
        """Why it was to end."""
        return [event.close.reason for event in self.told if isinstance(event, CredentialOver)]


@pytest.fixture
def store() -> Store:
    """The store."""
    return Store()


@pytest.fixture
def registry() -> Registry:
    """The sessions."""
    return Registry(100)


Watch = Callable[..., Awaitable[Warden]]


@pytest.fixture
async def watch(store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    """Starts a watch that looks all the time, on a machine whose own clock is an hour fast."""
    for name in ("LOOK_S", "POLL_S", "SPEND_S"):
        monkeypatch.setattr(warden, name, 0.005)
    monkeypatch.setattr(warden, "used_by", lambda _session, _now: Allotment())
    running: list[Warden] = []

    async def start(*chores: Callable[[], Awaitable[None]]) -> Warden:
        made = Warden(store, registry, Metrics(CollectorRegistry()), lambda: NOW + 3600.0, chores)
        running.append(made)
        await made.start()
        return made

    yield start
    for made in running:
        await made.stop()


def _live(registry: Registry, name: str, grant: Grant | None = None) -> Driver:
    driver = Driver()
    registry._live[name] = Live(name, "acme", driver=driver, grant=grant)  # type: ignore[arg-type]
    return driver


def _grant(name: str = "t", expires_at: float = NOW + 600, allotment: Allotment | None = None) -> Grant:
    return Grant(name, True, NOW - 10, expires_at, "eva", allotment=allotment or Allotment())


async def _until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.002)


@pytest.mark.threat("E8")
async def test_the_store_s_time_counts(store: Store, registry: Registry, watch: Watch) -> None:
    """Not this machine's, which is an hour ahead; and by the store's it ends."""
    made = await watch()
    driver = _live(registry, "s", _grant())
    polls = len(store.since)
    await _until(lambda: len(store.since) > polls + 3)
    assert driver.told == []
    assert abs(made.now() - NOW) < 5
    store.at = NOW + 601
    await _until(lambda: driver.told)
    assert set(driver.reasons) == {CloseReason.CREDENTIAL_EXPIRED}


@pytest.mark.threat("B7")
async def test_a_provider_that_hangs_holds_up_nobody_s_end(store: Store, registry: Registry, watch: Watch) -> None:
    """Key sets are fetched beside the watch."""
    release = asyncio.Event()
    calls = 0

    async def hang() -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            await release.wait()

    await watch(hang)
    await _until(lambda: calls > 1)
    driver = _live(registry, "s", _grant(expires_at=NOW - 1))
    await _until(lambda: driver.told)
    assert driver.reasons[0] is CloseReason.CREDENTIAL_EXPIRED
    release.set()


@pytest.mark.threat("E10", "B8")
@pytest.mark.parametrize("at", [NOW * 2, float("inf"), NOW + 3600])
async def test_a_mark_from_the_future_hides_no_later_one(
    store: Store, registry: Registry, watch: Watch, at: float
) -> None:
    """Somebody else wrote it. It revokes nothing, and what is revoked afterwards is."""
    store.marks["ticket:acme:x"] = at
    made = await watch()
    forged, driver = _live(registry, "f", _grant("x")), _live(registry, "s", _grant("t"))
    store.marks["ticket:acme:t"] = NOW
    await _until(lambda: driver.told)
    assert driver.reasons[0] is CloseReason.CREDENTIAL_REVOKED
    assert forged.told == []
    assert not made.revoked("acme", _grant("x"))
    assert max(store.since) < NOW


@pytest.mark.threat("E10")
async def test_one_allotment_that_cannot_be_read_keeps_no_other_from_its_end(
    store: Store, registry: Registry, watch: Watch
) -> None:
    """Each session is looked at for itself."""
    limited = Allotment(seconds=60)
    store.used |= {"p": LedgerError("x"), "t": Allotment(60.0, 0, 0)}
    await watch()
    poisoned = _live(registry, "p", _grant("p", allotment=limited))
    driver = _live(registry, "s", _grant("t", allotment=limited))
    await _until(lambda: driver.told)
    assert driver.told[0] == BudgetSpent("seconds of this ticket")
    assert poisoned.told == []


async def test_a_ticket_that_cannot_be_read_can_be_revoked(store: Store, registry: Registry, watch: Watch) -> None:
    """Its sessions end by its mark."""
    made = await watch()
    driver = _live(registry, "s", _grant("t"))
    store.stub = LedgerError("x")
    assert await made.revoke("ticket:acme:t") == 1
    assert driver.reasons[0] is CloseReason.CREDENTIAL_REVOKED


async def test_a_token_with_limits_is_counted_like_a_ticket(store: Store, registry: Registry, watch: Watch) -> None:
    """The store hears of it when its first session begins; one without limits is none of its business."""
    made = await watch()
    for name, allotment in (("free", Allotment()), ("limited", Allotment(tokens=5))):
        grant = Grant(name, False, NOW, NOW + 60, "eva", allotment=allotment)
        assert await made.admit(Live(name, "acme", grant=grant), new=True) is None
    assert store.added == ["limited"]
    store.used["limited"] = Allotment(0.0, 5, 0)
    refused = await made.admit(
        Live("x", "acme", grant=Grant("limited", False, NOW, NOW + 60, "eva", allotment=Allotment(tokens=5))), new=False
    )
    assert refused is not None
    assert refused.text == "the budget is used up: tokens of this token"


def test_a_watch_that_never_began_knows_the_time(store: Store, registry: Registry) -> None:
    """This machine's, until the store has told its own."""
    made = Warden(store, registry, Metrics(CollectorRegistry()), time.time)
    assert abs(made.now() - time.time()) < 5
