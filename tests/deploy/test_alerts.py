"""Prometheus' alert rules: about metrics and labels that the relay has, and each fires when it should."""

import re
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry

from relay.core.closing import Blame, CloseReason
from relay.core.handover import Outcome
from relay.core.usage import Flag
from relay.metrics import Metrics
from tests.deploy import files
from tests.deploy.files import DEPLOY
from tests.deploy.test_monitoring import SUFFIXES, _selected
from tests.support import ROOT, require_promtool

CASES = Path(__file__).parent / "alerts_cases.yaml"
VOCABULARY: dict[str, set[str]] = {
    "reason": {reason.label for reason in CloseReason},
    "blame": {blame.value for blame in Blame},
    "outcome": {outcome.value for outcome in Outcome} | {"opened", "unreachable"},
    "flag": {flag.value for flag in Flag},
    "cause": {"capacity", "concurrent_sessions", "starts_per_minute", "admin_token"},
    "job": {"relay"},
}
RULES = files.alerts()
NAMES = [rule["alert"] for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_every_rule_is_about_something_that_is_there(rule: dict[str, Any]) -> None:
    """Its query parses; its metrics are the relay's, with these labels; what it matches is a word of the relay's."""
    registry = Metrics(CollectorRegistry()).registry
    known = {family.name + suffix for family in registry.collect() for suffix in SUFFIXES.get(family.type, ("",))}
    instruments = {
        f"{instrument._name}{suffix}": {*instrument._labelnames, "le"}
        for instrument in vars(Metrics(CollectorRegistry())).values()
        if hasattr(instrument, "_labelnames")
        for suffix in SUFFIXES[instrument._type]
    }
    for name, labels in _selected(rule["expr"]):
        assert name in known | {"up"}
        of_another_metric = {"sink"} if rule["alert"] == "RelayUsageLost" else set()
        assert labels <= instruments.get(name, {"job"}) | of_another_metric, f"{name} has no {labels}"
    promql_parser.parse(rule["expr"])
    for label, operator, value in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', rule["expr"]):
        matching = {word for word in VOCABULARY[label] if re.fullmatch(value, word)}
        assert matching, f"{label}{operator}{value} matches nothing"


def test_every_rule_says_how_urgent_it_is_and_what_is_wrong() -> None:
    """In one sentence, under a name of its own; docs/admin.md has a line about each."""
    page = (ROOT / "docs" / "admin.md").read_text()
    assert len(set(NAMES)) == len(NAMES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"]["summary"].endswith(".")
        assert f"| `{rule['alert']}` | {rule['labels']['severity']} |" in page


def test_compose_gives_prometheus_the_rules() -> None:
    """The folder with both files is where the command line looks for one of them."""
    prometheus = files.services()["prometheus"]
    assert "./prometheus:/etc/prometheus:ro" in prometheus["volumes"]
    assert "--config.file=/etc/prometheus/prometheus.yml" in prometheus["command"]


def test_there_is_a_case_for_every_rule() -> None:
    """One in which it fires."""
    cases = yaml.safe_load(CASES.read_text())["tests"]
    firing = {test["alertname"] for case in cases for test in case["alert_rule_test"] if test["exp_alerts"]}
    assert firing == set(NAMES)


def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    """Configuration and rules are valid to Prometheus itself, and every case goes as it is written."""
    promtool = require_promtool()
    cases = tmp_path / "cases.yaml"
    cases.write_text(CASES.read_text().replace("RULES", str(DEPLOY / "prometheus" / "alerts.yml")))
    for command in (
        ["check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")],
        ["test", "rules", str(cases)],
    ):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
