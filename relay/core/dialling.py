"""How often, and how soon after a failure, one session may dial Gemini."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of dialling, in seconds."""

    connect_s: float = 15.0
    """From the client's setup to Gemini's answer, retries included."""
    answer_s: float = 10.0
    """For Gemini to answer one setup."""
    redial_base_s: float = 0.25
    """Upper end of the first pause between dials; each further one doubles it, up to `redial_max_s`."""
    redial_max_s: float = 8.0
    dials_per_minute: int = 5


class Dialling:
    """Numbers the legs and spaces the dials."""

    def __init__(self, pace: Pace, random: Callable[[], float]) -> None:
        """`random` draws from [0, 1)."""
        self.dials = 0
        """Dials so far, which is also the number of the newest leg."""
        self.failures = 0
        """Attempts that failed since the last success."""
        self._pace = pace
        self._random = random
        self._times: deque[float] = deque(maxlen=pace.dials_per_minute)

    def next_leg(self, now: float) -> int:
        """The number of the leg to dial now; 0 when this session has dialled too often of late."""
        if self.allowed_at(now) > now:
            return 0
        self._times.append(now)
        self.dials += 1
        return self.dials

    def allowed_at(self, now: float) -> float:
        """When the next dial is allowed."""
        if len(self._times) < self._pace.dials_per_minute:
            return now
        return max(now, self._times[0] + MINUTE_S)

    def pause_s(self) -> float:
        """How long to wait before the next dial."""
        # Full jitter (AWS architecture blog, 2015): a crowd of sessions must not dial in step.
        highest_s = min(self._pace.redial_max_s, self._pace.redial_base_s * 2.0 ** max(self.failures - 1, 0))
        return highest_s * self._random()
