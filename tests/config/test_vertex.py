"""Vertex in relay.yaml: one way to show who we are, and Google's address where none is given."""

from typing import Any

import pytest
import yaml

from relay import config
from relay.config import Config, ConfigError

PROJECT = {"project": "acme-prod", "location": "us-central1"}


def built(**upstream: Any) -> Config:
    """A configuration with this upstream."""
    return config.build(
        {
            "upstream": upstream,
            "policies": {"p": {"model": "models/m"}},
            "tenants": [{"id": "acme", "keys": ["k"], "policy": "p"}],
        }
    )


@pytest.mark.parametrize(
    ("upstream", "address"),
    [
        ({"api_key": "k"}, "wss://generativelanguage.googleapis.com"),
        ({"vertex": PROJECT}, "wss://us-central1-aiplatform.googleapis.com"),
        ({"vertex": PROJECT | {"location": "global"}}, "wss://aiplatform.googleapis.com"),
        ({"vertex": PROJECT | {"location": "us"}}, "wss://aiplatform.us.rep.googleapis.com"),
        ({"vertex": PROJECT | {"location": "eu"}}, "wss://aiplatform.eu.rep.googleapis.com"),
        ({"vertex": {}, "api_key": "k"}, "wss://aiplatform.googleapis.com"),
        ({"vertex": PROJECT, "base_url": "ws://127.0.0.1:9999/"}, "ws://127.0.0.1:9999"),
    ],
)
def test_the_address_follows_from_the_location(upstream: dict[str, Any], address: str) -> None:
    """Regions, the two multi-regions and global have hosts of their own; what is given wins."""
    assert built(**upstream).upstream.base_url == address


@pytest.mark.parametrize(
    ("upstream", "problems"),
    [
        ({}, ["upstream: needs api_key, api_key_file or vertex"]),
        (
            {"vertex": {}},
            ["upstream.vertex.project: is missing (express mode does without, but needs an API key)"],
        ),
        ({"vertex": {"project": "acme-prod"}}, ["upstream.vertex.location: is missing"]),
        (
            {"vertex": PROJECT, "api_key_file": "/k"},
            ["upstream.api_key_file: is of no use on Vertex with a project: keep one of them"],
        ),
        (
            {"vertex": {"location": "eu", "access_token_file": "/t", "credentials_file": "/c"}, "api_key": "k"},
            [
                "upstream.vertex.access_token_file: means nothing without a project",
                "upstream.vertex.credentials_file: means nothing without a project",
                "upstream.vertex.location: means nothing without a project",
            ],
        ),
        (
            {"vertex": PROJECT | {"access_token_file": "/t", "credentials_file": "/c"}},
            ["upstream.vertex: has both credentials_file and access_token_file: keep one"],
        ),
    ],
    ids=str,
)
def test_there_is_one_way_to_show_who_we_are(upstream: dict[str, Any], problems: list[str]) -> None:
    """Two ways, half of one or none are mistakes, each named with its path."""
    with pytest.raises(ConfigError) as raised:
        built(**upstream)
    assert raised.value.problems == problems


@pytest.mark.parametrize(
    ("vertex", "path"),
    [
        ({"project": "a/b"}, "upstream.vertex.project"),
        ({"project": ""}, "upstream.vertex.project"),
        ({"location": "evil.example/"}, "upstream.vertex.location"),
        ({"location": "US"}, "upstream.vertex.location"),
        ({"api_version": "v1beta"}, "upstream.vertex.api_version"),
        ({"region": "eu"}, "upstream.vertex.region"),
    ],
    ids=str,
)
def test_what_would_not_fit_into_a_name_or_host_is_refused(vertex: dict[str, Any], path: str) -> None:
    """Project and location become parts of a model's name and of a host's, so neither may hold more."""
    with pytest.raises(ConfigError) as raised:
        built(vertex=PROJECT | vertex)
    assert [problem.split(":")[0] for problem in raised.value.problems] == [path]


@pytest.mark.parametrize("upstream", [{"vertex": PROJECT}, {"vertex": {}, "api_key": "k"}], ids=["project", "express"])
def test_what_is_shown_can_be_loaded_again(upstream: dict[str, Any]) -> None:
    """The effective configuration names the address, and is a configuration itself."""
    text = config.shown(built(**upstream))
    tree = yaml.safe_load(text)

    assert tree["upstream"]["base_url"].endswith("aiplatform.googleapis.com")
    assert config.build(tree).upstream.vertex == built(**upstream).upstream.vertex
