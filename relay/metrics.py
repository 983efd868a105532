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
from relay.core.usage import Cell, Kind, Modality

_SETUP_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
_STALL_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
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
            ["tenant", "direction", "kind", "modality"],
            registry=registry,
        )
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
            "Messages that a handover, or a client's absence, could not keep.",
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
        build = Gauge("relay_build_info", "Always 1; the version is a label.", ["version"], registry=registry)
        build.labels(__version__).set(1)
        disable_created_metrics()  # type: ignore[no-untyped-call]  # each counter would have a second series
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def declare(self, tenant: str) -> None:
        """Begin a tenant's series at zero: a rate can't see a counter that starts at one."""
        self.sessions_active.labels(tenant)
        self.sessions_parked.labels(tenant)
        self.handover_stall.labels(tenant)
        for outcome in ("reattached", "gap", "handle", "fresh"):
            self.client_resumes.labels(tenant, outcome)
        for cause in Cause:
            for result in Outcome:
                self.handovers.labels(tenant, cause.value, result.value)
        Flow(self, tenant, Meter())
        for reason in CloseReason:
            self.sessions.labels(tenant, reason.label, reason.blame.value)


class Flow:
    """Carries one session's meter over into the counters, as often as somebody looks at them."""

    def __init__(self, metrics: Metrics, tenant: str, meter: Meter) -> None:
        self._metrics = metrics
        self._tenant = tenant
        self._meter = meter
        self._counters = {
            "frames_up": metrics.frames.labels(tenant, "up"),
            "frames_down": metrics.frames.labels(tenant, "down"),
            "bytes_up": metrics.bytes.labels(tenant, "up"),
            "bytes_down": metrics.bytes.labels(tenant, "down"),
            "frames_dropped_up": metrics.dropped_frames.labels(tenant, "up"),
            "frames_dropped_down": metrics.dropped_frames.labels(tenant, "down"),
            "turns": metrics.turns.labels(tenant),
            "interruptions": metrics.interruptions.labels(tenant),
            "tool_calls": metrics.tool_calls.labels(tenant),
        }
        self._reported = dict.fromkeys(self._counters, 0)
        self._tokens_reported: dict[Cell, int] = {}
        for cell in _USUAL_CELLS:
            self._tokens(cell)

    def report(self) -> None:
        """Add to the counters what was metered since the last call."""
        for name, counter in self._counters.items():
            added = getattr(self._meter, name) - self._reported[name]
            if added:
                counter.inc(added)
                self._reported[name] += added
        for cell, tokens in self._meter.tally.tokens.items():
            added = tokens - self._tokens_reported.get(cell, 0)
            if added:
                self._tokens(cell).inc(added)
                self._tokens_reported[cell] = tokens

    def _tokens(self, cell: Cell) -> Counter:
        kind, modality = cell
        return self._metrics.tokens.labels(self._tenant, kind.direction, kind.value, modality.value)


_USUAL_CELLS = (
    (Kind.PROMPT, Modality.TEXT),
    (Kind.PROMPT, Modality.AUDIO),
    (Kind.RESPONSE, Modality.TEXT),
    (Kind.RESPONSE, Modality.AUDIO),
    (Kind.THOUGHTS, Modality.TEXT),
)
"""Series that every tenant has from the start; the others begin when something is counted in them."""
