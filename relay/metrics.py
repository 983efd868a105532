"""Every Prometheus instrument of the relay in one class, on an injected registry.

Labels come from enums and from configured tenants, never from what a client sent. Nothing is counted per frame here:
sessions count in plain integers, and `Flow` hands over what was added since it last did.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from relay import __version__
from relay.core.closing import CloseReason
from relay.core.handover import Cause, Outcome
from relay.core.meter import Meter
from relay.core.tab import Tab
from relay.core.tickets import Use
from relay.core.usage import Cell, Flag, Kind, Modality

_SETUP_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
_STALL_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_FIRST_AUDIO_BUCKETS_S = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """The instruments; docs/metrics.md says where in a session's life each is counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.sessions_active = Gauge("relay_sessions_active", "Live sessions.", ["tenant"], registry=registry)
        self.sessions = Counter(
            "relay_sessions", "Sessions that ended, by why.", ["tenant", "reason", "blame"], registry=registry
        )
        self.refused = Counter(
            "relay_handshakes_refused",
            "Handshakes answered without an upgrade.",
            ["status", "cause"],
            registry=registry,
        )
        self.frames = Counter("relay_frames", "Messages forwarded.", ["tenant", "direction"], registry=registry)
        self.bytes = Counter(
            "relay_frame_bytes", "Payload bytes forwarded.", ["tenant", "direction"], registry=registry
        )
        self.tokens = Counter(
            "relay_tokens",
            "Tokens Gemini reported.",
            ["tenant", "model", "direction", "kind", "modality"],
            registry=registry,
        )
        self.cost = Counter(
            "relay_cost",
            "Cost of those tokens by the price table, in its currency.",
            ["tenant", "model"],
            registry=registry,
        )
        self.audio = Counter(
            "relay_audio_seconds", "Speech forwarded, as long as it sounds.", ["tenant", "direction"], registry=registry
        )
        self.video_frames = Counter("relay_video_frames", "Pictures clients sent.", ["tenant"], registry=registry)
        self.text = Counter(
            "relay_text_characters", "Characters of text forwarded.", ["tenant", "direction"], registry=registry
        )
        self.usage_flags = Counter(
            "relay_usage_flags", "Usage reports with something wrong in them.", ["tenant", "flag"], registry=registry
        )
        self.budget_events = Counter(
            "relay_budget_events",
            "Budgets that reached 80, 95 or 100 %.",
            ["tenant", "window", "measure", "level"],
            registry=registry,
        )
        self.budget_used = Gauge(
            "relay_budget_used_ratio",
            "Part of a budget that is used.",
            ["tenant", "window", "measure"],
            registry=registry,
        )
        self.ledger_degraded = Gauge(
            "relay_ledger_degraded", "1 while the ledger fails and usage is kept here.", registry=registry
        )
        self.ledger_waiting = Gauge(
            "relay_ledger_waiting_sessions", "Ended sessions whose last charge is not settled.", registry=registry
        )
        self.charges_lost = Counter(
            "relay_ledger_lost", "Ended sessions whose last charge was given up.", registry=registry
        )
        self.tickets = Counter(
            "relay_tickets",
            "Tickets minted, and what became of wishes to use one.",
            ["tenant", "event"],
            registry=registry,
        )
        self.revocations = Counter(
            "relay_revocations", "Revocations ordered at this process, by what of.", ["kind"], registry=registry
        )
        for kind in ("ticket", "user", "tenant"):
            self.revocations.labels(kind)
        self.turns = Counter("relay_turns", "Turns Gemini completed.", ["tenant"], registry=registry)
        self.interruptions = Counter(
            "relay_interruptions", "Turns that were interrupted.", ["tenant"], registry=registry
        )
        self.tool_calls = Counter("relay_tool_calls", "Function calls Gemini asked for.", ["tenant"], registry=registry)
        self.held_frames = Counter(
            "relay_held_frames", "Client messages that had to wait for Gemini.", ["tenant"], registry=registry
        )
        self.dropped_frames = Counter(
            "relay_dropped_frames",
            "Messages that a handover, or a client's absence, could not keep, or that came during a `wrap_up`.",
            ["tenant", "direction"],
            registry=registry,
        )
        self.handovers = Counter(
            "relay_handovers",
            "Moves of a session from one connection to Gemini to the next.",
            ["tenant", "cause", "outcome"],
            registry=registry,
        )
        self.handover_stall = Histogram(
            "relay_handover_stall_seconds",
            "For how long nothing a client sent could reach Gemini.",
            ["tenant"],
            buckets=_STALL_BUCKETS_S,
            registry=registry,
        )
        self.sessions_parked = Gauge(
            "relay_sessions_parked", "Sessions that wait for their client to come back.", ["tenant"], registry=registry
        )
        self.client_resumes = Counter(
            "relay_client_resumes",
            "Clients that came back with a handle, by how.",
            ["tenant", "outcome"],
            registry=registry,
        )
        self.violations = Counter(
            "relay_violations", "Rules that clients broke.", ["tenant", "rule", "outcome"], registry=registry
        )
        self.dials = Counter("relay_upstream_dials", "Dials to Gemini, by outcome.", ["outcome"], registry=registry)
        self.setup = Histogram(
            "relay_setup_seconds",
            "From a client's setup to Gemini's setupComplete.",
            ["tenant"],
            buckets=_SETUP_BUCKETS_S,
            registry=registry,
        )
        self.first_audio = Histogram(
            "relay_first_audio_seconds",
            "From a client's first input to Gemini's first audio.",
            ["tenant"],
            buckets=_FIRST_AUDIO_BUCKETS_S,
            registry=registry,
        )
        self._of_process(registry)
        self._of_surroundings(registry)

    def _of_process(self, registry: CollectorRegistry) -> None:
        self.event_loop_lag = Histogram(
            "relay_event_loop_lag_seconds",
            "How late the process came to what was due, looked at ten times a second.",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        build = Gauge("relay_build_info", "Always 1; the version is a label.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        disable_created_metrics()  # type: ignore[no-untyped-call]  # each counter would have a second series
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def declare(self, tenant: str, model: str) -> None:
        """Begin a tenant's series at zero, tokens for its usual model: no rate can see a counter start at one."""
        self.sessions_active.labels(tenant)
        self.sessions_parked.labels(tenant)
        self.handover_stall.labels(tenant)
        for outcome in ("reattached", "gap", "handle", "fresh"):
            self.client_resumes.labels(tenant, outcome)
        for cause in Cause:
            for result in Outcome:
                self.handovers.labels(tenant, cause.value, result.value)
        for event in ("minted", *Use):
            self.tickets.labels(tenant, str(event))
        self.of_meter(tenant)
        self.cost.labels(tenant, model)
        for flag in Flag:
            self.usage_flags.labels(tenant, flag.value)
        for cell in _USUAL_CELLS:
            self.count_tokens(tenant, model, cell, 0)
        for reason in CloseReason:
            self.sessions.labels(tenant, reason.label, reason.blame.value)

    def _of_surroundings(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "relay_connections", "Connections of clients, those without a session included.", registry=registry
        )
        self.export_records = Counter(
            "relay_export_records", "Usage records that were delivered.", ["sink"], registry=registry
        )
        self.export_waiting = Gauge(
            "relay_export_waiting_records", "Usage records that wait to be delivered.", ["sink"], registry=registry
        )
        self.export_degraded = Gauge(
            "relay_export_degraded", "1 while a place takes no usage records.", ["sink"], registry=registry
        )
        self.export_lost = Counter(
            "relay_export_lost", "Usage records that were dropped because too many waited.", ["sink"], registry=registry
        )
        self.export_refused = Counter(
            "relay_export_refused",
            "Usage records that were given up because each was always refused.",
            ["sink"],
            registry=registry,
        )
        self.log_suppressed = Counter(
            "relay_log_lines_suppressed", "Lines left out of the log: too many of one cause.", registry=registry
        )
        for sink in ("file", "webhook"):
            self.declare_export(sink)

    def declare_export(self, sink: str) -> None:
        """Begin the series of a place that usage records go to."""
        self.export_records.labels(sink)
        self.export_waiting.labels(sink)
        self.export_degraded.labels(sink)
        self.export_lost.labels(sink)
        self.export_refused.labels(sink)

    def of_meter(self, tenant: str) -> dict[str, tuple[Counter, int]]:
        """Where each total of a meter goes, and how many of its units make one of the metric's."""
        return {
            "frames_up": (self.frames.labels(tenant, "up"), 1),
            "frames_down": (self.frames.labels(tenant, "down"), 1),
            "bytes_up": (self.bytes.labels(tenant, "up"), 1),
            "bytes_down": (self.bytes.labels(tenant, "down"), 1),
            "frames_dropped_up": (self.dropped_frames.labels(tenant, "up"), 1),
            "frames_dropped_down": (self.dropped_frames.labels(tenant, "down"), 1),
            "audio_up_ms": (self.audio.labels(tenant, "up"), 1000),
            "audio_down_ms": (self.audio.labels(tenant, "down"), 1000),
            "text_characters_up": (self.text.labels(tenant, "up"), 1),
            "text_characters_down": (self.text.labels(tenant, "down"), 1),
            "video_frames": (self.video_frames.labels(tenant), 1),
            "turns": (self.turns.labels(tenant), 1),
            "interruptions": (self.interruptions.labels(tenant), 1),
            "tool_calls": (self.tool_calls.labels(tenant), 1),
        }

    def count_tokens(self, tenant: str, model: str, cell: Cell, tokens: int) -> None:
        """Tokens of one kind and modality; `model` is the name of a row in the price table."""
        kind, modality = cell
        self.tokens.labels(tenant, model, kind.direction, kind.value, modality.value).inc(tokens)


class Flow:
    """Carries one session's meter over into the counters, as often as somebody looks at them."""

    def __init__(self, metrics: Metrics, tenant: str, meter: Meter, tab: Tab) -> None:
        self._metrics = metrics
        self._tenant = tenant
        self._meter = meter
        self._tab = tab
        self._counters = metrics.of_meter(tenant)
        self._reported = dict.fromkeys(self._counters, 0)
        self._tokens_reported: dict[Cell, int] = {}
        self._flags_reported: dict[Flag, int] = {}
        self._cost_reported = 0.0

    def report(self) -> None:
        """Add to the counters what was metered since the last call."""
        for name, (counter, unit) in self._counters.items():
            added = getattr(self._meter, name) - self._reported[name]
            if added:
                counter.inc(added / unit)
                self._reported[name] += added
        tally, model = self._meter.tally, self._tab.price.name
        for cell, tokens in tally.tokens.items():
            added = tokens - self._tokens_reported.get(cell, 0)
            if added:
                self._metrics.count_tokens(self._tenant, model, cell, added)
                self._tokens_reported[cell] = tokens
        for flag, count in tally.flags.items():
            added = count - self._flags_reported.get(flag, 0)
            if added:
                self._metrics.usage_flags.labels(self._tenant, flag.value).inc(added)
                self._flags_reported[flag] = count
        cost = float(self._tab.price.cost(tally.tokens))
        if cost > self._cost_reported:
            self._metrics.cost.labels(self._tenant, model).inc(cost - self._cost_reported)
            self._cost_reported = cost


def dial_outcome(status: int | None) -> str:
    """A dial's label: whoever answers in Gemini's place may choose among a thousand statuses."""
    if not status:
        return "opened" if status is None else "unreachable"
    return f"http_{status if status in _STATUSES else 'other'}"


_STATUSES = frozenset({301, 302, 307, 400, 401, 403, 404, 429, 500, 502, 503, 504})

_USUAL_CELLS = (
    (Kind.PROMPT, Modality.TEXT),
    (Kind.PROMPT, Modality.AUDIO),
    (Kind.RESPONSE, Modality.TEXT),
    (Kind.RESPONSE, Modality.AUDIO),
    (Kind.THOUGHTS, Modality.TEXT),
)
"""Series that a tenant has from the start for its usual model; others begin when something is counted in them."""
