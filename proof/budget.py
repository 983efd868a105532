"""`python -m proof budget`: tenants that use more than they may, each in its own way, and when they were stopped."""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from proof.client import CHUNK_S, Client, Got, ProofError, talking
from proof.figures import note, table
from proof.records import Journal, captured
from proof.stage import Plan, Stage, stage
from proof.tally import REPORTS, counted
from proof.verdict import leaves
from relay.config.price_list import PRICE_LIST
from relay.sim.actions import Action

LEVELS = [80, 95, 100]
BUDGET_SPENT, TOO_FAST = 4429, 4429
_RATES = PRICE_LIST["gemini-2.5-flash-native-audio"]
_MOST_TURNS = 500
_END_S = 20.0
_NOISE_S = 0.5
"""So much later than promised may an end come, because the machine is busy."""
_LONG = "and the sea went on and on around the old lighthouse " * 20
_ALMOST = 0.93


def cost_of(tokens: Mapping[str, int]) -> Decimal:
    """What tokens by kind and modality cost, computed by the words of docs/usage.md and not by the relay."""
    total = Decimal(0)
    for name, count in tokens.items():
        kind, _, modality = name.partition(".")
        if name == REPORTS or kind == "cached":
            continue
        rates = _RATES["output" if kind in ("response", "thoughts") else "input"]
        total += count * Decimal(rates.get(modality) or rates["text"])
    return total / 1_000_000


@dataclass(slots=True)
class Verdict:
    """What became of one tenant."""

    name: str
    limit: str
    used: str = ""
    overshoot: str = "–"
    turn: str = "–"
    """What the turn used that crossed the limit: the most that the overshoot may be."""
    events: list[int] = field(default_factory=list)
    """Levels told in the log, in order."""
    closed: tuple[int, str] | None = None
    after_s: float | None = None
    """From the moment that crossed the limit to the close."""
    broken: list[str] = field(default_factory=list)


class Tenant:
    """One tenant's client, and what it saw."""

    def __init__(self, made: Stage, key: str, journal: Journal, verdict: Verdict) -> None:
        self.made = made
        self.journal = journal
        self.verdict = verdict
        self._key = key

    def client(self, setup: Mapping[str, Any] | None = None) -> contextlib.AbstractAsyncContextManager[Client]:
        """A client of this tenant's."""
        return talking(self.made.http, self.made.base_url, self._key, setup)

    def check(self, words: str, holds: bool) -> None:
        """A promise, and whether it was kept."""
        if not holds:
            self.verdict.broken.append(f"{self.verdict.name}: {words}")

    def closed(self, client: Client, since: float, within_s: float, want: tuple[int, str]) -> None:
        """The client must be closed like this, so soon."""
        self.verdict.closed = client.closed
        self.verdict.after_s = client.closed_at - since
        self.check(f"closed with {client.closed}, not {want}", client.closed == want)
        self.check(
            f"closed after {self.verdict.after_s:.2f} s, {within_s:g} s promised",
            -0.05 <= self.verdict.after_s <= within_s + _NOISE_S,
        )

    def levels(self) -> None:
        """All three must be in the log, once each."""
        self.verdict.events = [line["level_percent"] for line in self.journal.all("budget")]
        self.check(f"levels {self.verdict.events} were told", self.verdict.events == LEVELS)


def bills(client: Client) -> list[tuple[Got, Counter[str]]]:
    """Every message that brought a bill, with its tokens."""
    return [(got, counted(got.message["usageMetadata"])) for got in client.got if "usageMetadata" in got.message]


def all_of_them(found: Mapping[str, int]) -> Decimal:
    """All tokens together."""
    return Decimal(sum(count for name, count in found.items() if name != REPORTS))


async def talk_on(client: Client) -> None:
    """Talk until the relay has had enough. Raises ProofError when it never has."""
    for _ in range(_MOST_TURNS):
        try:
            await client.turn()
        except ProofError:
            if client.closed is None:
                raise
            return
    raise ProofError(f"{_MOST_TURNS} turns, and nobody said stop")


async def _spend(tenant: Tenant, limit: Decimal, measure: Callable[[Mapping[str, int]], Decimal], words: str) -> None:
    """Talk over a budget; each turn's share is what its bill says."""
    async with tenant.client() as client:
        await talk_on(client)
    verdict, used, crossed_at = tenant.verdict, Decimal(0), 0.0
    last = Decimal(0)
    for got, tokens in bills(client):
        tenant.check("a turn was begun after the one that crossed the limit", used < limit)
        last = measure(tokens)
        used += last
        crossed_at = got.at
    verdict.used, verdict.overshoot, verdict.turn = f"{used:f}", f"{used - limit:f}", f"{last:f}"
    tenant.check(f"{verdict.overshoot} over, its last turn used {verdict.turn}", 0 <= used - limit <= last)
    tenant.closed(client, crossed_at, 0.0, (BUDGET_SPENT, f"the budget is used up: {words} of this day"))
    tenant.levels()
    await _recorded(tenant, client)


