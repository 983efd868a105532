"""Released SDKs, unmodified, while Google's connection ends under them again and again, and their own is lost."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Certificates, relay_yaml
from tests.e2e.sdk.director import Director, Stage
from tests.e2e.sdk.driving import JAVASCRIPT, PYTHON_1, PYTHON_3, Request, Sdk, clients
from tests.e2e.sdk.scenarios import MODEL, Step, tenant_key, text, until
from tests.support import relay_process

pytestmark = pytest.mark.timeout(60)

GO_AWAYS = 3


@pytest.fixture(scope="module")
def director(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Director]:
    """A simulator that says goAway, with no time left, after each of the first three turns of every session."""
    folder = tmp_path_factory.mktemp("continuity")
    steps = [
        {"when": {"event": "turn_complete", "turn": turn, "repeat": True}, "do": [{"go_away": {"time_left": 0}}]}
        for turn in range(1, GO_AWAYS + 1)
    ]
    scenario = folder / "scenario.yaml"
    scenario.write_text(yaml.safe_dump({"steps": steps}))
    with ExitStack() as stack:
        manners = ("--profile", "instant", "--scenario", str(scenario))
        simulator = stack.enter_context(relay_process(folder / "sim.log", "sim", *manners))["listen"]
        file = relay_yaml(folder, simulator, "http://127.0.0.1")
        server = str(certificates.server)
        tls = ("--set", f'listen.tls={{"cert": "{server}", "key": "{server}"}}')
        plain = stack.enter_context(relay_process(folder / "plain.log", "serve", "--config", str(file)))["listen"]
        secure = stack.enter_context(relay_process(folder / "tls.log", "serve", "--config", str(file), *tls))["listen"]
        stage = Stage(plain, secure, "", simulator, certificates.authority, "")
        client = stack.enter_context(clients(certificates.authority, folder))
        yield Director(stage, client)


def url_for(director: Director, sdk: Sdk) -> str:
    """Where an SDK connects: the Python ones dial nothing but TLS."""
    return director.stage.plain_url if sdk is JAVASCRIPT else director.stage.secure_url


def turn(words: str) -> tuple[Step, ...]:
    """Say something, and wait for the end of the answer and the handle that follows it."""
    return text(words), until("turnComplete"), until("handle")


def request(director: Director, sdk: Sdk, *steps: Step) -> Request:
    """A conversation of an application that can come back."""
    config: dict[str, Any] = {
        "responseModalities": ["AUDIO"],
        "outputAudioTranscription": {},
        "sessionResumption": {},
    }
    return Request(url_for(director, sdk), tenant_key("open"), MODEL, config, steps)


@pytest.mark.parametrize("sdk", [PYTHON_3, PYTHON_1, JAVASCRIPT], ids=str)
def test_three_go_aways_go_unnoticed(director: Director, sdk: Sdk) -> None:
    """One session of the application's, four connections of Google's: no error, no repetition, nothing forgotten."""
    things = ["a green bicycle", "a blue house", "a red kite"]
    steps = [step for thing in things for step in turn(f"I have {thing}")]
    played = director.play(sdk, request(director, sdk, *steps, text("What did I say?"), until("turnComplete")))

    assert played.failure is None
    assert len(played.google) == GO_AWAYS + 1
    assert len({connection["session"] for connection in played.google}) == 1
    assert played.total("turnComplete") == GO_AWAYS + 1
    assert "interrupted" not in {name for event in played.events for name in event}
    assert all(thing in played.said.partition("Before this you said:")[2] for thing in things)
    assert f"on connection {GO_AWAYS + 1}" in played.said


def test_the_javascript_sdk_resumes_after_its_own_socket_is_lost(director: Director) -> None:
    """Its socket dies, the application connects again with the handle it was given: the same conversation goes on."""
    steps = (*turn("My favourite colour is green"), {"do": "drop"}, {"do": "resume"})
    last = (text("What did I say?"), until("turnComplete"))
    played = director.play(JAVASCRIPT, request(director, JAVASCRIPT, *steps, *last))

    assert played.failure is None
    assert "Before this you said: My favourite colour is green." in played.said
    first, second, *later = played.google
    assert first["session"] == second["session"]
    assert [len(connection["messages"]) > 1 for connection in (first, second)] == [True, True]
    # The last answer ends with a goAway too, so a connection may be on its way already: nothing has been said on it.
    assert [len(connection["messages"]) > 1 for connection in later] == [False] * len(later), (
        "one goAway between the two turns, and no new connection to Google for the client's sake"
    )
