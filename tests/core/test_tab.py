"""The running bill of a session: prices, how fast its client may send, and how long it was what."""

import base64
from decimal import Decimal

import pytest

from relay.core.bill import Times
from relay.core.budget import Quotas
from relay.core.client_frames import ClientFrame
from relay.core.closing import Close, CloseReason
from relay.core.commands import Charged, End
from relay.core.ledger import Spent
from relay.core.meter import Meter
from relay.core.prices import FREE, Price, PriceTable
from relay.core.server_frames import ServerFrame
from relay.core.tab import Tab
from relay.core.usage import Kind, Modality, Semantics, usage

TRANSLATE = Price("translate", {Modality.TEXT: Decimal(1)}, {Modality.TEXT: Decimal(2)}, Semantics.CUMULATIVE)
NAMES = frozenset({"serverContent"})


class Opened:
    """A tab, and what it works with."""

    def __init__(self, **quotas: float) -> None:
        self.meter = Meter()
        self.tab = Tab(Quotas(**quotas), PriceTable({"translate": TRANSLATE}), self.meter)  # type: ignore[arg-type]
        self.tab.begin(100.0)


def spoken(seconds: float) -> ClientFrame:
    """Speech of so many seconds."""
    blob = {"mimeType": "audio/pcm;rate=16000", "data": base64.b64encode(bytes(int(seconds * 32_000))).decode()}
    return ClientFrame("realtimeInput", {"audio": blob})


def test_the_model_decides_price_and_meaning() -> None:
    """Before it is known nothing costs anything; then reports mean what its row says."""
    opened = Opened()
    assert opened.tab.price is FREE
    opened.tab.named("models/translate-preview")
    assert opened.tab.price is TRANSLATE
    for count in (10, 15):
        report = ServerFrame(NAMES, usage=usage({"promptTokenCount": count}))
        assert opened.tab.read(report, 1, 101.0) == [Charged()]
    assert opened.tab.read(ServerFrame(NAMES), 1, 101.0) == []
    assert opened.meter.tally.tokens == {(Kind.PROMPT, Modality.UNATTRIBUTED): 15}


@pytest.mark.parametrize(("quota", "size"), [("messages_per_second", 1), ("bytes_per_second", 1)])
def test_a_client_that_sends_too_much_is_closed(quota: str, size: int) -> None:
    """With the name of the limit, at the first message beyond it."""
    tab = Opened(**{quota: 2, "burst_s": 1}).tab
    assert [tab.sent(size, 100.0) for _ in range(3)] == [[], [], [End(Close(CloseReason.TOO_FAST, quota))]]


def test_a_client_that_speaks_too_fast_is_closed() -> None:
    """By decoded seconds; what it sent until then is counted."""
    opened = Opened(audio_speed=1.5, burst_s=2)
    assert [opened.tab.accepted(spoken(1.5), 100.0) for _ in range(3)] == [
        [],
        [],
        [End(Close(CloseReason.TOO_FAST, "audio_speed"))],
    ]
    assert opened.meter.audio_up_ms == 4500


def test_what_budgets_limit_is_known_at_any_time() -> None:
    """Tokens without those from a cache, speech of both sides, and cost; a report changes it at once."""
    opened = Opened()
    opened.tab.named("models/translate")
    assert opened.tab.spent == Spent()
    report = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "responseTokenCount": 3}
    opened.tab.read(ServerFrame(NAMES, usage=usage(report), audio_bytes=48_000), 1, 101.0)
    opened.tab.accepted(spoken(2.0), 101.0)
    assert opened.tab.spent == opened.tab.spent == Spent(13, 3000, 16_000)


def test_times_are_told_apart() -> None:
    """The whole session, the time a client could talk, and the time it was away."""
    tab = Opened().tab
    assert tab.times(101.0) == Times(1.0, 0.0, 0.0)
    tab.ready(102.0)
    tab.resumed(103.0)
    tab.parked(110.0)
    assert tab.times(113.0) == Times(13.0, 8.0, 3.0)
    tab.resumed(114.0)
    tab.parked(120.0)
    assert tab.times(121.0) == Times(21.0, 14.0, 5.0)
