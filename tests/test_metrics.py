"""Metrics: exact, bounded in number."""

from prometheus_client import CollectorRegistry

from relay.core.meter import Meter
from relay.metrics import Flow, Metrics


def test_what_a_meter_gained_is_added_once() -> None:
    """Reporting twice without new traffic adds nothing; two sessions of a tenant add up."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    first, second = Meter(), Meter()
    flows = [Flow(metrics, "acme", first), Flow(metrics, "acme", second)]
    first.frames_up, first.tokens.prompt, second.frames_up = 3, 100, 4
    for flow in [*flows, *flows]:
        flow.report()
    first.frames_up += 1
    flows[0].report()

    assert registry.get_sample_value("relay_frames_total", {"tenant": "acme", "direction": "up"}) == 8
    assert registry.get_sample_value("relay_tokens_total", {"tenant": "acme", "kind": "prompt"}) == 100


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
    for number, kind in enumerate(("prompt", "response", "thoughts", "tool_use", "cached"), start=10):
        setattr(meter.tokens, kind, number)
    Flow(metrics, "t", meter).report()
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith("relay_") and sample.name.endswith("_total")
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
        ("relay_tokens_total", "t", "prompt"): 10,
        ("relay_tokens_total", "t", "response"): 11,
        ("relay_tokens_total", "t", "thoughts"): 12,
        ("relay_tokens_total", "t", "tool_use"): 13,
        ("relay_tokens_total", "t", "cached"): 14,
    }
