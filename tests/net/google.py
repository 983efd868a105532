"""Google's token endpoints on loopback, for google-auth's real code to talk to."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

EMAIL = "relay@acme-prod.iam.gserviceaccount.com"
GATE_TIMEOUT_S = 10.0
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass
class TokenServer:
    """Hands out `ACCESS-TOKEN-1`, `-2`, … unless told to answer otherwise."""

    url: str
    requests: list[dict[str, str]] = field(default_factory=list)
    """The path of each request, and the fields of its body."""
    answer: tuple[int, dict[str, Any]] | None = None
    """Status and body to give instead."""
    headers: dict[str, str] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    """Requests wait until it is set."""

    def __post_init__(self) -> None:
        self.gate.set()

    def answered(self, fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and body for a request."""
        self.requests.append(fields)
        self.gate.wait(GATE_TIMEOUT_S)
        if self.answer is not None:
            return self.answer
        self.tokens.append(f"ACCESS-TOKEN-{len(self.requests)}-canary")
        issued = "urn:ietf:params:oauth:token-type:access_token"
        token = {"access_token": self.tokens[-1], "expires_in": 3600, "token_type": "Bearer"}
        return 200, token | {"issued_token_type": issued}


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """One that listens, on every path."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            fields = {name: values[0] for name, values in parse_qs(body).items()}
            self._reply(*server.answered({"path": self.path, **fields}))

        def do_GET(self) -> None:
            """The metadata server's way."""
            if self.path.endswith("/token") or "/token?" in self.path:
                self._reply(*server.answered({"path": self.path}))
            elif "project-id" in self.path:
                self._reply(200, "acme-prod")
            else:
                self._reply(200, {"email": EMAIL, "scopes": [SCOPE], "aliases": ["default"]})

        def _reply(self, status: int, body: object) -> None:
            text = body if isinstance(body, str) else json.dumps(body)
            self.send_response(status)
            kind = "application/text" if isinstance(body, str) else "application/json"
            for name, value in {"Content-Type": kind, "Metadata-Flavor": "Google", **server.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it that
            """Say nothing."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = TokenServer(f"http://127.0.0.1:{listener.server_port}")
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join(timeout=5)


@dataclass(frozen=True)
class ServiceAccount:
    """A service account with a key of its own."""

    key: rsa.RSAPrivateKey
    info: dict[str, Any]
    """The JSON that Google's console lets one download."""

    def claims(self, assertion: str) -> dict[str, Any]:
        """What a signed assertion claims. Raises InvalidSignature when it is not signed with our key."""
        signed, _, signature = assertion.rpartition(".")
        self.key.public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        claims: dict[str, Any] = json.loads(_decoded(signed.partition(".")[2]))
        return claims


def service_account(token_url: str) -> ServiceAccount:
    """A new one, whose tokens come from this address."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    info = {
        "type": "service_account",
        "project_id": "acme-prod",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": EMAIL,
        "token_uri": token_url,
    }
    return ServiceAccount(key, info)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
