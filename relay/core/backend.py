"""Google's two services for the Live API: where their method is, and how they call a model.

Clients and policies name models as the Developer API does, whichever service the relay talks to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DEVELOPER_METHOD = "/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent"
VERTEX_METHOD = "/ws/google.cloud.aiplatform.{version}.LlmBidiService/BidiGenerateContent"

_MODELS = "models/"
_PUBLISHER = "publishers/google/models/"


@dataclass(frozen=True, slots=True)
class Backend:
    """The service that upstream legs talk to."""

    method: str
    """Path of the Live API's method."""
    models: str = ""
    """What stands before a model's id in its name there; empty where names need no change."""
    transparent: bool = False
    """Whether it knows `sessionResumption.transparent`."""

    def model_name(self, name: str) -> str:
        """The name of a model at this service; one that has another shape than `models/ID` stays as it is."""
        shape = next((shape for shape in (_MODELS, _PUBLISHER) if name.startswith(shape)), None)
        if not self.models or shape is None or "/" in name.removeprefix(shape):
            return name
        return self.models + name.removeprefix(shape)

    def addressed(self, setup: Mapping[str, Any]) -> dict[str, Any]:
        """A setup that a policy has decided, with its model by the name it has here: what goes upstream."""
        return {**setup, "model": self.model_name(setup["model"])}


def developer(version: str) -> Backend:
    """The Gemini Developer API."""
    return Backend(DEVELOPER_METHOD.format(version=version))


def vertex(version: str, project: str | None, location: str | None) -> Backend:
    """Vertex, now the Gemini Enterprise Agent Platform; without a project in express mode, where a key tells it."""
    where = f"projects/{project}/locations/{location}/" if project is not None else ""
    return Backend(VERTEX_METHOD.format(version=version), where + _PUBLISHER, transparent=True)


DEVELOPER = developer("v1beta")
"""The service that policies are for unless told otherwise."""
