"""Plays a row and judges it: times, counts, and every promise it broke."""

import asyncio
import inspect
from dataclasses import dataclass, field
from typing import Any

from proof.client import ProofError
from proof.handovers import settled
from proof.ledger import Counts
from proof.records import Handover, Journals
from proof.scene import NoFaultError, Row, Scene, scene
from proof.stage import down_counts, up_counts

_EYES_OPEN_S = 0.3
"""After a fault nobody else may keep the event loop busy for so long, or it would be noticed late."""


@dataclass(slots=True)
class Verdict:
    """What came of one row."""

    name: str
    evidence: str = ""
    """How we know that the fault happened."""
    detected_s: float | None = None
    recovered_s: float | None = None
    """From the detection to the first message on the next connection."""
    seen: str = ""
    """By the client."""
    up: Counts = field(default_factory=Counts)
    down: Counts = field(default_factory=Counts)
    handovers: list[Handover] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    skipped: str = ""

    def json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "name": self.name,
            "passed": not self.broken,
            "skipped": self.skipped,
            "evidence": self.evidence,
            "detected_s": self.detected_s,
            "recovered_s": self.recovered_s,
            "client_saw": self.seen,
            "up": _json(self.up),
            "down": _json(self.down),
            "handovers": [{name: getattr(h, name) for name in h.__dataclass_fields__} for h in self.handovers],
            "broken": self.broken,
        }


async def play(row: Row, journals: Journals, quiet: asyncio.Lock) -> Verdict:
    """Play one row to its end; whatever goes wrong is in the verdict. Rows that share `quiet` don't disturb others."""
    verdict = Verdict(row.name)
    try:
        async with scene(row, journals, quiet) as played:
            await quiet.acquire()
            asyncio.get_running_loop().call_later(_EYES_OPEN_S, quiet.release)
            played.mark()
            await row.act(played)
            await _outcome(played)
            goes_on = await _goes_on(played)
            try:
                verdict.evidence = await _evidence(played)
            finally:
                _judge(played, verdict, goes_on)
    except* (ProofError, NoFaultError, RuntimeError, OSError) as group:
        verdict.broken += [f"{type(error).__name__}: {error}" for error in leaves(group)]
    return verdict


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The exceptions in a group, and in groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _outcome(played: Scene) -> None:
    """Wait until the handovers were made, or the client was closed, or the time is up."""
    expect, journal, client = played.row.expect, played.stage.journal, played.client
    loop = asyncio.get_running_loop()
    deadline = played.faulted_at + expect.within_s
    least = expect.handovers[0]
    while loop.time() < deadline and client.closed is None:
        if least and len(journal.handovers) >= least and not expect.codes:
            return
        await asyncio.sleep(0.01)


async def _goes_on(played: Scene) -> str:
    """Whether the client still gets answers; empty when it does, else what went wrong."""
    client, wanted = played.client, played.row.expect.codes
    if client.closed is None and not wanted:
        try:
            await client.turn("are you there", played.row.settle_s + 10.0)
        except ProofError as error:
            if client.closed is not None and client.closed[0] in played.row.expect.may_end:
                return ""
            return f"the conversation does not go on: {error}"
    client.streaming.clear()
    await settled(client, played.stage.sessions()[-1], played.row.settle_s)
    return ""


async def _evidence(played: Scene) -> str:
    found = played.row.proof(played)
    words = await found if inspect.isawaitable(found) else found
    if not words:
        raise NoFaultError("nothing shows that the fault happened")
    return str(words)


def _judge(played: Scene, verdict: Verdict, goes_on: str) -> None:
    row, client, journal = played.row, played.client, played.stage.journal
    verdict.handovers = list(journal.handovers)
    verdict.up, verdict.down = _counts(played)
    _times(played, verdict)
    verdict.seen = _seen(played)
    broken = verdict.broken
    broken += [goes_on] if goes_on else []
    broken += [f"the client saw {offence}" for offence in client.sdk_offences()]
    broken += [f"{journal.crashes} crashes of the relay"] if journal.crashes else []
    _judge_end(played, broken)
    _judge_handovers(row, verdict)
    _judge_counts(played, verdict)
    if not row.expect.redials and played.dials > played.dials_before:
        broken.append(f"dialled {played.dials - played.dials_before} times although nothing can come of it")


def _judge_end(played: Scene, broken: list[str]) -> None:
    expect, closed = played.row.expect, played.client.closed
    if expect.codes and (closed is None or closed[0] not in expect.codes):
        broken.append(f"must be closed with {sorted(expect.codes)}, is {closed or 'not closed'}")
    if not expect.codes and closed is not None and closed[0] not in expect.may_end:
        broken.append(f"the client was closed with {closed}")


