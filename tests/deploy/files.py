"""The deployment's files, parsed: what several tests of this package hold against each other."""

import json
import re
from typing import Any

import yaml

from relay import config
from tests.support import ROOT

DEPLOY = ROOT / "deploy"
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?P<rest>(?:.*\\\n)*.*)", re.MULTILINE)
"""One package of a lock file, with its marker and its hashes."""


def stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's instructions by stage; what stands before the first FROM is left out."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[list[tuple[str, str]]] = []
    for line in text.replace("\\\n", " ").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            found.append([])
        if instruction and found:
            found[-1].append((instruction, rest.strip()))
    return found


def last(instruction: str) -> str:
    """What the shipped stage's last instruction of this kind says."""
    return [rest for name, rest in stages()[-1] if name == instruction][-1]


def health_command() -> list[str]:
    """The image's health check as a list of arguments."""
    command: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    return command


def container_config() -> config.Config:
    """The configuration inside the image, with no variable set."""
    return config.load(DEPLOY / "relay.yaml", {})


def compose() -> dict[str, Any]:
    """The whole compose file, anchors resolved."""
    tree: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return tree


def services() -> dict[str, dict[str, Any]]:
    """The compose file's services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def alerts() -> list[dict[str, Any]]:
    """The alert rules that Prometheus loads."""
    (name,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["rule_files"]
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def scraped() -> dict[str, Any]:
    """Where Prometheus looks for relays: names and port."""
    jobs = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["relay"], "the dashboard's queries name this job"
    lookup: dict[str, Any] = jobs[0]["dns_sd_configs"][0]
    return lookup
