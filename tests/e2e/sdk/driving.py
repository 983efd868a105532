"""Runs an SDK in a process of its own, one conversation after the other, and fetches what "Google" saw of each.

The assertions are in `scenarios` and in the tests.
"""

import base64
import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import JS, ROOT, missing, require_node_packages

ANSWER_WITHIN_S = 25.0
"""The clients give up after 15 s on their own account."""
SCRIPT = Path(__file__).with_name("python_client.py")


@dataclass(frozen=True, slots=True)
class Sdk:
    """One released SDK, and what is known of how it connects."""

    name: str
    version: str
    api_version: str
    """Version in the path it asks for by default."""
    slash: str
    """What its path begins with when its base URL is a mere host."""
    query: tuple[str, ...]
    """Names in its query."""
    command: Callable[[], list[str]]
    """Its client's command; skips the test where the SDK is missing."""

    def __str__(self) -> str:
        return self.name


def _python_here() -> list[str]:
    return [sys.executable, str(SCRIPT)]


def _python_old() -> list[str]:
    python = ROOT / ".venv-sdk1" / "bin" / "python"
    if not python.exists():
        missing("google-genai 1.x in .venv-sdk1")
    return [str(python), str(SCRIPT)]


def _node() -> list[str]:
    return [str(require_node_packages("@google/genai")), str(JS / "sdk_client.mjs")]


PYTHON_3 = Sdk("python-3.4.0", "3.4.0", "v1", "/", (), _python_here)
PYTHON_1 = Sdk("python-1.75.0", "1.75.0", "v1beta", "/", (), _python_old)
JAVASCRIPT = Sdk("js-3.1.0", "3.1.0", "v1", "//", ("key",), _node)


@dataclass(frozen=True, slots=True)
class Request:
    """One conversation to hold."""

    url: str
    key: str
    model: str
    config: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Played:
    """A conversation as the application saw it, and as "Google" did."""

    events: list[dict[str, Any]]
    failure: dict[str, Any] | None
    """The exception the SDK raised."""
    target: str
    """What the SDK requested: path and query."""
    google: list[dict[str, Any]] = field(default_factory=list)
    """The simulator's record of each connection it got."""

    @property
    def said(self) -> str:
        """The transcript of the model's answers."""
        return "".join(event.get("said", "") for event in self.events)

    @property
    def heard(self) -> str:
        """The transcript of the user's speech."""
        return "".join(event.get("heard", "") for event in self.events)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The function calls."""
        return [call for event in self.events for call in event.get("calls", [])]

    @property
    def audio_bytes(self) -> int:
        """How much PCM came."""
        return self.total("audio")

    @property
    def peak(self) -> int:
        """The loudest sample, out of 32,768."""
        return max((event.get("peak", 0) for event in self.events), default=0)

    def total(self, name: str) -> int:
        """A figure of the events, summed; flags count as 1."""
        return sum(event.get(name, 0) for event in self.events)

    def index(self, name: str) -> int:
        """The place of the first event that has this in it."""
        return next(at for at, event in enumerate(self.events) if name in event)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What the one connection to "Google" received, parsed."""
        (connection,) = self.google
        return [json.loads(message["raw"]) for message in connection["messages"]]

    @property
    def audio_at_google(self) -> bytes:
        """All streamed audio as it arrived, in order."""
        chunks = [message["realtimeInput"] for message in self.messages if "realtimeInput" in message]
        return b"".join(_decoded(chunk["audio"]["data"]) for chunk in chunks if "audio" in chunk)


def _decoded(text: str) -> bytes:
    return base64.b64decode(text.replace("-", "+").replace("_", "/"))  # the Python SDK writes the URL-safe kind


class Client:
    """An SDK's process; it is started by the first conversation and again after one that it did not survive."""

    def __init__(self, sdk: Sdk, environment: Mapping[str, str], log: Path) -> None:
        self.sdk = sdk
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[str] | None = None

    def converse(self, request: Request) -> dict[str, Any]:
        """Hold one conversation.

        Raises AssertionError when the client has no answer in time; the process is ended then.
        """
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        line = {name: getattr(request, name) for name in ("url", "key", "model", "config", "steps")}
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            answer = process.stdout.readline() if waiting.select(ANSWER_WITHIN_S) else ""
        if not answer:
            self.stop()
            raise AssertionError(f"{self.sdk} had no answer:\n{self._log.read_text()[-4000:]}")
        seen: dict[str, Any] = json.loads(answer)
        assert seen.pop("sdk") == self.sdk.version, "the test environment has another version"
        return seen

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            with self._log.open("a") as errors:
                self._process = subprocess.Popen(
                    self.sdk.command(),
                    env=dict(self._environment),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
        return self._process


@contextlib.contextmanager
def clients(ca_file: Path, folder: Path) -> Iterator[Callable[[Sdk], Client]]:
    """The client of each SDK, all trusting `ca_file`, all ended with the block."""
    environment = client_environment(ca_file)
    started: dict[str, Client] = {}

    def client(sdk: Sdk) -> Client:
        return started.setdefault(sdk.name, Client(sdk, environment, folder / f"{sdk.name}.log"))

    try:
        yield client
    finally:
        for one in started.values():
            one.stop()


def client_environment(ca_file: Path, **more: str) -> dict[str, str]:
    """An environment for a client on this machine: our authority trusted, and no proxy, which could not reach us."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return environment | {"SSL_CERT_FILE": str(ca_file), "NODE_EXTRA_CA_CERTS": str(ca_file)} | more
