"""What a session runs up: its meter read at its model's prices, and how fast its client may send.

Nothing here knows a store or another session.
"""

from relay.core.bill import Times, billed
from relay.core.budget import Quotas, Throttle
from relay.core.client_frames import ClientFrame
from relay.core.closing import Close, CloseReason
from relay.core.commands import Charged, Command, End
from relay.core.ledger import Spent
from relay.core.meter import Meter
from relay.core.prices import FREE, PriceTable
from relay.core.server_frames import ServerFrame

_NOTHING: list[Command] = []
"""Never to be changed: one for all messages that lead to nothing, which most are."""


class Tab:
    """One session's running bill."""

    def __init__(self, quotas: Quotas, prices: PriceTable, meter: Meter) -> None:
        self.price = FREE
        """What its tokens cost, once the model is known."""
        self._quotas = quotas
        self._prices = prices
        self._meter = meter
        self.limited = quotas.messages_per_second is not None or quotas.bytes_per_second is not None
        """Whether `sent` has anything to say."""
        self._throttle = Throttle(quotas, 0.0)
        self._billed = (0, 0)
        self._billed_reports = 0
        self._began_at = 0.0
        self._ready_at: float | None = None
        self._parked_at: float | None = None
        self._parked_s = 0.0

    def begin(self, now: float) -> None:
        """The session begins."""
        self._began_at = now
        self._throttle = Throttle(self._quotas, now)

    def named(self, model: str) -> None:
        """The model is known, and with it the price and the meaning of usage reports."""
        self.price = self._prices.of(model)
        self._meter.means(self.price.semantics)

    def ready(self, now: float) -> None:
        """Gemini is ready: from now on the client can talk."""
        self._ready_at = now

    # What goes by -----------------------------------------------------------------------------------------------------

    def sent(self, payload_bytes: int, now: float) -> list[Command]:
        """The client sent a message, whatever is in it."""
        limit = self._throttle.exceeded(payload_bytes, now)
        return [] if limit is None else [End(Close(CloseReason.TOO_FAST, limit))]

    def accepted(self, frame: ClientFrame, now: float) -> list[Command]:
        """A message of the client's goes to Gemini."""
        seconds = self._meter.count_content(frame, now)
        if self._quotas.audio_speed is not None and self._throttle.too_fast(seconds, now):
            return [End(Close(CloseReason.TOO_FAST, "audio_speed"))]
        return _NOTHING

    def read(self, frame: ServerFrame, leg: int, now: float) -> list[Command]:
        """A message came from Gemini."""
        return [Charged()] if self._meter.read(frame, leg, now) else _NOTHING

    @property
    def spent(self) -> Spent:
        """What budgets limit, so far; the tokens' cost is worked out once for each report."""
        meter = self._meter
        if meter.tally.reports != self._billed_reports:
            self._billed = billed(meter.tally.tokens, self.price)
            self._billed_reports = meter.tally.reports
        tokens, nanos = self._billed
        return Spent(tokens, meter.audio_up_ms + meter.audio_down_ms, nanos)

    def parked(self, now: float) -> None:
        """The client is gone, for the time being."""
        self._parked_at = now

    def resumed(self, now: float) -> None:
        """The client is back."""
        if self._parked_at is not None:
            self._parked_s += now - self._parked_at
            self._parked_at = None

    def times(self, now: float) -> Times:
        """How long the session has been what."""
        parked_s = self._parked_s + (now - self._parked_at if self._parked_at is not None else 0.0)
        since_ready_s = now - self._ready_at if self._ready_at is not None else 0.0
        return Times(now - self._began_at, max(since_ready_s - parked_s, 0.0), parked_s)
