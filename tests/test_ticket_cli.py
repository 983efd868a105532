"""`relay token --url` and `relay revoke` against a relay process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
import yaml

from tests.support import relay_process

KEY = "relay_command-line-key-0123"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A relay with one tenant, whose key is in a file."""
    folder = tmp_path_factory.mktemp("relay")
    (folder / "key").write_text(f"{KEY}\n")
    tree = {
        "listen": {"port": 0},
        "admin": {"port": 0},
        "log": {"level": "warning"},
        "upstream": {"base_url": "ws://127.0.0.1:9", "api_key_file": str(folder / "key")},
        "policies": {"p": {"model": "models/m"}},
        "tenants": [{"id": "acme", "policy": "p", "key_files": [str(folder / "key")]}],
    }
    (folder / "relay.yaml").write_text(yaml.safe_dump(tree))
    with relay_process(folder / "log", "serve", "--config", str(folder / "relay.yaml")) as ready:
        yield ready["listen"]


def _relay(*arguments: str, key: str = KEY) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "relay", *arguments]
    environment = os.environ | {"RELAY_KEY": key}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_a_ticket_is_minted_and_revoked(url: str, tmp_path: Path) -> None:
    """One line of JSON each."""
    limits = ("--seconds", "60", "--tokens", "5000", "--money", "0.25", "--session-seconds", "30")
    minted = _relay("token", "--url", url, "--uses", "3", "--end-user", "eva", "--label", "a=b", *limits)
    assert minted.returncode == 0, minted.stderr
    name = json.loads(minted.stdout)["name"]
    assert name.startswith("auth_tokens/")
    file = tmp_path / "ticket"
    file.write_text(name)
    for what in (("--ticket-file", str(file)), ("--end-user", "eva"), ("--all",)):
        revoked = _relay("revoke", "--url", url, *what)
        assert (revoked.returncode, json.loads(revoked.stdout)) == (0, {"sessionsEndedHere": 0})


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        (("--uses", "-1"), KEY, "the relay refused (400): uses: must be an integer"),
        (("--tokens", "0"), KEY, "the relay refused (400): relay.limits.tokens: must be a number above 0"),
        (("--money", "much"), KEY, "the relay refused (400): relay.limits.money: must be a number above 0"),
        (("--session-seconds", "-1"), KEY, "the relay refused (400): relay.limits.sessionSeconds: must be"),
        ((), "relay_wrong", "the relay refused (401): no valid credential"),
        ((), "", "the tenant's key is missing"),
    ],
)
def test_what_goes_wrong_is_one_line_without_the_key(
    url: str, arguments: tuple[str, ...], key: str, words: str
) -> None:
    """And an exit code of its own."""
    done = _relay("token", "--url", url, *arguments, key=key)
    assert done.returncode == 69
    assert done.stdout == ""
    assert done.stderr.startswith(f"relay: {words}")
    assert KEY not in done.stderr


def test_a_relay_that_is_not_there_is_one_line() -> None:
    """No traceback."""
    done = _relay("token", "--url", "http://127.0.0.1:9")
    assert (done.returncode, done.stderr) == (69, "relay: the relay can't be reached, or is none\n")


class _Elsewhere(BaseHTTPRequestHandler):
    """Sends whoever asks on to another place, and notes what it was asked with."""

    seen: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """A redirect to itself."""
        self.seen.append(self.headers["x-goog-api-key"])
        self.send_response(302)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/again")  # type: ignore[attr-defined]
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the base class calls it that

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it that
        """Say nothing."""


@pytest.mark.threat("A6")
def test_a_redirect_does_not_get_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a proxy of the environment."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with HTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        done = _relay("token", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join(timeout=30)

    assert (done.returncode, done.stderr) == (69, "relay: the relay refused (302): no reason given\n")
    assert _Elsewhere.seen == [KEY]
