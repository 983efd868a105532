"""What the ledger is asked and what it answers: admission, charges, usage. The stores in `relay.store` keep it.

A charge carries the running totals of its session. What a store adds to a tenant's day is the difference to what it has
of that session already, so a charge that comes twice, late or after a lost one changes nothing that it should not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from relay.core.windows import Window

LEASE_S = 15.0
"""How long a session keeps its place at a shared store without being heard of: so long a dead replica blocks places."""
START_WINDOW_S = 60.0


class LedgerError(Exception):
    """The store can't be reached, or can't write: what was asked did not happen, or may not have."""


class Measure(StrEnum):
    """What a budget is in; the value names the amount of a charge that it limits."""

    TOKENS = "tokens"
    """All that Gemini read and wrote; cached ones are part of the prompt."""
    AUDIO = "audio_ms"
    """Milliseconds of speech, both directions together."""
    MONEY = "nanos"
    """Billionths of the currency unit."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Amounts that budgets limit."""

    tokens: int = 0
    audio_ms: int = 0
    nanos: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.audio_ms + other.audio_ms, self.nanos + other.nanos)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens - other.tokens, self.audio_ms - other.audio_ms, self.nanos - other.nanos)

    def of(self, measure: Measure) -> int:
        """The amount of one measure."""
        amount: int = getattr(self, measure.value)
        return amount


@dataclass(frozen=True, slots=True)
class Used:
    """What a tenant has used in the windows of the instant `at`, over all replicas that share the store."""

    day: Spent = Spent()
    month: Spent = Spent()
    at: float = 0.0
    """The store's clock, in Unix seconds."""

    def within(self, window: Window) -> Spent:
        """What was used in one window."""
        return self.day if window is Window.DAY else self.month


@dataclass(frozen=True, slots=True)
class Allowance:
    """A budget: so much of a measure in each window."""

    window: Window
    measure: Measure
    limit: int
    """Tokens, milliseconds or billionths of the currency unit."""


@dataclass(frozen=True, slots=True)
class Ask:
    """May this tenant begin one more session?"""

    tenant: str
    session: str
    concurrent_sessions: int | None = None
    starts_per_minute: int | None = None
    allowances: tuple[Allowance, ...] = ()


class Cause(StrEnum):
    """Why a session was not admitted; also a metric label."""

    CONCURRENT_SESSIONS = "concurrent_sessions"
    STARTS_PER_MINUTE = "starts_per_minute"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to an `Ask`; a session that was admitted holds a place until it is released."""

    refused: Cause | None
    used: Used
    retry_after_s: float = 0.0
    """When asking again can help; 0 when nobody knows."""


@dataclass(frozen=True, slots=True)
class Charge:
    """The running totals of one session."""

    tenant: str
    session: str
    model: str
    """The name of the model's row in the price table, not what a client wrote."""
    sequence: int
    """Counts the charges of its session from 1: a store that has one of this number or a later one ignores it."""
    amounts: Mapping[str, int]
    """By name; those of `Measure` are among them. No amount of a session ever becomes smaller."""
    started_at: float
    """When the session began, in Unix seconds."""

    @property
    def spent(self) -> Spent:
        """The amounts that budgets limit."""
        return Spent(*(self.amounts.get(measure.value, 0) for measure in Measure))


@dataclass(frozen=True, slots=True)
class Query:
    """Which usage to list: whole days from `first` to `last` (`2026-11-25`), of one tenant or of all."""

    first: str
    last: str
    by: Literal["day", "model", "session"] = "day"
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Usage of one tenant under one key: a day, a model or a session."""

    tenant: str
    key: str
    amounts: Mapping[str, int]


class Ledger(Protocol):
    """A store of places, budgets and usage. Every method raises LedgerError when the store fails, and is bounded."""

    async def start(self) -> None:
        """Open the store."""
        ...

    async def stop(self) -> None:
        """Write what is left and close."""
        ...

    async def admit(self, ask: Ask) -> Verdict:
        """Decide and take a place, in one step that nothing can come between; a session that has one keeps it."""
        ...

    async def release(self, tenant: str, session: str) -> None:
        """Give a place back; one that is not held is no error."""
        ...

    async def settle(self, charges: Sequence[Charge], live: Mapping[str, Sequence[str]]) -> dict[str, Used]:
        """Take charges, keep the places of the sessions in `live` (by tenant), and say what those tenants have used.

        A tenant that is not in the answer could not be settled: its charges have to come again.
        """
        ...

    async def used(self, tenant: str) -> Used:
        """What a tenant has used in the windows of now."""
        ...

    async def usage(self, query: Query) -> list[Row]:
        """What was used, sorted by tenant and key."""
        ...
