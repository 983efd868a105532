"""The tenants' accounts: what sessions run up, when a budget is spent, what the ledger is told of it.

Charging is arithmetic in this process and waits for nothing. One task for all sessions carries what they ran up to the
ledger, several times a second, and brings back what other replicas used; when the ledger fails it comes again with the
newest totals, so nothing is lost and nothing doubled, and sessions go on meanwhile.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from itertools import islice

import structlog

from relay.core.budget import LEVELS_PERCENT, Account, Quotas
from relay.core.events import BudgetSpent
from relay.core.ledger import LEASE_S, Allowance, Ledger, LedgerError, Measure, Spent
from relay.core.session import Session
from relay.metrics import Metrics
from relay.net.books import Entry, Terms
from relay.net.labels import Labels
from relay.net.records import Recorder

RENEW_S = LEASE_S / 3
"""How often places at a shared ledger are renewed: two renewals may fail."""
MAX_ENDED = 20_000
"""Ended sessions whose last charge may wait for the ledger, about 5 KB each."""
PART = 100
"""Sessions that are looked at, or charges that are settled, before others have a turn."""
STOP_S = 2.0
"""For the last charges to be settled when the relay stops."""

_log = structlog.get_logger()


class Accounts:
    """The books of the process."""

    def __init__(
        self, ledger: Ledger, quotas: Mapping[str, Quotas], terms: Terms, recorder: Recorder, metrics: Metrics
    ) -> None:
        self.degraded = False
        """The ledger failed the last time it was asked to settle."""
        self._ledger = ledger
        self._quotas = quotas
        self._terms = terms
        self._recorder = recorder
        self._metrics = metrics
        self._live: dict[str, Entry] = {}
        self._ended: dict[str, Entry] = {}
        self._freed: list[Entry] = []
        """Their places have to be given back."""
        self._accounts: dict[str, Account] = {}
        self._renewed_at = 0.0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the ledger and begin to settle. Raises LedgerError."""
        await self._ledger.start()
        loop = asyncio.get_running_loop()
        for tenant, quotas in self._quotas.items():
            self._accounts[tenant] = Account(quotas.allowances, loop.time(), self._recorder.clock())
            for allowance in quotas.allowances:
                for level in LEVELS_PERCENT:
                    self._metrics.budget_events.labels(tenant, *labels_of(allowance), level)
            self._judge(tenant)
        # The one task that is not a session's: it lives as long as the process and is ended by `stop`.
        self._task = loop.create_task(self._run(), name="accounts")

    async def stop(self) -> None:
        """Settle what is owed, within `STOP_S`, and close the ledger."""
        self._stopping.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._task
        if self._ended:
            _log.error("usage was lost: the ledger did not take it in time", sessions=len(self._ended))
        with contextlib.suppress(LedgerError):
            await self._ledger.stop()

    # Sessions ---------------------------------------------------------------------------------------------------------

    def open(
        self, tenant: str, session_id: str, session: Session, tell: Callable[[BudgetSpent], None], labels: Labels
    ) -> Entry:
        """A session begins; `tell` hands it events."""
        now = asyncio.get_running_loop().time()
        entry = Entry(tenant, session_id, session, tell, self._recorder.clock(), now, labels)
        self._live[session_id] = entry
        return entry

    def charged(self, entry: Entry) -> None:
        """Put what a session ran up on its tenant's account, and act on what that means for the budget."""
        self._accounts[entry.tenant].charge(entry.run_up())
        self._judge(entry.tenant)

    def close(self, entry: Entry, reason: str) -> None:
        """A session has ended, for this reason; its last charge is settled soon."""
        now = asyncio.get_running_loop().time()
        del self._live[entry.id]
        self._accounts[entry.tenant].charge(entry.run_up())
        entry.charged(now, entry.session.tab.times(now))
        self._recorder.record(entry, now, reason)
        self._ended[entry.id] = entry
        if len(self._ended) > MAX_ENDED:
            lost = self._ended.pop(next(iter(self._ended)))
            self._metrics.charges_lost.inc()
            _log.error("usage was lost: too much waits for the ledger", tenant=lost.tenant, session=lost.id)

    def drop(self, entry: Entry) -> None:
        """There was no session after all: its client went over to another one."""
        del self._live[entry.id]
        self._freed.append(entry)

    def account(self, tenant: str) -> Account:
        """A tenant's budgets as this process knows them."""
        return self._accounts[tenant]

    async def free_parked(self, tenant: str) -> None:
        """Give back the places of a tenant's parked sessions now: their clients may be the ones that ask for one."""
        for entry in self._live.values():
            if entry.tenant == tenant and entry.session.parked and entry.has_place:
                self._freed.append(entry)
        await self._give_back()

    # Budgets ----------------------------------------------------------------------------------------------------------

    def _judge(self, tenant: str) -> None:
        """Tell of levels that were reached, and every session when nothing is left."""
        account, now = self._accounts[tenant], asyncio.get_running_loop().time()
        for crossing in account.crossings(now):
            window, measure = labels_of(crossing.allowance)
            self._metrics.budget_events.labels(tenant, window, measure, crossing.level_percent).inc()
            self._recorder.budget(
                tenant,
                window=window,
                measure=measure,
                level_percent=crossing.level_percent,
                used=crossing.used,
                limit=crossing.allowance.limit,
            )
        for allowance, left in account.left(now):
            self._metrics.budget_used.labels(tenant, *labels_of(allowance)).set(1 - left / allowance.limit)
        spent = account.spent(now)
        if spent is not None:
            event = BudgetSpent(words_for(spent))
            for entry in list(self._live.values()):
                if entry.tenant == tenant:
                    entry.tell(event)

    # The ledger -------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        last = False
        while not last or self._ended:
            last = self._stopping.is_set()
            try:
                await self._settle()
                self._note(None)
            except LedgerError as error:
                self._note(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._terms.settle_s):
                    await (asyncio.Event() if last and self._ended else self._stopping).wait()

    def _note(self, failure: LedgerError | None) -> None:
        """Remember how it went, and tell when that changes."""
        if failure is not None and not self.degraded:
            _log.error("the ledger failed; usage is kept until it is back", cause=str(failure))
        if failure is None and self.degraded:
            _log.info("the ledger is back")
        self.degraded = failure is not None
        self._metrics.ledger_degraded.set(self.degraded)
        self._metrics.ledger_waiting.set(len(self._ended))

    async def _settle(self) -> None:
        now = asyncio.get_running_loop().time()
        owing: list[Entry] = []
        for number, entry in enumerate([*self._ended.values(), *self._live.values()]):
            if number % PART == PART - 1:
                await asyncio.sleep(0)
            if entry.id in self._live:
                self._accounts[entry.tenant].charge(entry.run_up())
                if now - entry.recorded_at >= self._terms.flush_s:
                    self._recorder.record(entry, now, None)
            if entry.charged(now) if entry.id in self._live else entry.owed:
                owing.append(entry)
        for tenant in self._accounts:
            self._judge(tenant)
        await self._pay(owing, self._places(now))
        await self._give_back()
        if now - self._renewed_at >= RENEW_S:
            self._renewed_at = now

    async def _give_back(self) -> None:
        while self._freed:
            entry = self._freed.pop()
            entry.has_place = False
            try:
                if self._terms.shared:
                    await self._ledger.release(entry.tenant, entry.id)
            except LedgerError:
                entry.has_place = True  # until its lease is over, or it is tried again
                raise

    def _places(self, now: float) -> dict[str, list[str]]:
        """The sessions whose places have to be renewed, by tenant; a tenant without any is there to be asked about."""
        places: dict[str, list[str]] = {}
        due = now - self._renewed_at >= RENEW_S
        for entry in self._live.values():
            renewed = places.setdefault(entry.tenant, [])
            if entry.session.parked:
                if entry.has_place:
                    self._freed.append(entry)
            elif due or not entry.has_place:
                entry.has_place = True
                renewed.append(entry.id)
        return places

    async def _pay(self, owing: list[Entry], places: dict[str, list[str]]) -> None:
        waiting, unsettled = iter(owing), 0
        while True:
            part = list(islice(waiting, PART))
            charges = {entry.id: entry.charge for entry in part if entry.charge is not None}
            if not charges and not places:
                break
            used = await self._ledger.settle(list(charges.values()), places)
            places = {}
            now = asyncio.get_running_loop().time()
            settled: dict[str, Spent] = {}
            for entry in part:
                if entry.tenant in used:
                    settled[entry.tenant] = settled.get(entry.tenant, Spent()) + entry.paid(charges[entry.id])
                    if not entry.owed:
                        self._ended.pop(entry.id, None)
                else:
                    unsettled += 1
            for tenant, known in used.items():
                self._accounts[tenant].learn(known, settled.get(tenant, Spent()), now)
                self._judge(tenant)
        if unsettled:
            raise LedgerError(f"the charges of {unsettled} sessions were not taken")


def labels_of(allowance: Allowance) -> tuple[str, str]:
    """Window and measure of a budget as they are called in metrics and logs."""
    measures = {Measure.TOKENS: "tokens", Measure.AUDIO: "audio", Measure.MONEY: "money"}
    return allowance.window.value, measures[allowance.measure]


def words_for(allowance: Allowance) -> str:
    """A budget in words for a client."""
    return "{1} of this {0}".format(*labels_of(allowance))
