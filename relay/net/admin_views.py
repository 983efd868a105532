"""What the admin API says of sessions, tenants and usage, as plain JSON values: never content, handles or keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from relay.core.budget import Account, Quotas
from relay.core.ledger import Allowance, Measure, Row, Spent, Used
from relay.core.prices import NANOS
from relay.core.windows import Window, window_end
from relay.net.diary import Happening, Sample, Tally
from relay.net.driver import Driver
from relay.net.registry import Live

MEASURES = {Measure.TOKENS: "tokens", Measure.AUDIO: "audio", Measure.MONEY: "money"}


@dataclass(frozen=True, slots=True)
class Clocks:
    """The same instant on both clocks, in seconds."""

    loop: float
    unix: float

    def unix_of(self, loop_s: float) -> float:
        """An instant on the clock of timers, in Unix seconds."""
        return self.unix - self.loop + loop_s


def session_view(live: Live, driver: Driver, policy: str, clocks: Clocks) -> dict[str, Any]:
    """One live or parked session."""
    session = driver.session
    meter, times = session.meter, session.tab.times(clocks.loop)
    tokens = {f"{kind.value}.{modality.value}": count for (kind, modality), count in meter.tally.tokens.items()}
    first_audio_s = None
    if meter.first_audio_at is not None and meter.first_input_at is not None:
        first_audio_s = round(max(meter.first_audio_at - meter.first_input_at, 0.0), 3)
    return {
        "id": live.id,
        "tenant": live.tenant,
        "policy": policy,
        "end_user": live.labels.end_user,
        "labels": dict(live.labels.labels),
        "model": session.model or None,
        "state": "parked" if session.parked else session.state.value,
        "started_at": stamp(clocks.unix_of(session.started_at)),
        "age_s": round(times.session_s, 1),
        "talk_s": round(times.talk_s, 1),
        "parked_s": round(times.parked_s, 1),
        "first_audio_s": first_audio_s,
        "tokens": session.tab.spent.tokens,
        "tokens_by_kind": tokens,
        "cost": format(session.tab.price.cost(meter.tally.tokens), "f"),
        "audio_up_s": meter.audio_up_ms / 1000,
        "audio_down_s": meter.audio_down_ms / 1000,
        "frames_up": meter.frames_up,
        "frames_down": meter.frames_down,
        "bytes_up": meter.bytes_up,
        "bytes_down": meter.bytes_down,
        "frames_dropped": meter.frames_dropped_up + meter.frames_dropped_down,
        "turns": meter.turns,
        "interruptions": meter.interruptions,
        "tool_calls": meter.tool_calls,
        "handovers": session.line.handovers,
    }


def usage_view(row: Row, by: str) -> dict[str, Any]:
    """What one tenant used under one key."""
    amounts = row.amounts
    return {
        "tenant": row.tenant,
        by: row.key,
        "sessions": amounts.get("sessions", 0),
        "turns": amounts.get("turns", 0),
        "tokens": amounts.get(Measure.TOKENS.value, 0),
        "audio_s": amounts.get(Measure.AUDIO.value, 0) / 1000,
        "cost": money(amounts.get(Measure.MONEY.value, 0)),
        "amounts": dict(sorted(amounts.items())),
    }


@dataclass(frozen=True, slots=True)
class Standing:
    """One tenant and what it has used, as far as anybody here knows."""

    tenant: str
    policy: str
    quotas: Quotas
    sessions: int
    parked: int
    used: Used
    """With what this process has not settled yet."""
    current: bool
    """Whether the ledger could be asked."""


def known_here(account: Account, now: float, unix_s: float) -> Used:
    """What a tenant has used, as this process knows it."""

    def within(window: Window) -> Spent:
        return Spent(*(account.used(window, measure, now) for measure in Measure))

    return Used(within(Window.DAY), within(Window.MONTH), unix_s)


def standing_view(standing: Standing) -> dict[str, Any]:
    """A tenant's limits, what it has used of them, and what is left."""
    quotas, used = standing.quotas, standing.used
    return {
        "id": standing.tenant,
        "policy": standing.policy,
        "sessions": standing.sessions,
        "parked": standing.parked,
        "current": standing.current,
        "used": {window.value: _spent_view(used.within(window)) for window in Window},
        "limits": {
            "concurrent_sessions": quotas.concurrent_sessions,
            "starts_per_minute": quotas.starts_per_minute,
            "session_length_s": quotas.session_s,
            "idle_after_s": quotas.idle_s,
            "grace_s": quotas.grace_s,
            "messages_per_second": quotas.messages_per_second,
            "bytes_per_second": quotas.bytes_per_second,
            "audio_speed": quotas.audio_speed,
        },
        "sessions_left": None
        if quotas.concurrent_sessions is None
        else max(quotas.concurrent_sessions - standing.sessions + standing.parked, 0),
        "budgets": [_budget_view(allowance, used) for allowance in quotas.allowances],
    }