async def _recorded(tenant: Tenant, client: Client) -> None:
    """The usage record must have the cost of every bill the client saw."""
    total = sum((tokens for _, tokens in bills(client)), Counter[str]())
    async with asyncio.timeout(_END_S):
        while not (records := [line for line in tenant.journal.all("usage") if line["final"]]):
            await asyncio.sleep(0.02)
    tenant.check(f"the record says {records[0]['cost']}", Decimal(records[0]["cost"]) == cost_of(total))


async def money(tenant: Tenant) -> None:
    """Whoever talks over a budget of money."""
    await _spend(tenant, Decimal(tenant.verdict.limit), cost_of, "money")


async def tokens(tenant: Tenant) -> None:
    """Whoever talks over a budget of tokens."""
    await _spend(tenant, Decimal(tenant.verdict.limit), all_of_them, "tokens")


async def wrapped_up(tenant: Tenant) -> None:
    """Whoever is told by Gemini that the time is up: one more turn, and that is the relay's."""
    async with tenant.client() as client:
        await talk_on(client)
    *before, (spent, crossing), (ended, last) = bills(client)
    verdict, limit = tenant.verdict, Decimal(tenant.verdict.limit)
    at_first = sum((all_of_them(found) for _, found in before), Decimal(0))
    crossed, used = all_of_them(crossing), at_first + all_of_them(crossing) + all_of_them(last)
    verdict.used, verdict.overshoot = f"{used}", f"{used - limit}"
    verdict.turn = f"{crossed} + {all_of_them(last)}"
    tenant.check(f"{at_first}, {crossed} and then the words", at_first < limit <= at_first + crossed)
    tenant.check("nothing was heard at the end", client.all("outputTranscription")[-1].at > spent.at)
    told = [entry.text for session in tenant.made.sessions() for entry in session.trail.entries()]
    tenant.check(f"the words were said {told.count(_WORDS)} times", told.count(_WORDS) == 1)
    tenant.closed(client, ended.at, 0.0, (BUDGET_SPENT, _TOKENS_SPENT))
    tenant.levels()
    await _recorded(tenant, client)


async def audio(tenant: Tenant) -> None:
    """Whoever lets speech go over its minutes; what is heard counts as much as what is said."""
    async with tenant.client() as client:
        await talk_on(client)
        ends = client.all("turnComplete")
    record = next(line for line in tenant.journal.all("budget") if line["level_percent"] == LEVELS[-1])
    async with asyncio.timeout(_END_S):
        while not (records := [line for line in tenant.journal.all("usage") if line["final"]]):
            await asyncio.sleep(0.02)
    used, limit = records[0]["amounts"]["audio_ms"] / 1000, record["limit"] / 1000
    most = used / len(ends)  # answers are about equally long
    verdict = tenant.verdict
    verdict.used, verdict.overshoot, verdict.turn = f"{used:.2f} s", f"{used - limit:.2f} s", f"about {most:.2f} s"
    tenant.check(f"{used - limit:.2f} s over, a turn has {most:.2f} s", 0 <= used - limit <= 2 * most)
    tenant.closed(client, ends[-1].at, 0.5, (BUDGET_SPENT, "the budget is used up: audio of this day"))
    tenant.levels()


async def _other_spends(tenant: Tenant, client: Client) -> float:
    """One session is in the middle of a long answer when another one of its tenant spends what is left; when."""
    who = f"it is me, {tenant.verdict.name}"
    await client.turn(who)
    session = next(each for each in tenant.made.sessions() if any(who in entry.text for entry in each.trail.entries()))
    async with tenant.client() as spender:
        while all_of_them(sum((found for _, found in bills(spender)), Counter[str]())) < _ALMOST * _TOKENS:
            await spender.turn()
        heard = len(client.all("outputTranscription"))
        tenant.made.simulator.fault(Action("say", {"text": _LONG}), tenant.made.open_connection(session))
        await client.until("outputTranscription", heard + 1)
        await talk_on(spender)
    return bills(spender)[-1][0].at


async def in_a_turn(tenant: Tenant) -> None:
    """A turn in progress may end, within the grace."""
    async with tenant.client() as client:
        spent_at = await _other_spends(tenant, client)
        await client.until_closed(_END_S)
    done = client.all("turnComplete")
    tenant.check("the turn was cut", done[-1].at > spent_at)
    tenant.closed(client, done[-1].at, 0.0, (BUDGET_SPENT, _TOKENS_SPENT))
    tenant.levels()
    tenant.verdict.used = f"turn ended {done[-1].at - spent_at:.2f} s later"


async def cut(tenant: Tenant) -> None:
    """A turn that goes on for longer than the grace is cut."""
    async with tenant.client() as client:
        spent_at = await _other_spends(tenant, client)
        await client.until_closed(_END_S)
    tenant.check("the turn was let go on", len(client.all("turnComplete")) == 1)
    tenant.closed(client, spent_at, 0.1, (BUDGET_SPENT, _TOKENS_SPENT))
    tenant.levels()


