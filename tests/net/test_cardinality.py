"""Series are bounded in number, whatever clients send: only closed vocabularies and configured tenants are labels.

CARDINALITY_VALUES sets how many sessions send random values; 1000000 takes about nine minutes.
"""

import json
import os
import random
import string
import subprocess
import time
from typing import Any

import aiohttp
import pytest
import structlog

from relay.core.commands import Command, End, HandedOver, UpstreamSaid, Violated
from relay.core.events import DOWNSTREAM, Closed, Opened, Received
from relay.core.session import Session
from relay.core.tickets import Grant
from relay.net.report import Report
from tests.net.conftest import PATH, TENANT_KEY, Running, Start
from tests.support import require_promtool

VALUES = int(os.environ.get("CARDINALITY_VALUES", "20000"))
HANDSHAKES = 200
MARK = "zq7x"
"""In every random value: none may be found in what Prometheus gets."""
MOST_SERIES = 2_000
MOST_SCRAPE_S = 0.2


class Client:
    """Values that nobody has sent before, of every kind that a client chooses, and Gemini's repetitions of them."""

    def __init__(self, running: Running) -> None:
        self._random = random.Random(26)  # so that every run has the same values
        self._relay = running.relay
        self._quiet = structlog.wrap_logger(None, wrapper_class=structlog.make_filtering_bound_logger(50))
        (self._tenant,) = running.relay._tenants.values()
        self._handles = running.relay._parts.handles.bound("acme", "under-test", "")

    def value(self) -> str:
        """Letters, and now and then what could break a label."""
        letters = self._random.choices(string.ascii_letters + '0123456789"\\\n{},=é', k=self._random.randint(1, 12))
        return MARK + "".join(letters)

    def number(self) -> int:
        """Small, large or absurd."""
        return self._random.choice([self._random.randint(-5, 5_000), self._random.getrandbits(40)])

    def session(self, number: int) -> None:
        """A session from its setup to its end, without sockets, reported as the listener reports it."""
        policy, limits = self._tenant.policy, self._tenant.limits
        session = Session(f"{number:x}", policy, limits, self._handles, self._random.random)
        grant = Grant(self.value(), True, 0.0, 1.0, self.value(), {self.value(): self.value()})
        parts = self._relay._parts
        report = Report(
            session_id=session_id(number),
            tenant="acme",
            policy=policy.name,
            session=session,
            metrics=parts.metrics,
            scrubber=parts.scrubber,
            on_charge=lambda: None,
            diary=parts.diary,
            grant=grant,
        )
        report._log = self._quiet
        report.began()
        session.start(0.0)
        for event in self.events():
            if tell(report, session.handle(event, 1.0)):
                return
        raise AssertionError("the last event ends every session")

    def events(self) -> list[Received | Closed | Opened]:
        """What one client does: a setup that may be fine, messages that may be none, a close of its own making."""
        name = self.value()
        setup: dict[str, Any] = self._random.choice(
            [{}, {}, {"model": f"models/{name}"}, {name: 1}, {"labels": {name: name}}]
        )
        later: dict[str, Any] = self._random.choice(
            [
                {"realtimeInput": {"text": name}},
                {"realtimeInput": {"video": {"mimeType": name}}},
                {"realtimeInput": {name: 1}},
                {"contextUpdate": {"systemInstruction": {"parts": [{"text": name}]}}},
                {"toolResponse": {"functionResponses": [{"id": name}]}},
                {"clientContent": {"turns": [{"role": name}]}},
                {name: {}},
            ]
        )
        usage = {
            "promptTokenCount": self.number(),
            "promptTokensDetails": [{"modality": self.value(), "tokenCount": self.number()}],
            self.value(): self.number(),
        }
        said = {"serverContent": {"turnComplete": True, self.value(): self.value()}, "usageMetadata": usage}
        return [
            client({"setup": setup}),
            Opened(1),
            Received(1, b'{"setupComplete":{}}', False),
            Received(1, json.dumps(said).encode(), False),
            client(later),
            Closed(1, self._random.choice([1000, 1006, 1007, 1008, 1011, 4000]), self.value()),
            Closed(DOWNSTREAM, self._random.randint(1000, 4999), self.value()),
            Closed(DOWNSTREAM, 1000, ""),
        ]

    async def handshake(self, running: Running) -> None:
        """A request that is refused: path, method, origin, key and headers are the client's own words."""
        name = self.value().encode("ascii", "ignore").hex() + MARK
        method = self._random.choice(["GET", "GET", "POST", "PATCH"])
        path = self._random.choice([PATH, f"/{name}", f"{PATH}/{name}", f"{PATH}?key={name}", f"/admin/{name}"])
        headers = {
            "Origin": f"https://{name}.example",
            "x-goog-api-key": self._random.choice([name, TENANT_KEY]),
            "x-relay-end-user": name,
            "User-Agent": name,
            "Upgrade": self._random.choice(["websocket", name]),
            "Connection": "Upgrade",
        }
        try:
            async with running.http.request(method, running.addresses["listen"] + path, headers=headers) as response:
                assert response.status >= 400
        except aiohttp.ClientError:
            pass  # not even HTTP to the server's mind


def session_id(number: int) -> str:
    """Unlike any other."""
    return f"{MARK}{number:012x}"


def client(message: dict[str, Any]) -> Received:
    """The client sends this."""
    return Received(DOWNSTREAM, json.dumps(message).encode(), True)


def tell(report: Report, commands: list[Command]) -> bool:
    """What the driver tells the observer; whether the session has ended."""
    for command in commands:
        match command:
            case Violated():
                report.violated(command)
            case UpstreamSaid():
                report.upstream_said(command)
            case HandedOver(handover):
                report.handed_over(handover)
            case End(close):
                report.ended(close)
                return True
            case _:
                pass
    return False


@pytest.mark.threat("F2")
@pytest.mark.timeout(1200)
async def test_series_are_bounded_whatever_clients_send(start: Start) -> None:
    """20,000 sessions and 200 handshakes full of random values: no value, and no more series than a tenant has."""
    running = await start()
    random_client = Client(running)
    for _ in range(HANDSHAKES):
        await random_client.handshake(running)
    before = series(await running.metrics())
    for number in range(VALUES):
        random_client.session(number)
    text = await running.metrics()
    told = series(text)

    ended = sum(float(line.rpartition(" ")[2]) for line in told if line.startswith("relay_sessions_total{"))
    assert ended == VALUES, "every one of them was counted"
    rules = [line for line in told if line.startswith("relay_violations_total{")]
    assert len(rules) > 5, "they broke rules of every kind"
    assert MARK not in text
    assert len(before) <= len(told) <= MOST_SERIES
    assert await scraped_in_s(running) < MOST_SCRAPE_S
    lint = subprocess.run(
        [require_promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")


def series(text: str) -> list[str]:
    """The samples of a scrape."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


async def scraped_in_s(running: Running) -> float:
    """The quickest of five scrapes: the machine may be busy with something else."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        await running.metrics()
        times.append(time.perf_counter() - begin)
    return min(times)
