"""A simulator and relays as real processes, with TLS where a client insists on it, shared by all end-to-end tests."""

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
import yaml

from tests.e2e.sdk import page
from tests.e2e.sdk.director import Director, Stage
from tests.e2e.sdk.driving import clients
from tests.e2e.sdk.scenarios import GOOGLE_KEY, POLICIES, STORY, tenant_key
from tests.support import ROOT, relay_process


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a throw-away authority and of a server certificate for this machine."""

    authority: Path
    server: Path
    """Key and chain in one file."""


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for 127.0.0.1 from an authority that only the tests' clients trust."""
    folder = tmp_path_factory.mktemp("certificates")
    made = Certificates(folder / "authority.pem", folder / "server.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(made.authority))
    server = authority.issue_cert("127.0.0.1", "localhost")
    server.private_key_and_cert_chain_pem.write_to_path(str(made.server))
    return made


@pytest.fixture(scope="session")
def page_url() -> Iterator[str]:
    """The browser example on a web server of its own."""
    handler = functools.partial(QuietHandler, directory=str(ROOT / "examples" / "browser"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files, and the page with the SDK in it, without a line on standard error for each."""

    def do_GET(self) -> None:
        """Answer with what there is."""
        found = page.asset(self.path)
        if found is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", found[0])
        self.send_header("Content-Length", str(len(found[1])))
        self.end_headers()
        self.wfile.write(found[1])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it that
        """Say nothing."""


@pytest.fixture(scope="session")
def stage(certificates: Certificates, page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The simulator and three relays on the policies of the shipped relay.yaml, one tenant for each policy."""
    folder = tmp_path_factory.mktemp("stage")
    scenario = folder / "scenario.yaml"
    scenario.write_text(yaml.safe_dump(_story()))
    # Quick, but not at once: an answer has to last for somebody to interrupt it.
    manners = ("--profile", "instant", "--burst", "25", "--keep-media", "--scenario", str(scenario))
    tls = f"listen.tls={json.dumps({'cert': str(certificates.server), 'key': str(certificates.server)})}"
    with ExitStack() as stack:
        simulator = stack.enter_context(relay_process(folder / "sim.log", "sim", *manners))["listen"]
        file = relay_yaml(folder, simulator, page_url.rstrip("/"))

        def relay(name: str, *overrides: str) -> str:
            options = [word for override in overrides for word in ("--set", override)]
            running = relay_process(folder / f"{name}.log", "serve", "--config", str(file), *options)
            return str(stack.enter_context(running)["listen"])

        plain, secure = relay("plain"), relay("secure", tls)
        prefixed = relay("prefixed", tls, "listen.path_prefix=/voice")
        yield Stage(plain, secure, prefixed, simulator, certificates.authority, page_url)


@pytest.fixture(scope="session")
def director(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Director]:
    """Plays conversations; each SDK's process lives as long as the tests."""
    with clients(stage.authority, tmp_path_factory.mktemp("sdk")) as client:
        yield Director(stage, client)


def _story() -> dict[str, object]:
    told = " ".join(["Once upon a time there was a relay, and it was a patient one."] * 25)
    when = {"event": "clientContent", "text": STORY, "repeat": True}
    return {"steps": [{"when": when, "do": [{"ignore": {}}, {"say": {"text": told}}]}]}


def relay_yaml(folder: Path, simulator_url: str, origin: str) -> Path:
    """A configuration on the shipped policies, with a tenant for each; its pages come from `origin`."""

    def secret(name: str, value: str) -> str:
        file = folder / f"{name}.key"
        file.write_text(value)
        return str(file)

    path = folder / "relay.yaml"
    tree = {
        "listen": {"port": 0},
        "admin": {"port": 0},
        "upstream": {"base_url": simulator_url, "api_key_file": secret("google", GOOGLE_KEY)},
        "policies": POLICIES,
        "tenants": [
            {
                "id": name,
                "policy": name,
                "key_files": [secret(name, tenant_key(name))],
                "origins": [origin],
                "keys_in_url": True,  # the JavaScript SDK sends a key in no other place
            }
            for name in POLICIES
        ],
        "log": {"level": "warning"},  # because nobody reads the relay's standard output beyond its first line
    }
    path.write_text(yaml.safe_dump(tree))
    return path
