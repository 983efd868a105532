"""A session's totals under their names."""

from decimal import Decimal

from relay.core.bill import Times, amounts, billed
from relay.core.ledger import Spent
from relay.core.meter import Meter
from relay.core.prices import Price
from relay.core.server_frames import ServerFrame
from relay.core.usage import Kind, Modality, usage

PRICE = Price(
    "live",
    {Modality.TEXT: Decimal("0.75"), Modality.AUDIO: Decimal("3.00")},
    {Modality.TEXT: Decimal("4.50"), Modality.AUDIO: Decimal("12.00")},
)
NAMES = frozenset({"usageMetadata"})


def test_a_new_session_is_a_session_and_nothing_else() -> None:
    """What is zero is left out."""
    assert amounts(Meter(), Spent(), Times(), 0) == {"sessions": 1}
    assert billed({}, PRICE) == (0, 0)


def test_every_total_has_its_name() -> None:
    """Each counter of the meter is there once, tokens by kind and modality, and what budgets limit besides."""
    meter = Meter(
        frames_up=1,
        frames_down=2,
        bytes_up=3,
        bytes_down=4,
        audio_bytes_up={16_000: 32_000, 8_000: 16_000},
        audio_bytes_down=24_000,
        video_frames=5,
        text_characters_up=6,
        text_characters_down=7,
        turns=8,
        interruptions=9,
        tool_calls=10,
    )
    body = {
        "promptTokenCount": 100,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 80}],
        "responseTokenCount": -1,
        "thoughtsTokenCount": 3,
        "cachedContentTokenCount": 50,
    }
    meter.read(ServerFrame(NAMES, usage=usage(body)), 1, 0.0)
    meter.read(ServerFrame(NAMES, turn_complete=True), 1, 0.0)
    meter.read(ServerFrame(NAMES, turn_complete=True), 1, 0.0)

    tokens, nanos = billed(meter.tally.tokens, PRICE)
    assert amounts(meter, Spent(tokens, 2500, nanos), Times(10.5, 8.25, 2.0), 11) == {
        "prompt.audio": 80,
        "prompt.unattributed": 20,
        "thoughts.text": 3,
        "cached.unattributed": 50,
        "sessions": 1,
        "tokens": 103,
        "nanos": 80 * 3_000 + 20 * 750 + 3 * 4_500,
        "audio_ms": 2500,
        "audio_up_ms": 2000,
        "audio_down_ms": 500,
        "video_frames": 5,
        "text_characters_up": 6,
        "text_characters_down": 7,
        "frames_up": 1,
        "frames_down": 2,
        "bytes_up": 3,
        "bytes_down": 4,
        "turns": 10,
        "turns_unreported": 1,
        "reports": 1,
        "reports_flagged": 1,
        "interruptions": 9,
        "tool_calls": 10,
        "handovers": 11,
        "session_ms": 10_500,
        "talk_ms": 8_250,
        "parked_ms": 2_000,
    }
    assert meter.tally.tokens[Kind.CACHED, Modality.UNATTRIBUTED] == 50
