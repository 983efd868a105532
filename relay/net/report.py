"""What the operator learns of one session: counters while it runs, one canonical log line at its end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from relay.core.closing import Close, cut
from relay.core.commands import ClientResumed, UpstreamSaid, Violated
from relay.core.handover import Handover
from relay.core.session import Session
from relay.core.tickets import Grant
from relay.core.usage import Kind, of_kind
from relay.metrics import Flow, Metrics, dial_outcome
from relay.net.diary import Diary
from relay.scrubber import Scrubber

_MAX_WORDS_BYTES = 300


@dataclass(slots=True)
class Report:
    """The observer of one session; see `relay.net.driver.Observer`."""

    session_id: str
    tenant: str
    policy: str
    session: Session
    metrics: Metrics
    scrubber: Scrubber
    on_charge: Callable[[], None]
    """What there is to do when Gemini has reported usage."""
    diary: Diary
    grant: Grant | None = None
    """What the client's ticket or token says."""
    flow: Flow = field(init=False)
    _log: structlog.typing.FilteringBoundLogger = field(init=False)
    _parked: bool = field(init=False, default=False)
    _said: UpstreamSaid | None = field(init=False, default=None)
    _violated: Violated | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.flow = Flow(self.metrics, self.tenant, self.session.meter, self.session.tab)
        self._log = structlog.get_logger().bind(session=self.session_id, tenant=self.tenant, policy=self.policy)
        if self.grant is not None:
            kind = "ticket" if self.grant.ticket else "token"
            self._log = self._log.bind(
                **{kind: self.grant.id[:12]},
                end_user=self.grant.end_user or None,
                labels=dict(self.grant.labels) or None,
            )

    def began(self) -> None:
        """The client's WebSocket is open."""
        self.metrics.sessions_active.labels(self.tenant).inc()
        self._log.debug("session began")

    def violated(self, violation: Violated) -> None:
        """The client broke a rule."""
        outcome = "rejected" if violation.rejected else "stripped"
        self.metrics.violations.labels(self.tenant, violation.rule, outcome).inc()
        self._violated = violation if violation.rejected else self._violated
        self._log.debug("violation", rule=violation.rule, path=violation.path, outcome=outcome)

    def upstream_said(self, said: UpstreamSaid) -> None:
        """Gemini closed, in its own words; the log's scrubber takes out what they echo of ours."""
        self._said = said
        self._log.debug("upstream closed", code=said.code, reason=self._words(said.reason))

    def dialled(self, status: int | None, cause: str) -> None:
        """A dial to Gemini ended."""
        self.metrics.dials.labels(dial_outcome(status)).inc()
        if status is not None:
            self._log.warning("dial failed", status=status, cause=cause)

    def handed_over(self, handover: Handover) -> None:
        """The session was moved to another upstream leg, or could not be: its line."""
        metrics, cause, outcome = self.metrics, handover.cause.value, handover.outcome.value
        metrics.handovers.labels(self.tenant, cause, outcome).inc()
        metrics.handover_stall.labels(self.tenant).observe(handover.stall_s)
        self.diary.handed_over(self.tenant, self.session_id, handover)
        self._log.info(
            "handover",
            cause=cause,
            planned=handover.planned,
            outcome=outcome,
            stall_ms=round(handover.stall_s * 1000, 1),
            frames_held=handover.frames_held,
            replayed=handover.replayed,
            dropped=handover.dropped,
            uncertain=handover.uncertain,
            turn_cut=handover.turn_cut,
            restored=handover.restored,
            dials=handover.dials,
        )

    def parked(self) -> None:
        """The client is gone, and the session waits for it."""
        self._set_parked(True)
        self._log.info("session parked")

    def resumed(self, resumed: ClientResumed) -> None:
        """A client came back."""
        self._set_parked(False)
        gap = resumed.missed != 0
        outcome = resumed.via if resumed.via != "parked" else "gap" if gap else "reattached"
        self.metrics.client_resumes.labels(self.tenant, outcome).inc()
        self._log.info("client resumed", via=resumed.via, replayed=resumed.replayed, missed=resumed.missed, gap=gap)

    def _set_parked(self, parked: bool) -> None:
        if parked is not self._parked:
            self._parked = parked
            self.metrics.sessions_parked.labels(self.tenant).inc(1 if parked else -1)

    def moved(self) -> None:
        """This was no session: its client came back to one that is reported by another."""
        self.metrics.sessions_active.labels(self.tenant).dec()
        self._log.debug("client went over to its parked session")

    def charged(self) -> None:
        """Gemini has reported usage."""
        self.on_charge()

    def crashed(self, error: Exception) -> None:
        """A bug of ours ended the session."""
        self._log.error("session crashed", exc_info=error)

    def ended(self, close: Close) -> None:
        """The session is over: its one line, and what was not yet counted."""
        session, meter = self.session, self.session.meter
        now = asyncio.get_running_loop().time()
        metrics, tenant = self.metrics, self.tenant
        self.flow.report()
        self.diary.ended(tenant, self.session_id, close)
        self._set_parked(False)
        metrics.sessions_active.labels(tenant).dec()
        metrics.sessions.labels(tenant, close.reason.label, close.reason.blame.value).inc()
        if session.holding.held_frames:
            metrics.held_frames.labels(tenant).inc(session.holding.held_frames)
        setup_s = _between(session.setup_at, session.ready_at)
        if setup_s is not None:
            metrics.setup.labels(tenant).observe(setup_s)
        first_audio_s = _between(meter.first_input_at, meter.first_audio_at)
        if first_audio_s is not None:
            metrics.first_audio.labels(tenant).observe(first_audio_s)
        violated, said = self._violated, self._said
        self._log.info(
            "session",
            model=session.model,
            duration_s=round(now - session.started_at, 3),
            reason=close.reason.label,
            code=close.reason.code,
            blame=close.reason.blame.value,
            detail=close.detail,
            rule=violated.rule if violated else None,
            upstream_code=said.code if said else None,
            upstream_reason=self._words(said.reason) if said else None,
            dials=session.line.dialling.dials,
            handovers=session.line.handovers,
            setup_s=setup_s,
            first_audio_s=first_audio_s,
            frames_up=meter.frames_up,
            frames_down=meter.frames_down,
            bytes_up=meter.bytes_up,
            bytes_down=meter.bytes_down,
            frames_held=session.holding.held_frames,
            frames_dropped_up=meter.frames_dropped_up,
            frames_dropped_down=meter.frames_dropped_down,
            audio_in_s=meter.audio_up_ms / 1000,
            audio_out_s=meter.audio_down_ms / 1000,
            turns=meter.turns,
            interruptions=meter.interruptions,
            tool_calls=meter.tool_calls,
            **{f"{kind.value}_tokens": of_kind(meter.tally.tokens, kind) for kind in Kind},
        )

    def _words(self, reason: str) -> str:
        """Google's reason, scrubbed before it is shortened: a cut must not hide the beginning of a secret."""
        printable = "".join(character if character.isprintable() else "?" for character in reason)
        return cut(self.scrubber.scrub(printable), _MAX_WORDS_BYTES)


def _between(start: float | None, end: float | None) -> float | None:
    return round(max(end - start, 0.0), 4) if start is not None and end is not None else None
