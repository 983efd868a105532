"""May a tenant begin one more session? Asked before the upgrade, so that a browser can read the answer's status."""

import asyncio
import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from relay.core.budget import Quotas
from relay.core.ledger import START_WINDOW_S, Ask, Cause, Ledger, LedgerError
from relay.net.accounts import Accounts
from relay.net.books import Terms

RETRY_AFTER_S = 5.0
"""What a client is told to wait where nobody knows."""

_log = structlog.get_logger()

_WORDS = {
    Cause.CONCURRENT_SESSIONS: "this tenant has as many sessions as it may",
    Cause.STARTS_PER_MINUTE: "this tenant has begun as many sessions in a minute as it may",
    Cause.BUDGET: "this tenant's budget is used up",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a session may not begin now."""

    status: int
    cause: str
    words: str
    retry_after_s: float


class Gate:
    """Asks the ledger, and knows what to do when it does not answer."""

    def __init__(self, ledger: Ledger, accounts: Accounts, quotas: Mapping[str, Quotas], terms: Terms) -> None:
        self._ledger = ledger
        self._accounts = accounts
        self._quotas = quotas
        self._terms = terms
        self._starts: dict[str, list[float]] = {}

    @property
    def degraded(self) -> bool:
        """Whether the ledger failed the last time it was asked to settle."""
        return self._accounts.degraded

    @property
    def shut(self) -> bool:
        """Whether the ledger fails and sessions that it has to admit are refused for that."""
        return self._accounts.degraded and not self._terms.open_when_down

    async def admit(self, tenant: str, session_id: str, sessions_here: int) -> Refused | None:
        """None when a tenant with `sessions_here` attached sessions in this process may begin one more."""
        quotas = self._quotas[tenant]
        concurrent = quotas.concurrent_sessions if self._terms.shared else None
        if concurrent is None and quotas.starts_per_minute is None and not quotas.allowances:
            return None
        if (spent := self._spent(tenant)) is not None:  # the ledger may not know yet
            return spent
        try:
            if concurrent is not None:
                await self._accounts.free_parked(tenant)
            verdict = await self._ledger.admit(
                Ask(tenant, session_id, concurrent, quotas.starts_per_minute, quotas.allowances)
            )
        except LedgerError as error:
            _log.warning("the ledger did not answer", tenant=tenant, cause=str(error))
            return self._admit_alone(tenant, quotas, sessions_here)
        return None if verdict.refused is None else _refused(verdict.refused, verdict.retry_after_s)

    async def leave(self, tenant: str, session_id: str) -> None:
        """Give the place of a session back; where the ledger fails, it is free when its lease is over."""
        if self._terms.shared:
            with contextlib.suppress(LedgerError):
                await self._ledger.release(tenant, session_id)

    def _admit_alone(self, tenant: str, quotas: Quotas, sessions_here: int) -> Refused | None:
        """Decide without the ledger: not at all, or by this replica's share of the limits."""
        if not self._terms.open_when_down:
            return Refused(503, "ledger", "this tenant's limits can't be checked now, try again later", RETRY_AFTER_S)
        now = asyncio.get_running_loop().time()
        starts = self._starts[tenant] = [at for at in self._starts.get(tenant, ()) if at > now - START_WINDOW_S]
        if sessions_here >= self._share(quotas.concurrent_sessions):
            return _refused(Cause.CONCURRENT_SESSIONS, 0.0)
        if len(starts) >= self._share(quotas.starts_per_minute):
            return _refused(Cause.STARTS_PER_MINUTE, starts[0] + START_WINDOW_S - now)
        starts.append(now)
        return None

    def _spent(self, tenant: str) -> Refused | None:
        account, now = self._accounts.account(tenant), asyncio.get_running_loop().time()
        spent = account.spent(now)
        return None if spent is None else _refused(Cause.BUDGET, account.renewed_after_s(spent, now))

    def _share(self, limit: int | None) -> float:
        return math.inf if limit is None else max(limit // self._terms.replicas, 1)


def _refused(cause: Cause, retry_after_s: float) -> Refused:
    return Refused(429, cause.value, _WORDS[cause], retry_after_s or RETRY_AFTER_S)
