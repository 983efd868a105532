"""The `relay` command as its user and as scripts see it: real processes."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
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
