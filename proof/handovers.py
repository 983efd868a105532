"""`python -m proof handovers`: many planned handovers over streaming sessions, and what became of every message."""

import asyncio
import contextlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from proof.client import Client, ProofError
from proof.figures import note, percentile, spread_ms, table
from proof.ledger import Counts
from proof.records import Handover, captured
from proof.stage import Plan, Stage, down_counts, stage, up_counts
from relay.sim.actions import Action
from relay.sim.archive import Session

TIME_LEFT_S = 50.0
"""What each goAway grants: as much as Gemini was seen to grant."""
P50_S = 0.050
P99_S = 0.250
_PAUSES_S = (0.1, 1.0)
"""Between a handover and the next goAway, at random."""
_TALKS_S = (0.3, 1.5)
"""Between the end of an answer and the next question, at random."""
_QUIET_S = 0.4
_SETTLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """What to run."""

    sessions: int = 50
    handovers: int = 1000
    transparent: bool = True
    order: str | None = None
    """None leaves the relay its default."""
    rtt_s: float = 0.0
    own_process: bool = True
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What one session came to."""

    up: Counts = field(default_factory=Counts)
    down: Counts = field(default_factory=Counts)
    closed: tuple[int, str] | None = None
    handed_over: int = 0
    gaps_s: list[float] = field(default_factory=list)
    """Silence at the simulator, from the last message on one connection to the first on the next."""
    waits_s: list[float] = field(default_factory=list)
    """For each handover, how long that message waited which waited longest on its way to the simulator."""
    offences: list[str] = field(default_factory=list)
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What all of them came to."""

    options: Options
    outcomes: list[Outcome]
    records: list[Handover]
    crashes: int

    @property
    def up(self) -> Counts:
        """Client to Gemini, all sessions."""
        return sum((one.up for one in self.outcomes), Counts())

    @property
    def down(self) -> Counts:
        """Gemini to client, all sessions."""
        return sum((one.down for one in self.outcomes), Counts())

    def broken(self) -> list[str]:
        """The promises this run broke, in words."""
        options, records, up = self.options, self.records, self.up
        dropped, uncertain = sum(r.dropped for r in records), sum(r.uncertain for r in records)
        stalls = [record.stall_ms / 1000 for record in records]
        checks = {
            f"{len(records)} handovers on record, {options.handovers} asked for": len(records) != options.handovers,
            f"only {sum(one.handed_over for one in self.outcomes)} were seen at the simulator": (
                sum(one.handed_over for one in self.outcomes) != options.handovers
            ),
            "unplanned handovers": any(not record.planned for record in records),
            "handovers that did not restore the session": any(not record.restored for record in records),
            f"{up.lost} lost on the way up, {dropped} reported dropped": up.lost > dropped,
            f"{up.duplicated} doubled on the way up, {uncertain} reported uncertain": up.duplicated > uncertain,
            f"{up.reordered} out of order on the way up": up.reordered > 0,
            f"{up.foreign} unknown messages on the way up": up.foreign > 0,
            "something was lost or doubled though the mode is exact": (
                options.transparent and bool(up.lost or up.duplicated or uncertain)
            ),
            f"not clean on the way down: {self.down}": not self.down.clean,
            f"{sum(one.closed is not None for one in self.outcomes)} client sockets closed": (
                any(one.closed for one in self.outcomes)
            ),
            f"{self.crashes} sessions crashed": self.crashes > 0,
            "clients saw what they must not": any(one.offences for one in self.outcomes),
        }
        if not options.rtt_s:
            checks["the median stall is above 50 ms"] = (percentile(stalls, 0.5) or 0.0) > P50_S
            checks["the 99th percentile of the stall is above 250 ms"] = (percentile(stalls, 0.99) or 0.0) > P99_S
        failures = [one.failure for one in self.outcomes if one.failure]
        offences = sorted({offence for one in self.outcomes for offence in one.offences})
        return [words for words, fails in checks.items() if fails] + failures[:5] + offences

    def json(self) -> dict[str, Any]:
        """Everything that was measured."""
        records = self.records
        return {
            "options": {name: getattr(self.options, name) for name in self.options.__dataclass_fields__},
            "handovers": len(records),
            "causes": Counter(record.cause for record in records),
            "outcomes": Counter(record.outcome for record in records),
            "client_sockets_closed": sum(one.closed is not None for one in self.outcomes),
            "up": _counts(self.up),
            "down": _counts(self.down),
            "reported": {
                name: sum(getattr(record, name) for record in records)
                for name in ("frames_held", "replayed", "dropped", "uncertain", "turn_cut", "dials")
            },
            "stall_ms": spread_ms([record.stall_ms / 1000 for record in records]),
            "gap_at_simulator_ms": spread_ms([gap for one in self.outcomes for gap in one.gaps_s]),
            "longest_wait_ms": spread_ms([wait for one in self.outcomes for wait in one.waits_s]),
            "broken": self.broken(),
        }

    def tables(self) -> str:
        """The same for people."""
        found = self.json()
        counts = [
            [way, *(found[name][column] for column in _COLUMNS)]
            for way, name in (("client → Gemini", "up"), ("Gemini → client", "down"))
        ]
        times = [
            [words, *found[name].values()]
            for words, name in (
                ("stall, by the relay's records", "stall_ms"),
                ("silence at the simulator (messages come every 40 ms)", "gap_at_simulator_ms"),
                ("longest wait of a message, client to simulator", "longest_wait_ms"),
            )
        ]
        summary = (
            f"{found['handovers']} handovers over {len(self.outcomes)} sessions "
            f"({'transparent' if self.options.transparent else 'handles'}, order {self.options.order or 'default'}, "
            f"RTT {self.options.rtt_s * 1000:g} ms); client sockets closed: {found['client_sockets_closed']}; "
            f"outcomes {dict(found['outcomes'])}; reported {found['reported']}"
        )
        return "\n\n".join((summary, table(("", *_COLUMNS), counts), table(("ms", "p50", "p99", "max"), times)))


