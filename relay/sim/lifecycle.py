"""How a connection ends by itself and how its session can be taken up again: goAway, lifetimes, handles. Pure."""

from collections.abc import Callable
from enum import Enum
from typing import Any

from relay.sim import rejections
from relay.sim.archive import Archive, Session
from relay.sim.encoding import duration
from relay.sim.line import Line
from relay.sim.outputs import Close
from relay.sim.profile import Profile
from relay.sim.rules import Settings

GO_AWAY_PAUSE_S = 1.0
"""Between repeated goAways."""


class Alarm(Enum):
    """What happens by itself; setting an alarm again replaces it."""

    GO_AWAY = "goAway"
    PATIENCE_OVER = "the goAway was ignored"
    LIFETIME_OVER = "the connection is too old"
    HANDLE = "a handle is due"


class Lifecycle:
    """The clockwork of one live connection."""

    def __init__(
        self,
        line: Line,
        archive: Archive,
        settings: Settings,
        profile: Profile,
        tell: Callable[[str, float], None],
    ) -> None:
        self._line = line
        self._archive = archive
        self._settings = settings
        self._profile = profile
        self._tell = tell
        self._alarms: dict[Alarm, float] = {}
        self._go_aways = 0
        self._wanted = settings.resumption or settings.manner.family.unasked_handle

    @property
    def wakes_at(self) -> float | None:
        """When `wake` has something to do."""
        return min(self._alarms.values(), default=None)

    def begin(self, opened_at: float, now: float) -> None:
        """Wind the clockwork up: ages count from the upgrade, handles from now."""
        profile = self._profile
        if profile.go_away_after_s:
            self._alarms[Alarm.GO_AWAY] = max(now, opened_at + profile.go_away_after_s)
        if profile.lifetime_s:
            self._alarms[Alarm.LIFETIME_OVER] = max(now, opened_at + profile.lifetime_s)
        if self._wanted and profile.handles == "timer":
            self._alarms[Alarm.HANDLE] = now + profile.handle_every_s

    def wake(self, busy: bool, index: int, now: float) -> None:
        """Ring every alarm that is due; `busy` while the state can't be resumed, `index` as in `send_handle`."""
        for alarm, at in list(self._alarms.items()):
            if at > now:
                continue
            del self._alarms[alarm]
            match alarm:
                case Alarm.GO_AWAY:
                    left = None if self._profile.go_away_without_time_left else self._profile.go_away_time_left_s
                    self.go_away(left, now)
                case Alarm.PATIENCE_OVER:
                    ignored = rejections.GO_AWAY_IGNORED
                    self._line.put(Close(ignored.code, ignored.reason))
                case Alarm.LIFETIME_OVER:
                    self._line.put(Close(self._profile.lifetime_code, self._profile.lifetime_reason))
                case Alarm.HANDLE:
                    self._alarms[Alarm.HANDLE] = now + self._profile.handle_every_s
                    self.send_handle(not busy or not self._profile.announce_busy, index, now)

    def go_away(self, time_left_s: float | None, now: float) -> None:
        """Announce the end; None leaves timeLeft out."""
        body = {} if time_left_s is None else {"timeLeft": duration(time_left_s)}
        self._line.send("goAway", body)
        self._go_aways += 1
        if self._go_aways < self._profile.go_away_count:
            self._alarms[Alarm.GO_AWAY] = now + GO_AWAY_PAUSE_S
        elif self._profile.go_away_then_silent:
            self._line.silent = True
        if self._profile.go_away_patience_s:
            self._alarms.setdefault(Alarm.PATIENCE_OVER, now + self._profile.go_away_patience_s)
        self._tell("go_away", now)

    def turn_started(self) -> None:
        """Say that the state can't be resumed now."""
        if self._wanted and self._profile.handles == "turn" and self._profile.announce_busy:
            self._line.send("sessionResumptionUpdate", {})

    def turn_over(self, index: int, now: float) -> None:
        """Issue a handle after a turn, if that is when handles are issued."""
        if self._wanted and self._profile.handles == "turn":
            self.send_handle(True, index, now)

    def send_handle(self, resumable: bool, index: int, now: float) -> None:
        """Send a new handle, or an empty update; `index` is the place of the last message consumed here."""
        session = self._line.session
        if not resumable or session is None:
            self._line.send("sessionResumptionUpdate", {})
            return
        handle = self._archive.issue(session, self._settings.manner.family.opaque_handles)
        update: dict[str, Any] = {"newHandle": handle, "resumable": True}
        if self._settings.transparent and index:  # proto3 omits a zero
            update["lastConsumedClientMessageIndex"] = str(index)
        self._line.send("sessionResumptionUpdate", update)
        self._tell("handle", now)


def replay(line: Line, session: Session, count: int) -> None:
    """Send the last contents of the session again, as was seen after resumes in the field."""
    for content in list(session.last_content[-count:]) if count else []:
        line.send("serverContent", content)
