"""Prometheus' and Grafana's files: every name in them is one that the relay or the compose file really gives."""

import json
import re
from itertools import pairwise
from typing import Any

import aiohttp
import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from relay.metrics import Metrics
from tests.deploy import files
from tests.deploy.files import DEPLOY

ADDED_BY_PROMETHEUS = {"job", "instance"}
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


def _dashboard() -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "relay.json").read_text())
    return tree


def _queries() -> list[tuple[str, str, str]]:
    """Title, PromQL and legend of every query, Grafana's variables filled in."""
    return [
        (
            panel["title"],
            target["expr"].replace("$__rate_interval", "1m").replace("$tenant", ".*"),
            target["legendFormat"],
        )
        for panel in _dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


def _selected(query: str) -> set[tuple[str, frozenset[str]]]:
    """Metrics of a query with the labels that they must have: those they are matched by, and those it groups by."""
    names: dict[str, set[str]] = {}
    grouped: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        selector = node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node
        if isinstance(selector, promql_parser.VectorSelector):
            assert selector.name is not None
            names.setdefault(selector.name, set()).update(matcher.name for matcher in selector.matchers.matchers)

    promql_parser.walk(promql_parser.parse(query), visit)
    return {(name, frozenset((labels | grouped) - ADDED_BY_PROMETHEUS)) for name, labels in names.items()}


def test_prometheus_looks_for_names_that_compose_gives() -> None:
    """The scraped name is a service's own or its alias on a network that Prometheus is on."""
    services, name = files.services(), files.scraped()["names"]

    assert name == ["relay"]
    assert "monitoring" in services["prometheus"]["networks"]
    assert "monitoring" in services["relay"]["networks"]
    assert name == services["demo"]["networks"]["monitoring"]["aliases"]
    assert files.compose()["networks"]["monitoring"] == {"internal": True}


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    """The provisioned source is Prometheus as compose names it, and the dashboards lie where they are looked for."""
    provisioning = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    provider = yaml.safe_load((provisioning / "dashboards" / "relay.yaml").read_text())["providers"][0]
    grafana = files.services()["grafana"]

    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/relay.json"


def test_the_dashboard_is_well_formed() -> None:
    """Ids are unique, panels lie side by side within 24 columns, and each one asks the chosen source something."""
    panels = _dashboard()["panels"]
    boxes = [panel["gridPos"] for panel in panels]
    cells = [
        (column, line)
        for box in boxes
        for column in range(box["x"], box["x"] + box["w"])
        for line in range(box["y"], box["y"] + box["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(column for column, _ in cells) < 24
    assert all(upper["y"] <= lower["y"] for upper, lower in pairwise(boxes))
    for panel in panels:
        if panel["type"] != "row":
            assert panel["targets"]
            assert {source["uid"] for source in (panel["datasource"], panel["targets"][0]["datasource"])} == {
                "${datasource}"
            }


def test_every_metric_of_the_dashboard_is_one_of_the_relay_s() -> None:
    """Each query is valid PromQL over names that the relay's instruments have, with the suffix of their type."""
    families = list(Metrics(CollectorRegistry()).registry.collect())
    known = {family.name + suffix for family in families for suffix in SUFFIXES.get(family.type, ("",))}
    asked = {name for _, query, _ in _queries() for name, _ in _selected(query)} - {"up"}

    assert asked <= known
    assert {name for name in known if name.startswith("relay_")} - asked == {
        f"relay_{histogram}_seconds_{suffix}"
        for histogram in ("setup", "first_audio", "handover_stall", "event_loop_lag")
        for suffix in ("sum", "count")
    }, "something is counted that no panel shows"


def test_every_legend_names_a_label_of_its_query() -> None:
    """A legend's placeholder is a label that the query keeps; others would stay empty."""
    for title, query, legend in _queries():
        kept = set(re.findall(r"\w+", "".join(re.findall(r"by \(([^)]*)\)", query)))) or ADDED_BY_PROMETHEUS
        assert set(re.findall(r"{{(\w+)}}", legend)) <= kept, title


async def _converse(ready: dict[str, Any]) -> None:
    """One spoken answer, one message that had to wait, one broken rule, one refused handshake."""
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{ready['listen']}/demo/config.json") as answer:
            settings = await answer.json()
        url, key = ready["listen"] + settings["path"], {"x-goog-api-key": settings["key"]}
        async with http.ws_connect(url, headers=key) as socket:
            await socket.send_json({"setup": {}})
            await socket.send_json({"realtimeInput": {"text": "hello"}})  # held: Gemini has not answered the setup yet
            async for message in socket:
                if "turnComplete" in json.loads(message.data).get("serverContent", {}):
                    break
        async with http.ws_connect(url, headers=key) as socket:
            await socket.send_json({"setup": {"labels": {"team": "x"}}})
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(url, headers={"x-goog-api-key": "nobody"})


async def _samples(ready: dict[str, Any]) -> list[tuple[str, frozenset[str]]]:
    async with aiohttp.ClientSession() as http, http.get(f"{ready['admin']}/metrics") as answer:
        text = await answer.text()
    families = text_string_to_metric_families(text)
    return [(sample.name, frozenset(sample.labels)) for family in families for sample in family.samples]


@pytest.mark.timeout(60)
async def test_every_panel_has_something_to_show_after_one_conversation(demo: dict[str, Any]) -> None:
    """Each metric that a panel asks for is scraped from a relay that was talked to, with the labels the panel uses."""
    await _converse(demo)
    samples = await _samples(demo)

    for title, query, _ in _queries():
        for name, labels in _selected(query) - {("up", frozenset())}:
            assert any(name == sample and labels <= its for sample, its in samples), f"{title}: {name} by {set(labels)}"
