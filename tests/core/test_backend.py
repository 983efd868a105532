"""Google's two services: paths, and what becomes of a model's name on the way there."""

import json

import pytest

from relay.core.backend import Backend, developer, vertex
from relay.core.commands import Send
from relay.core.events import DOWNSTREAM, Opened, Received
from relay.core.policy import Behaviour, Messages, Models, Policy, SetupRules
from tests.core.playbook import awaiting

DEV = developer("v1beta")
PROJECT = vertex("v1beta1", "acme-prod", "us-central1")
EXPRESS = vertex("v1", None, None)

FULL = "projects/acme-prod/locations/us-central1/publishers/google/models/"
ELSEWHERE = "projects/other/locations/eu/publishers/google/models/gemini-x"


@pytest.mark.parametrize(
    ("backend", "name", "there"),
    [
        (DEV, "models/gemini-x", "models/gemini-x"),
        (DEV, "publishers/google/models/gemini-x", "publishers/google/models/gemini-x"),
        (DEV, "tunedModels/mine", "tunedModels/mine"),
        (PROJECT, "models/gemini-x", FULL + "gemini-x"),
        (PROJECT, "publishers/google/models/gemini-x", FULL + "gemini-x"),
        (PROJECT, FULL + "gemini-x", FULL + "gemini-x"),
        (PROJECT, ELSEWHERE, ELSEWHERE),
        (PROJECT, "models/../../x", "models/../../x"),
        (PROJECT, "models/a/models/b", "models/a/models/b"),
        (EXPRESS, "models/gemini-x", "publishers/google/models/gemini-x"),
        (EXPRESS, "publishers/google/models/gemini-x", "publishers/google/models/gemini-x"),
    ],
)
def test_a_model_gets_the_name_it_has_there(backend: Backend, name: str, there: str) -> None:
    """Only an id is moved into another name; whatever holds more steps is left for Google to refuse."""
    assert backend.model_name(name) == there
    assert backend.model_name(there) == there


def test_only_the_model_of_a_setup_changes() -> None:
    """What was decided stays as it is, and the client's name for the model with it."""
    decided = {"model": "models/gemini-x", "tools": [{"googleSearch": {}}]}

    assert PROJECT.addressed(decided) == {"model": FULL + "gemini-x", "tools": [{"googleSearch": {}}]}
    assert decided["model"] == "models/gemini-x"


def test_each_service_has_its_path() -> None:
    """Vertex has a slash before the method, the Developer API a dot."""
    assert DEV.method == "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    assert PROJECT.method == "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
    assert EXPRESS.method == "/ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent"
    assert [backend.transparent for backend in (DEV, PROJECT, EXPRESS)] == [False, True, True]


def test_the_setup_goes_upstream_by_the_name_the_model_has_there() -> None:
    """What the session calls its model, in logs and in sealed handles, stays the client's name."""
    models = Models("models/gemini-x", frozenset(), backend=PROJECT)
    policy = Policy("test", models, setup=SetupRules(), messages=Messages(), behaviour=Behaviour())
    session = awaiting(policy)
    session.handle(Received(DOWNSTREAM, b'{"setup":{}}', text=True), 0.0)
    sent = [command for command in session.handle(Opened(1), 0.0) if isinstance(command, Send)]

    assert [json.loads(command.payload)["setup"]["model"] for command in sent] == [FULL + "gemini-x"]
    assert session.model == "models/gemini-x"
    assert policy.backend is PROJECT
