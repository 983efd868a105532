"""A session's running totals under their names: what the ledger keeps, what a usage record says, what it costs."""

from dataclasses import dataclass

from relay.core.ledger import Spent
from relay.core.meter import Meter
from relay.core.prices import Price, nanos
from relay.core.usage import Kind, Tokens


def billed(tokens: Tokens, price: Price) -> tuple[int, int]:
    """How many tokens are billed, and what they cost in billionths; cached ones are part of the prompt."""
    counted = sum(count for (kind, _), count in tokens.items() if kind is not Kind.CACHED)
    return counted, nanos(price.cost(tokens))


@dataclass(frozen=True, slots=True)
class Times:
    """How long a session has been what, in seconds."""

    session_s: float = 0.0
    talk_s: float = 0.0
    """Since Gemini was ready, while the client was there."""
    parked_s: float = 0.0


def amounts(meter: Meter, totals: Spent, times: Times, handovers: int) -> dict[str, int]:
    """Every running total that is not zero; tokens are named `prompt.audio`, `response.unattributed` and so on."""
    named = {f"{kind.value}.{modality.value}": count for (kind, modality), count in meter.tally.tokens.items()}
    named |= {
        "sessions": 1,
        "tokens": totals.tokens,
        "nanos": totals.nanos,
        "audio_ms": totals.audio_ms,
        "audio_up_ms": meter.audio_up_ms,
        "audio_down_ms": meter.audio_down_ms,
        "video_frames": meter.video_frames,
        "text_characters_up": meter.text_characters_up,
        "text_characters_down": meter.text_characters_down,
        "frames_up": meter.frames_up,
        "frames_down": meter.frames_down,
        "bytes_up": meter.bytes_up,
        "bytes_down": meter.bytes_down,
        "turns": meter.turns,
        "turns_unreported": meter.turns_unreported,
        "reports": meter.tally.reports,
        "reports_flagged": sum(meter.tally.flags.values()),
        "interruptions": meter.interruptions,
        "tool_calls": meter.tool_calls,
        "handovers": handovers,
        "session_ms": int(times.session_s * 1000),
        "talk_ms": int(times.talk_s * 1000),
        "parked_ms": int(times.parked_s * 1000),
    }
    return {name: amount for name, amount in named.items() if amount}