def _judge_handovers(row: Row, verdict: Verdict) -> None:
    expect, found, broken = row.expect, verdict.handovers, verdict.broken
    if expect.codes or (expect.may_end and "closed" in verdict.seen):
        return
    least, most = expect.handovers
    if not least <= len(found) <= most:
        broken.append(f"{len(found)} handovers, {least} to {most} expected ({', '.join(h.cause for h in found)})")
    wrong = sorted({h.outcome for h in found} - expect.outcomes)
    if wrong:
        broken.append(f"outcome {', '.join(wrong)}, not {' or '.join(sorted(expect.outcomes))}")
    if expect.planned and any(not h.planned for h in found):
        broken.append("an unplanned handover")
    if verdict.detected_s is not None and expect.detect_s is not None and verdict.detected_s > expect.detect_s:
        broken.append(f"noticed after {verdict.detected_s:.3f} s, promised {expect.detect_s:g}")
    if verdict.recovered_s is not None and expect.recover_s is not None and verdict.recovered_s > expect.recover_s:
        broken.append(f"recovered after {verdict.recovered_s:.3f} s, promised {expect.recover_s:g}")


def _judge_counts(played: Scene, verdict: Verdict) -> None:
    expect, up, down, broken = played.row.expect, verdict.up, verdict.down, verdict.broken
    if played.client.closed is not None:
        return
    reports = verdict.handovers
    dropped, uncertain = sum(h.dropped for h in reports), sum(h.uncertain for h in reports)
    cut = sum(h.turn_cut for h in reports)
    if up.reordered or down.reordered:
        broken.append(f"out of order: {up.reordered} up, {down.reordered} down")
    if up.foreign or down.foreign > (len(played.client.all("toolCallCancellation")) if cut else 0):
        broken.append(f"never sent by anybody: {up.foreign} up, {down.foreign} down")
    # Without an index the relay can't know to the message what a handle covers: then its report is an upper bound.
    if expect.exact and (up.lost > dropped or (played.row.transparent and up.lost != dropped)):
        broken.append(f"{up.lost} lost up, {dropped} reported dropped")
    if expect.exact and up.duplicated > uncertain:
        broken.append(f"{up.duplicated} doubled up, {uncertain} reported uncertain")
    if played.row.transparent and any(h.restored for h in reports) and (up.lost or up.duplicated):
        broken.append("lost or doubled although the mode is exact")
    if down.lost > played.row.replays:
        broken.append(f"{down.lost} lost down")
    if down.duplicated:
        broken.append(f"{down.duplicated} doubled down")
    if expect.turn_cut and not cut:
        broken.append("a turn was cut and not reported")
    if played.client.ended_turns != cut:
        broken.append(f"{cut} turns cut, {played.client.ended_turns} given their end")
    _judge_announcements(played, broken)


def _judge_announcements(played: Scene, broken: list[str]) -> None:
    """Every loss is announced; what is only uncertain may be."""
    reports, announced = played.stage.journal.handovers, len(played.client.announcements)
    must = [h for h in reports if h.dropped or h.turn_cut or not h.restored]
    may = [h for h in reports if h in must or h.uncertain]
    if not len(must) <= announced <= len(may):
        broken.append(f"{len(must)} handovers with losses, {announced} announced")


def _counts(played: Scene) -> tuple[Counts, Counts]:
    sessions, client = played.stage.sessions(), played.client
    reports = played.stage.journal.handovers
    state_lost = not played.row.expect.exact or any(h.outcome == "fresh" for h in reports)
    up = up_counts(client, sessions if state_lost else sessions[-1:])
    down, cut_off = down_counts(client, sessions)
    if not any(not report.planned for report in reports):
        down += Counts(sent=cut_off, lost=cut_off)
    return up, down


def _times(played: Scene, verdict: Verdict) -> None:
    """When the fault was noticed by the relay's own record, when the session went on by the simulator's."""
    client = played.client
    if client.closed is not None:
        verdict.detected_s = client.closed_at - played.faulted_at
    unplanned = [h for h in verdict.handovers if not h.planned]
    if not unplanned:
        return
    began = unplanned[0].at - unplanned[0].stall_ms / 1000 - played.stage.wall
    verdict.detected_s = max(0.0, began - played.faulted_at)
    for session in played.stage.sessions():
        for record in (r for r in played.connections if r.id in session.connections):
            if record.opened_at >= began - 0.05 and len(record.messages) > 1:
                verdict.recovered_s = max(0.0, record.messages[1].at - began)
                return


def _seen(played: Scene) -> str:
    client = played.client
    if client.closed is not None:
        code, reason = client.closed
        return f"closed {code} {reason}".strip()
    words = []
    if any(h.turn_cut for h in played.stage.journal.handovers):
        words.append("end of the cut turn")
    if client.announcements:
        words.append(f"{len(client.announcements)} announced")
    return ", ".join(words) or "nothing"


def _json(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in Counts.__dataclass_fields__}