_COLUMNS = ("sent", "received", "lost", "duplicated", "reordered", "foreign")


async def run(options: Options) -> Result:
    """Run it all. Raises ProofError when there is nothing to measure."""
    plan = Plan(
        transparent=options.transparent,
        # Answers last as long as they play, as Google's do: else there would never be a moment between them.
        knobs={"recorded_messages": 5_000, "recorded_connections": 5_000, "burst": 2.0, "playback_wait": True},
        sections={"handover": _handover_section(options)},
        proxied=options.rtt_s > 0,
        own_process=options.own_process,
    )
    with captured() as journals:
        async with stage(plan, journals) as made:
            if made.proxy is not None:
                made.proxy.up.delay_s = made.proxy.down.delay_s = options.rtt_s / 2
            outcomes = await converse(made, options.sessions, options.handovers, options.seed)
            return Result(options, outcomes, list(made.journal.handovers), made.journal.crashes)


async def converse(made: Stage, sessions: int, handovers: int, seed: int) -> list[Outcome]:
    """Hand so many sessions over so many times, all together. Raises ProofError when a client can't be opened."""
    dice = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        pairs = []
        for _ in range(sessions):
            client = await stack.enter_async_context(made.client())
            pairs.append((client, made.sessions()[-1]))
        note(f"proof: {sessions} sessions open")
        shares = [len(range(at, handovers, sessions)) for at in range(sessions)]
        outcomes = await asyncio.gather(
            *(
                _one(made, client, session, share, random.Random(dice.random()))
                for (client, session), share in zip(pairs, shares, strict=True)
            )
        )
        await _recorded(made, handovers)
        return outcomes


