"""Metrics: exact, bounded in number."""

from prometheus_client import CollectorRegistry

from relay.core.meter import Meter
from relay.core.usage import Kind, Modality
from relay.metrics import Flow, Metrics

PROMPT_TEXT = (Kind.PROMPT, Modality.TEXT)


def test_what_a_meter_gained_is_added_once() -> None:
    """Reporting twice without new traffic adds nothing; two sessions of a tenant add up."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    first, second = Meter(), Meter()
    flows = [Flow(metrics, "acme", first), Flow(metrics, "acme", second)]
    first.frames_up, second.frames_up = 3, 4
    first.tally.tokens[PROMPT_TEXT] = 100
    for flow in [*flows, *flows]:
        flow.report()
    first.frames_up += 1
    flows[0].report()

    assert registry.get_sample_value("relay_frames_total", {"tenant": "acme", "direction": "up"}) == 8
    labels = {"tenant": "acme", "direction": "up", "kind": "prompt", "modality": "text"}
    assert registry.get_sample_value("relay_tokens_total", labels) == 100


def test_every_counter_of_a_meter_reaches_prometheus() -> None:
    """Each integer that is documented as a metric is carried over."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    meter = Meter()
    for number, name in enumerate(
        ("frames_up", "frames_down", "bytes_up", "bytes_down", "turns", "interruptions", "tool_calls"), start=1
    ):
        setattr(meter, name, number)
    for number, name in enumerate(("frames_dropped_up", "frames_dropped_down"), start=20):
        setattr(meter, name, number)
    meter.tally.tokens = {
        PROMPT_TEXT: 10,
        (Kind.RESPONSE, Modality.AUDIO): 11,
        (Kind.THOUGHTS, Modality.TEXT): 12,
        (Kind.TOOL_USE, Modality.UNATTRIBUTED): 13,
        (Kind.CACHED, Modality.VIDEO): 14,
    }
    Flow(metrics, "t", meter).report()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith("relay_") and sample.name.endswith("_total") and sample.value
    }

    assert values == {
        ("relay_frames_total", "t", "up"): 1,
        ("relay_frames_total", "t", "down"): 2,
        ("relay_frame_bytes_total", "t", "up"): 3,
        ("relay_frame_bytes_total", "t", "down"): 4,
        ("relay_dropped_frames_total", "t", "up"): 20,
        ("relay_dropped_frames_total", "t", "down"): 21,
        ("relay_turns_total", "t"): 5,
        ("relay_interruptions_total", "t"): 6,
        ("relay_tool_calls_total", "t"): 7,
        ("relay_tokens_total", "t", "up", "prompt", "text"): 10,
        ("relay_tokens_total", "t", "down", "response", "audio"): 11,
        ("relay_tokens_total", "t", "down", "thoughts", "text"): 12,
        ("relay_tokens_total", "t", "up", "tool_use", "unattributed"): 13,
        ("relay_tokens_total", "t", "up", "cached", "video"): 14,
    }
