"""Has SDKs hold conversations through the relays on the stage and watches both ends; the checks all SDKs share."""

import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.e2e.sdk.driving import Client, Played, Request, Sdk
from tests.e2e.sdk.scenarios import (
    ASSISTANT,
    GOOGLE_KEY,
    MODEL,
    SCENARIOS,
    Scenario,
    check_google,
    tenant_key,
    text,
    until,
)

GREETING = SCENARIOS[0]
WRONG_KEY = "relay_nobody-has-this-one"


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running."""

    plain_url: str
    """A relay on http://."""
    secure_url: str
    """The same on https://."""
    prefixed_url: str
    """The same on https:// with a path in front of its endpoints."""
    simulator_url: str
    authority: Path
    """Certificate of the authority that vouches for the relays."""
    page_url: str
    """Where the browser example is served."""

    def inspect(self, what: str) -> dict[str, Any]:
        """Ask the simulator what it saw."""
        address = self.simulator_url.replace("ws://", "http://") + f"/sim/{what}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def newest(self) -> int:
        """The number of the simulator's newest connection; 0 when there was none."""
        return max((connection["id"] for connection in self.connections()), default=0)

    def connections(self, after: int = 0) -> list[dict[str, Any]]:
        """The simulator's record of its connections whose number is above `after`."""
        return [found for found in self.inspect("connections")["connections"] if found["id"] > after]


class Director:
    """Plays conversations, one at a time."""

    def __init__(self, stage: Stage, client: Callable[[Sdk], Client]) -> None:
        self.stage = stage
        self._client = client

    def play(self, sdk: Sdk, request: Request) -> Played:
        """One conversation as the application and "Google" saw it."""
        before = self.stage.newest()
        seen = self._client(sdk).converse(request)
        return Played(**seen, google=self.stage.connections(before))

    def perform(self, sdk: Sdk, scenario: Scenario, url: str) -> Played:
        """Play a scenario of the table and assert all that it promises."""
        request = Request(url, tenant_key(scenario.policy), scenario.model, scenario.config, scenario.steps)
        played = self.play(sdk, request)
        scenario.verify(played)
        return played


def check_target(director: Director, sdk: Sdk, url: str) -> None:
    """The SDK asks for its own version of the path, with or without a doubled slash and a prefix; Google sees one."""
    method = f"ws/google.ai.generativelanguage.{sdk.api_version}.GenerativeService.BidiGenerateContent"
    prefix = urlsplit(url).path
    for base, slash in ((url, "/" if prefix else sdk.slash), (f"{url}/", "//")):
        target = urlsplit(f"http://relay{director.perform(sdk, GREETING, base).target}")
        assert target.path == f"{prefix}{slash}{method}"
        assert tuple(parse_qs(target.query)) == sdk.query


def check_wrong_key(director: Director, sdk: Sdk, url: str) -> str:
    """A key that is nobody's fails at once and reaches nobody; returns the words the application gets."""
    played = director.play(sdk, Request(url, WRONG_KEY, MODEL, GREETING.config, GREETING.steps))
    assert played.events == []
    assert played.google == []
    assert played.failure is not None
    assert "401" in played.failure["message"]
    assert WRONG_KEY not in played.failure["message"]
    return f"{played.failure['type']}: {played.failure['message']}"


def check_resumption(director: Director, sdk: Sdk, url: str) -> None:
    """A handle the SDK was given, which is not Google's, brings the conversation back on a second connection."""

    def converse(words: str, handle: dict[str, str], *events: str) -> Played:
        config = {"responseModalities": ["AUDIO"], "sessionResumption": handle}
        steps = (text(words), *map(until, events))
        played = director.play(sdk, Request(url, tenant_key("guided"), MODEL, config, steps))
        assert played.failure is None
        return played

    first = converse("My favourite colour is green", {}, "turnComplete", "handle")
    check_google(first.google, {"model": MODEL, **ASSISTANT, "sessionResumption": {}})
    handle = [event["handle"] for event in first.events if "handle" in event][-1]
    googles = {handle for session in director.stage.inspect("ledger")["sessions"] for handle in session["handles"]}
    assert handle not in googles
    second = converse("What did I say?", {"handle": handle}, "turnComplete")
    assert "Before this you said: My favourite colour is green." in second.said
    assert "on connection 2" in second.said
    resumption = second.messages[0]["setup"]["sessionResumption"]
    assert resumption["handle"] in googles
    check_google(second.google, {"model": MODEL, **ASSISTANT, "sessionResumption": resumption})
    assert GOOGLE_KEY not in json.dumps([first.events, second.events])