def _handover_section(options: Options) -> dict[str, Any]:
    section: dict[str, Any] = {"dials_per_minute": 100_000, "rotate_after": "1h"}
    return section if options.order is None else {**section, "order": options.order}


async def _recorded(made: Stage, count: int) -> None:
    """Let the last lines of a relay's log arrive."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.0):
            while len(made.journal.handovers) < count:
                await asyncio.sleep(0.02)


async def _one(made: Stage, client: Client, session: Session, share: int, dice: random.Random) -> Outcome:
    outcome = Outcome()
    talking = asyncio.create_task(_talk(client, dice))
    client.streaming.set()
    try:
        for _ in range(share):
            await asyncio.sleep(dice.uniform(*_PAUSES_S))
            await _hand_over(made, client, session)
            outcome.handed_over += 1
    except ProofError as error:
        outcome.failure = str(error)
    talking.cancel()
    client.streaming.clear()
    await settled(client, session)
    outcome.closed = client.closed
    outcome.up = up_counts(client, [session])
    down, cut_off = down_counts(client, [session])
    outcome.down = down + Counts(sent=cut_off, lost=cut_off)
    outcome.offences = client.sdk_offences()
    outcome.gaps_s, outcome.waits_s = _seams(made, client, session)
    return outcome


async def _talk(client: Client, dice: random.Random) -> None:
    while client.closed is None:
        await asyncio.sleep(dice.uniform(*_TALKS_S))
        with contextlib.suppress(ProofError):
            await client.turn("yes")


async def _hand_over(made: Stage, client: Client, session: Session) -> None:
    """Announce the end of the present connection; return when the session goes on over another one."""
    before = len(session.connections)
    made.simulator.fault(Action("go_away", {"time_left": TIME_LEFT_S}), made.open_connection(session))
    try:
        async with asyncio.timeout(TIME_LEFT_S + 2.0):
            while len(session.connections) == before or session.open_connection != session.connections[-1]:
                if client.closed is not None:
                    raise ProofError(f"the client was closed with {client.closed}")
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise ProofError(f"no handover within {TIME_LEFT_S + 2:g} s of goAway") from None


async def settled(client: Client, session: Session | None, timeout_s: float = _SETTLE_S) -> None:
    """Wait until nothing moves any more in either direction, within limits."""

    def state() -> tuple[int, int, int]:
        return (session.trail.mark if session else 0, session.sent.count if session else 0, len(client.got))

    loop = asyncio.get_running_loop()
    deadline, seen, since = loop.time() + timeout_s, state(), loop.time()
    while loop.time() < deadline and loop.time() - since < _QUIET_S:
        await asyncio.sleep(0.02)
        if (now := state()) != seen and now[0] + now[2] != seen[0] + seen[2]:
            seen, since = now, loop.time()


def _seams(made: Stage, client: Client, session: Session) -> tuple[list[float], list[float]]:
    """Each handover as the simulator saw it: the silence, and the longest wait of what was sent into it."""
    records = {record.id: record for record in made.simulator.connections}
    numbers: dict[int, list[tuple[int, int]]] = {}
    for entry in session.trail.entries():
        number = entry.number
        if number is None and entry.text.startswith("#"):
            number = int(entry.text[1:].partition(" ")[0])
        if number is not None:
            numbers.setdefault(entry.connection, []).append((entry.place, number))
    gaps, waits = [], []
    for old, new in zip(session.connections, session.connections[1:], strict=False):
        if old not in records or new not in records:  # the simulator remembers only so many connections
            continue
        before, after = records[old].messages, records[new].messages
        if len(before) < 2 or len(after) < 2:
            continue
        gaps.append(after[1].at - before[-1].at)
        held = [
            after[place].at - client.sent_at[number]
            for place, number in numbers.get(new, ())
            if client.sent_at[number] > before[-1].at and place < len(after)
        ]
        waits.append(max(held, default=0.0))
    return gaps, waits


def _counts(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in _COLUMNS}
