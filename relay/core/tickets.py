"""Short-lived credentials: what a ticket grants, what it fixes of a setup, and what its store is asked.

A ticket is a random name; everything it stands for is in the store, under the name's SHA-256. Nothing here makes names,
reads clocks or speaks HTTP.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from relay.core import schema
from relay.core.client_frames import canonical
from relay.core.refusals import Refusal, Rule


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a ticket fixes of its holder's setup; the tenant's policy judges the outcome as it judges any setup."""

    setup: Mapping[str, Any] = field(repr=False)
    """A canonical setup."""
    mask: tuple[str, ...] = ()
    """Canonical paths that are taken from `setup`, or left out if it lacks them; none: `setup` replaces everything."""

    def imposed(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The setup that counts as the client's; only its way back into a session always stays its own."""
        imposed = dict(asked) if self.mask else dict(self.setup)
        for path in self.mask:
            imposed = _overwritten(imposed, self.setup, path.split("."))
        if (resumption := asked.get("sessionResumption")) is not None:
            own = {name: value for name, value in resumption.items() if name == "handle"}
            fixed = imposed.get("sessionResumption", {}) if self.locks("sessionResumption") else resumption
            imposed["sessionResumption"] = {**fixed, **own}
        return imposed

    def locks(self, name: str) -> bool:
        """Whether the setup field of this name is fixed, in whole or in part."""
        return not self.mask or any(path.partition(".")[0] == name for path in self.mask)


def constraint_of(setup: object, mask: str) -> Constraint | Refusal | None:
    """Read `bidiGenerateContentSetup` (None when absent) and `fieldMask` as Google defines them; None for neither."""
    body: dict[str, Any] | Refusal = {} if setup is None else canonical("Setup", setup, "")
    if isinstance(body, Refusal):
        return Refusal(body.rule, _within("bidiGenerateContentSetup", body.path), body.words)
    paths = []
    for written in filter(None, (path.strip() for path in mask.split(","))):
        path = schema.canonical_path(written)
        if path is None:
            return Refusal(Rule.UNKNOWN_FIELD, "fieldMask", f"names no field of setup{_shown(written)}")
        if any(schema.is_list(step) for step in _above(path)):
            return Refusal(Rule.WRONG_TYPE, "fieldMask", f"reaches into a list: {path}")
        paths.append(path)
    return Constraint(body, tuple(dict.fromkeys(paths))) if setup is not None or paths else None


def _within(field_name: str, path: str) -> str:
    return f"{field_name}.{path}" if path else field_name


def _above(path: str) -> Iterable[str]:
    steps = path.split(".")
    return (".".join(steps[:count]) for count in range(1, len(steps)))


def _shown(text: str) -> str:
    """A client's path, quoted only where it looks like one: anything else may be what nobody should read."""
    return f": {text[:60]}" if re.fullmatch(r"[A-Za-z0-9_.]+", text) else ""


def _overwritten(under: Mapping[str, Any], over: Mapping[str, Any], steps: list[str]) -> dict[str, Any]:
    head, *rest = steps
    merged = dict(under)
    if rest and (head in under or head in over):
        inner = _overwritten(_mapping(under.get(head)), _mapping(over.get(head)), rest)
        if inner or head in over:
            merged[head] = inner
        else:
            merged.pop(head, None)
    elif head in over:
        merged[head] = over[head]
    else:
        merged.pop(head, None)
    return merged


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if type(value) is dict else {}


@dataclass(frozen=True, slots=True)
class Allotment:
    """What all sessions of one ticket together may use; None is no limit. Also what they have used."""

    seconds: float | None = None
    tokens: int | None = None
    nanos: int | None = None
    """Billionths of the currency unit."""

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return (self.seconds, self.tokens, self.nanos) != (None, None, None)

    def spent(self, used: "Allotment") -> str | None:
        """The first limit that is reached, in a word for a client."""
        for name, word in (("seconds", "seconds"), ("tokens", "tokens"), ("nanos", "money")):
            limit = getattr(self, name)
            if limit is not None and (getattr(used, name) or 0) >= limit:
                return word
        return None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a ticket, or a token of a tenant's identity provider, says of its holder."""

    id: str
    """For a ticket the SHA-256 of its name, in hex; for a token that of the token. No secret."""
    ticket: bool
    """Whether uses of it are counted; a token may be used until it expires."""
    issued_at: float
    """Unix seconds, as `expires_at`."""
    expires_at: float
    end_user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    allotment: Allotment = Allotment()
    session_s: float | None = None
    """How long one session may last."""
    constraint: Constraint | None = None

    @property
    def subject(self) -> str:
        """To whom its resumption handles belong: the end user, over several tickets, or else the ticket."""
        return f"user:{self.end_user}" if self.end_user else f"grant:{self.id}"

    def spent(self, used: Allotment) -> str | None:
        """Which of its limits is reached, in words for a client."""
        word = self.allotment.spent(used)
        return None if word is None else f"{word} of this {'ticket' if self.ticket else 'token'}"

    def marks(self, tenant: str) -> list[str]:
        """The marks under which it may be revoked."""
        own = [mark_of_tenant(tenant), mark_of_ticket(tenant, self.id)]
        return [*own, mark_of_user(tenant, self.end_user)] if self.end_user else own


def mark_of_tenant(tenant: str) -> str:
    """All of a tenant's."""
    return f"tenant:{tenant}"


def mark_of_user(tenant: str, end_user: str) -> str:
    """All of one end user's. A tenant's name has no colon."""
    return f"user:{tenant}:{end_user}"


def mark_of_ticket(tenant: str, ticket_id: str) -> str:
    """One ticket."""
    return f"ticket:{tenant}:{ticket_id}"


class Use(StrEnum):
    """What became of the wish to begin a session with a ticket."""

    USED = "used"
    USED_UP = "used_up"
    LATE = "late"
    """The time for new sessions is over."""
    GONE = "gone"
    """Expired or revoked."""


@dataclass(frozen=True, slots=True)
class Stub:
    """A ticket as it is stored."""

    record: str = field(repr=False)
    """What its minter wrote, opaque to the store."""
    uses: int
    """How many sessions may begin with it; 0 for any number."""
    new_until: float
    """Until when sessions may begin, in Unix seconds."""
    expires_at: float
    issued_at: float = 0.0
    """Set by the store, whose clock is the same for all replicas."""


class TicketStore(Protocol):
    """Keeps tickets and revocations. Every method raises LedgerError when the store fails, and is bounded in time."""

    async def start(self) -> None:
        """Open the store."""
        ...

    async def stop(self) -> None:
        """Close it."""
        ...

    async def now(self) -> float:
        """The store's time, in Unix seconds: the same for all replicas, whatever their own clocks say."""
        ...

    async def add(self, ticket_id: str, stub: Stub) -> None:
        """Keep a new ticket until it expires; one that is there already stays as it is."""
        ...

    async def find(self, ticket_id: str) -> Stub | None:
        """A ticket that has neither expired nor been removed."""
        ...

    async def use(self, ticket_id: str, session: str) -> Use:
        """Count a session, in one step that nothing can come between; the same session again is no second use."""
        ...

    async def spend(self, ticket_id: str, session: str, used: Allotment) -> Allotment:
        """Note the running totals of one session; what all sessions of the ticket have used."""
        ...

    async def revoke(self, mark: str, ticket_id: str | None = None) -> None:
        """Note a mark for all replicas, and remove a ticket."""
        ...

    async def revocations(self, since: float) -> dict[str, float]:
        """Marks noted at or after an instant of the store's clock, each with its instant."""
        ...
