"""Metrics: exact, bounded in number."""

import random
import time
from decimal import Decimal

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from relay.core.budget import Quotas
from relay.core.client_frames import client_frame
from relay.core.closing import of_upstream_close
from relay.core.meter import Meter
from relay.core.prices import Price, PriceTable
from relay.core.refusals import Refusal
from relay.core.tab import Tab
from relay.core.usage import Cell, Flag, Kind, Modality, usage
from relay.metrics import Flow, Metrics, dial_outcome

PROMPT_TEXT = (Kind.PROMPT, Modality.TEXT)
LIVE = Price("live", {Modality.TEXT: Decimal(10**6)}, {Modality.TEXT: Decimal(2 * 10**6)})


def tab_of(meter: Meter) -> Tab:
    """The tab of a session on a model that costs one a token to read and two to write."""
    tab = Tab(Quotas(), PriceTable({"live": LIVE}), meter)
    tab.named("models/live")
    return tab


def test_what_a_meter_gained_is_added_once() -> None:
    """Reporting twice without new traffic adds nothing; two sessions of a tenant add up."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    first, second = Meter(), Meter()
    flows = [Flow(metrics, "acme", first, tab_of(first)), Flow(metrics, "acme", second, tab_of(second))]
    first.frames_up, second.frames_up = 3, 4
    first.tally.tokens[PROMPT_TEXT] = 100
    for flow in [*flows, *flows]:
        flow.report()
    first.frames_up += 1
    flows[0].report()

    assert registry.get_sample_value("relay_frames_total", {"tenant": "acme", "direction": "up"}) == 8
    labels = {"tenant": "acme", "model": "live", "direction": "up", "kind": "prompt", "modality": "text"}
    assert registry.get_sample_value("relay_tokens_total", labels) == 100


def test_no_model_that_a_client_names_becomes_a_series() -> None:
    """Models without a row are one label together, however many clients invent."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for number in range(1000):
        meter = Meter()
        tab = Tab(Quotas(), PriceTable({"live": LIVE}), meter)
        tab.named(f"models/invented-{number}")
        meter.tally.tokens = {PROMPT_TEXT: 1}
        Flow(metrics, "t", meter, tab).report()
    labels = {"tenant": "t", "model": "other", "direction": "up", "kind": "prompt", "modality": "text"}
    assert registry.get_sample_value("relay_tokens_total", labels) == 1000
    tokens = [sample for family in registry.collect() for sample in family.samples if "relay_tokens" in sample.name]
    assert len(tokens) == 1


def test_every_counter_of_a_meter_reaches_prometheus() -> None:
    """Each integer that is documented as a metric is carried over."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    meter = Meter()
    flow = Flow(metrics, "t", meter, tab_of(meter))
    for number, name in enumerate(
        ("frames_up", "frames_down", "bytes_up", "bytes_down", "turns", "interruptions", "tool_calls"), start=1
    ):
        setattr(meter, name, number)
    for number, name in enumerate(("frames_dropped_up", "frames_dropped_down"), start=20):
        setattr(meter, name, number)
    meter.audio_bytes_up, meter.audio_bytes_down = {16_000: 64_000}, 144_000
    meter.video_frames, meter.text_characters_up, meter.text_characters_down = 4, 5, 6
    meter.tally.flags[Flag.NEGATIVE] = 30
    meter.tally.tokens = {
        PROMPT_TEXT: 10,
        (Kind.RESPONSE, Modality.AUDIO): 11,
        (Kind.THOUGHTS, Modality.TEXT): 12,
        (Kind.TOOL_USE, Modality.UNATTRIBUTED): 13,
        (Kind.CACHED, Modality.VIDEO): 14,
    }
    flow.report()
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
        ("relay_audio_seconds_total", "t", "up"): 2,
        ("relay_audio_seconds_total", "t", "down"): 3,
        ("relay_video_frames_total", "t"): 4,
        ("relay_text_characters_total", "t", "up"): 5,
        ("relay_text_characters_total", "t", "down"): 6,
        ("relay_usage_flags_total", "t", "negative"): 30,
        ("relay_cost_total", "t", "live"): 10 + 13 + 11 * 2 + 12 * 2,
        ("relay_interruptions_total", "t"): 6,
        ("relay_tool_calls_total", "t"): 7,
        ("relay_tokens_total", "t", "live", "up", "prompt", "text"): 10,
        ("relay_tokens_total", "t", "live", "down", "response", "audio"): 11,
        ("relay_tokens_total", "t", "live", "down", "thoughts", "text"): 12,
        ("relay_tokens_total", "t", "live", "up", "tool_use", "unattributed"): 13,
        ("relay_tokens_total", "t", "live", "up", "cached", "video"): 14,
    }


# What strangers can do to them ----------------------------------------------------------------------------------------

TENANTS = 5


def _series(registry: CollectorRegistry) -> int:
    return sum(len(family.samples) for family in registry.collect())


def _words(rolled: random.Random) -> str:
    return f"{rolled.getrandbits(64):x}"


@pytest.mark.threat("F2")
def test_a_million_random_values_add_no_series() -> None:
    """Models, kinds, modalities, rules, close reasons and statuses that others invent end in closed vocabularies."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for number in range(TENANTS):
        metrics.declare(f"tenant-{number}", "live")
    rolled = random.Random(1)
    prices = PriceTable({"live": LIVE})
    reasons, models, rules, dials = set(), set(), set(), set()
    cells: set[Cell] = set()
    for _ in range(300_000):
        reasons.add(of_upstream_close(rolled.randrange(5000), _words(rolled)))
        models.add(prices.of(f"models/{_words(rolled)}").name)
    for _ in range(100_000):
        word = _words(rolled)
        refused = client_frame(b'{"realtimeInput":{"%s":1}}' % word.encode())
        assert isinstance(refused, Refusal)
        rules.add(refused.rule.value)
        details = [{"modality": word, "tokenCount": 1}]
        cells.update(usage({"promptTokenCount": 1, f"{word}TokenCount": 2, "promptTokensDetails": details}).tokens)
        dials.add(dial_outcome(rolled.randrange(1000)))
    assert len(dials) <= 20
    for reason in reasons:
        metrics.sessions.labels("tenant-0", reason.label, reason.blame.value)
    for cell in cells:
        for model in models:
            metrics.count_tokens("tenant-0", model, cell, 1)
    for rule in rules:
        metrics.violations.labels("tenant-0", rule, "rejected")
    for dial in dials:
        metrics.dials.labels(dial)

    assert _series(registry) <= 400 * TENANTS
    times = []
    for _ in range(5):
        began = time.perf_counter()
        text = generate_latest(registry)
        times.append(time.perf_counter() - began)
    assert min(times) <= 0.2
    assert len(text) < 1_000_000
