"""The `relay` command as its user and as scripts see it: real processes."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RELAY = [sys.executable, "-m", "relay"]
WAIT_S = 20


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in {"GEMINI_API_KEY", "ACME_KEY"}}
    return subprocess.run(
        [*RELAY, *arguments], capture_output=True, text=True, timeout=WAIT_S, env=clean | environment, check=False
    )


def test_a_config_with_five_mistakes_prints_five_lines_with_paths(tmp_path: Path) -> None:
    """`relay check` names all of them at once on standard error and exits with EX_CONFIG."""
    file = tmp_path / "relay.yaml"
    file.write_text(
        """
        listen: {prot: 8080}
        admin: {port: "http"}
        upstream: {api_key: "${GEMINI_API_KEY}", base_url: "https://example.com"}
        policies: {guided: {model: models/m, allow: [generationConfig.temprature]}}
        tenants: [{id: acme, keys: ["${ACME_KEY}"], policy: missing}]
        """
    )
    done = _run("check", str(file), GEMINI_API_KEY="g", ACME_KEY="a")

    assert done.returncode == 78
    assert done.stdout == ""
    assert sorted(line.split(":")[0] for line in done.stderr.splitlines()) == [
        "admin.port",
        "listen.prot",
        "policies.guided.allow",
        "tenants[0].policy",
        "upstream.base_url",
    ]


def test_check_prints_the_effective_config_with_secrets_masked() -> None:
    """Defaults included, secrets hidden."""
    done = _run(
        "check", "relay.yaml", "--set", "listen.port=1234", GEMINI_API_KEY="google-secret", ACME_KEY="acme-secret"
    )

    assert done.returncode == 0
    assert "port: 1234" in done.stdout
    assert "connect_timeout: 5s" in done.stdout
    assert "secret" not in done.stdout.replace("secret: ", "")


def test_check_prints_a_json_schema_for_editors() -> None:
    """The schema knows every section."""
    schema = json.loads(_run("check", "--json-schema").stdout)

    assert schema["title"] == "relay.yaml"
    assert {"listen", "admin", "upstream", "policies", "tenants"} <= schema["properties"].keys()


def test_serve_refuses_to_start_on_a_bad_config() -> None:
    """The same lines as `relay check`, and no traceback."""
    done = _run("serve", "--config", "relay.yaml")

    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        "upstream.api_key: the environment has no GEMINI_API_KEY",
        "tenants[0].keys[0]: the environment has no ACME_KEY",
    ]


def test_token_prints_a_key_and_its_hash() -> None:
    """The hash is what relay.yaml takes; the key has 256 random bits."""
    first, second = (json.loads(_run("token").stdout) for _ in range(2))

    assert first["hash"] == "sha256:" + hashlib.sha256(first["key"].encode()).hexdigest()
    assert first["key"] != second["key"]
    assert len(first["key"]) > 43


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_when_it_is_ready_and_ends_cleanly(number: signal.Signals) -> None:
    """One JSON line with the addresses; a signal drains and the process exits with 0."""
    arguments = ["serve", "--config", "relay.yaml", "--set", "listen.port=0", "--set", "admin.port=0"]
    environment = os.environ | {"GEMINI_API_KEY": "google-secret-key", "ACME_KEY": "acme-secret-key"}
    with subprocess.Popen(
        [*RELAY, *arguments], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            with urllib.request.urlopen(ready["admin"] + "/readyz", timeout=WAIT_S) as answer:
                assert json.load(answer)["status"] == "ready"
            with pytest.raises(urllib.error.HTTPError) as nothing:
                urllib.request.urlopen(ready["listen"] + "/", timeout=WAIT_S)
            process.send_signal(number)
            rest, _ = process.communicate(timeout=WAIT_S)
        finally:
            process.kill()

    assert ready["event"] == "ready"
    assert nothing.value.code == 404
    assert process.returncode == 0
    assert json.loads(rest.splitlines()[-1])["event"] == "stopped"


@pytest.mark.threat("F5")
def test_a_configuration_that_harms_its_reader_is_one_line(tmp_path: Path) -> None:
    """Tags that would run something, aliases without end: an exit code and its reason."""
    file = tmp_path / "relay.yaml"
    grow = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    for text in ("a: !!python/object/apply:os.system ['touch harmed']", grow):
        file.write_text(text)
        done = _run("serve", "--config", str(file))
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (78, "", 1), done.stderr
    assert not Path("harmed").exists()


@contextlib.contextmanager
def _serving(config: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A relay process and its addresses."""
    sets = ("listen.port=0", "admin.port=0", "limits.drain_timeout=30s", "log.format=json")
    arguments = ["serve", "--config", str(config), *(word for one in sets for word in ("--set", one))]
    environment = os.environ | {"GEMINI_API_KEY": "google-secret-key", "ACME_KEY": "acme-secret-key"}
    with subprocess.Popen(
        [*RELAY, *arguments], stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.threat("F9")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_other_signals_change_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Not even when the file was broken meanwhile: one line in the log, and the relay serves as before."""
    file = tmp_path / "relay.yaml"
    file.write_text((ROOT / "relay.yaml").read_text())
    with _serving(file) as (process, ready):
        file.write_text("listen: [")
        process.send_signal(number)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with urllib.request.urlopen(ready["admin"] + "/readyz", timeout=WAIT_S) as answer:
            assert json.load(answer)["status"] == "ready"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT_S)
    assert (told["signal"], told["level"]) == (number.name, "warning")
    assert process.returncode == 0


@pytest.mark.threat("F9")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(number: signal.Signals) -> None:
    """With a client that stays, one signal would take the whole drain of 30 s; two take less than a second."""
    with _serving(ROOT / "relay.yaml") as (process, ready):
        host, port = ready["listen"].removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=WAIT_S) as client:
            lines = ["GET /v1/live HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade"]
            lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
            client.sendall("\r\n".join([*lines, "x-goog-api-key: acme-secret-key", "", ""]).encode())
            assert client.recv(1024).startswith(b"HTTP/1.1 101 ")
            process.send_signal(number)
            with urllib.request.urlopen(ready["admin"] + "/healthz", timeout=WAIT_S):
                pass  # the first signal is being dealt with
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            began = time.monotonic()
            process.send_signal(number)
            process.wait(timeout=WAIT_S)
            assert time.monotonic() - began < 1.0
    assert process.returncode == 128 + number


def test_an_address_in_use_is_one_line() -> None:
    """No traceback for what an operator can fix."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = _run("demo", "--set", f"listen.port={taken.getsockname()[1]}", "--set", "admin.port=0")

    assert done.returncode == 69
    assert len(done.stderr.splitlines()) == 1
    assert "address already in use" in done.stderr


@pytest.mark.parametrize("command", ["serve", "demo", "sim", "check", "token", "revoke"])
def test_every_command_explains_itself(command: str) -> None:
    """`--help` works for each."""
    done = _run(command, "--help")

    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: relay {command}")


def test_the_command_works_without_uvloop() -> None:
    """It is installed on Linux only; elsewhere asyncio's own loop serves."""
    program = "import sys; sys.modules['uvloop'] = None; from relay.cli import main; sys.exit(main(['token']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT_S, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["key"]