async def session_length(tenant: Tenant) -> None:
    """A session that may last a second and a half."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with tenant.client() as client:
        await client.until_closed(_END_S)
    tenant.closed(client, begin, 1.5, (1008, "session length limit reached"))
    tenant.check("closed too soon", client.closed_at - begin > 1.4)


async def idle(tenant: Tenant) -> None:
    """An open microphone into which nobody speaks."""
    async with tenant.client() as client:
        await client.turn()
        client.streaming.set()
        await client.until_closed(_END_S)
    quiet_since = client.all("turnComplete")[-1].at
    tenant.verdict.used = f"{len(client.sent) - 1} chunks of silence"
    tenant.closed(client, quiet_since, 1.0, (1000, "nobody spoke or wrote for too long"))
    tenant.check("closed too soon", client.closed_at - quiet_since > 0.9)


async def too_fast(tenant: Tenant) -> None:
    """Speech three times as fast as anybody speaks."""
    loop = asyncio.get_running_loop()
    async with tenant.client() as client:
        begin = loop.time()
        while client.closed is None and loop.time() < begin + _END_S:
            try:
                await client.chunk()
            except ProofError:
                break
            await asyncio.sleep(max(begin + len(client.sent) * CHUNK_S / 3 - loop.time(), 0.0))
        await client.until_closed(_END_S)
    tenant.verdict.used = f"{len(client.sent) * CHUNK_S:.1f} s of speech in {client.closed_at - begin:.1f} s"
    # What may come at once, 1.5 s, is used up by what comes too fast, at a surplus of 1.5 s a second.
    tenant.closed(client, begin, 1.5, (TOO_FAST, "the client sends more than it may: audio_speed"))


_TOKENS = 50_000
_WORDS = "Tell the caller in one short sentence that the time is up."
_TOKENS_SPENT = "the budget is used up: tokens of this day"


@dataclass(frozen=True, slots=True)
class Row:
    """One tenant: what it may, and what it does."""

    name: str
    limit: str
    """In words, or the number itself."""
    quotas: Mapping[str, Any]
    act: Callable[[Tenant], Awaitable[None]]


ROWS = (
    Row("money of a day", "0.30", {"day": {"money": "0.30"}}, money),
    Row("tokens of a day", "150000", {"day": {"tokens": 150_000}}, tokens),
    Row("audio of a day", "2 min", {"day": {"audio": "2m"}}, audio),
    Row("spent by another, in a turn", "grace 10 s", {"day": {"tokens": _TOKENS}, "grace": "10s"}, in_a_turn),
    Row("the same, the turn too long", "grace 0.1 s", {"day": {"tokens": _TOKENS}, "grace": "100ms"}, cut),
    Row("with words for the end", "50000", {"day": {"tokens": _TOKENS}, "wrap_up": _WORDS}, wrapped_up),
    Row("length of a session", "1.5 s", {"session_length": "1500ms"}, session_length),
    Row("open microphone", "1 s", {"idle_after": "1s"}, idle),
    Row("speech too fast", "1.5 ×", {"audio_speed": 1.5, "burst": "1s"}, too_fast),
)


async def run() -> list[Verdict]:
    """Every row, each with a tenant of its own, all at once. Raises ProofError when there is no relay."""
    keys = [f"relay_{number}_{secrets.token_urlsafe(18)}" for number in range(len(ROWS))]
    tenants = [
        {"id": f"tenant-{number}", "keys": [key], "policy": "proof", "quotas": row.quotas}
        for number, (row, key) in enumerate(zip(ROWS, keys, strict=True))
    ]
    plan = Plan(sections={"tenants": tenants}, knobs={"handles": "turn"})
    verdicts = [Verdict(row.name, row.limit) for row in ROWS]
    with captured() as journals:
        async with stage(plan, journals) as made:
            playing = [
                Tenant(made, key, journals.of(f"tenant-{number}"), verdict)
                for number, (key, verdict) in enumerate(zip(keys, verdicts, strict=True))
            ]
            await asyncio.gather(*(_played(row, tenant) for row, tenant in zip(ROWS, playing, strict=True)))
    return verdicts


async def _played(row: Row, tenant: Tenant) -> None:
    try:
        await row.act(tenant)
    except* ProofError as group:
        tenant.verdict.broken += [f"{row.name}: {error}" for error in leaves(group)]
    note(f"proof: {row.name}: done")


def shown(verdicts: list[Verdict]) -> str:
    """For people."""
    head = ("limit", "is", "used", "over", "last turn", "told at %", "closed with", "after s")
    rows = [
        (
            verdict.name,
            verdict.limit,
            verdict.used or "–",
            verdict.overshoot,
            verdict.turn,
            ", ".join(map(str, verdict.events)) or "–",
            "not closed" if verdict.closed is None else f"{verdict.closed[0]} {verdict.closed[1]}",
            "–" if verdict.after_s is None else f"{verdict.after_s:.3f}",
        )
        for verdict in verdicts
    ]
    return table(head, rows)


def broken(verdicts: list[Verdict]) -> list[str]:
    """The promises that were broken, in words."""
    return [words for verdict in verdicts for words in verdict.broken]


def json(verdicts: list[Verdict]) -> dict[str, Any]:
    """For machines."""
    return {"rows": [{name: getattr(v, name) for name in Verdict.__dataclass_fields__} for v in verdicts]}
