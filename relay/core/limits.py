"""The bounds of one session, as plain data."""

from dataclasses import dataclass, field, replace

from relay.core.budget import Quotas
from relay.core.dialling import Pace
from relay.core.handover import Continuity
from relay.core.prices import PriceTable


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one session, in seconds and bytes."""

    setup_s: float = 10.0
    """How long a client may take to send its setup."""
    held_bytes: int = 1024 * 1024
    """Client messages that may wait for Gemini: about 20 s of microphone."""
    session_s: float | None = None
    """How long a session may last."""
    parking_s: float = 30.0
    """How long a session waits for a client that dropped; 0 for not at all."""
    parking_bytes: int = 1024 * 1024
    """Messages kept for a client that may come back: about 16 s of speech."""
    pace: Pace = field(default_factory=Pace)
    continuity: Continuity = field(default_factory=Continuity)
    quotas: Quotas = field(default_factory=Quotas)
    prices: PriceTable = field(default_factory=lambda: PriceTable({}))

    def at_most(self, session_s: float | None) -> "Limits":
        """The same for a session that may last no longer than `session_s`, if that is less."""
        lengths = [length for length in (self.session_s, session_s) if length is not None]
        return replace(self, session_s=min(lengths, default=None))