def _spent_view(spent: Spent) -> dict[str, Any]:
    return {"tokens": spent.tokens, "audio_s": spent.audio_ms / 1000, "cost": money(spent.nanos)}


def _budget_view(allowance: Allowance, used: Used) -> dict[str, Any]:
    amount = used.within(allowance.window).of(allowance.measure)
    left = allowance.limit - amount
    return {
        "window": allowance.window.value,
        "measure": MEASURES[allowance.measure],
        "unit": {Measure.TOKENS: "tokens", Measure.AUDIO: "seconds", Measure.MONEY: "currency"}[allowance.measure],
        "limit": _in_unit(allowance.measure, allowance.limit),
        "used": _in_unit(allowance.measure, amount),
        "left": _in_unit(allowance.measure, left),
        "used_ratio": round(amount / allowance.limit, 6),
        "renews_at": stamp(window_end(allowance.window, used.at)),
    }


def _in_unit(measure: Measure, amount: int) -> str:
    """As a decimal text, so that money stays exact and all budgets look alike."""
    if measure is Measure.MONEY:
        return money(amount)
    return str(amount) if measure is Measure.TOKENS else plain(Decimal(amount).scaleb(-3))


def sample_view(sample: Sample, tenant: str | None) -> dict[str, Any]:
    """What was done in ten seconds, by one tenant or by all."""
    tallies = [tally for name, tally in sample.tenants.items() if tenant in (None, name)]
    total = Tally()
    for tally in tallies:
        total.tokens += tally.tokens
        total.nanos += tally.nanos
        total.handovers += tally.handovers
        total.errors += tally.errors
        total.sessions += tally.sessions
    return {
        "at": stamp(sample.at),
        "sessions": total.sessions,
        "tokens": total.tokens,
        "cost": money(total.nanos),
        "handovers": total.handovers,
        "errors": total.errors,
    }


def event_view(event: Happening) -> dict[str, Any]:
    """One thing that happened."""
    return {
        "number": event.number,
        "at": stamp(event.at),
        "kind": event.kind,
        "tenant": event.tenant,
        "session": event.session,
        "cause": event.cause,
        "outcome": event.outcome,
        "bad": event.bad,
        "count": event.count,
        "stall_ms": None if event.stall_s is None else round(event.stall_s * 1000, 1),
    }


def money(nanos: int) -> str:
    """Billionths as a decimal of the currency unit."""
    return plain(Decimal(nanos) / NANOS)


def plain(amount: Decimal) -> str:
    """Without an exponent and without zeros at the end."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def stamp(unix_s: float) -> str:
    """An instant as RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_view(status: int, name: str, words: str, parameter: str | None) -> Mapping[str, Any]:
    """An error in the form of every answer that is not a success."""
    return {"error": {"code": status, "status": name, "message": words, "parameter": parameter}}
