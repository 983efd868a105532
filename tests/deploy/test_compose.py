"""The compose file: every container's rights, and that all files mean the same ports, secrets and limits."""

import re

import pytest

from tests.deploy import files
from tests.deploy.files import DEPLOY
from tests.support import ROOT


def test_ports_agree() -> None:
    """Configuration, EXPOSE, health check, compose and Prometheus all mean the same two ports, open to the network."""
    loaded = files.container_config()
    published = {port.rsplit(":", 1)[1] for name in ("relay", "demo") for port in files.services()[name]["ports"]}

    assert (loaded.listen.host, loaded.admin.host) == ("0.0.0.0", "0.0.0.0")
    assert files.last("EXPOSE").split() == [str(loaded.listen.port), str(loaded.admin.port)]
    assert f"'127.0.0.1', {loaded.admin.port}," in files.health_command()[-1]
    assert files.scraped()["port"] == loaded.admin.port
    assert published == {str(loaded.listen.port)}, "the operator's port stays inside"


@pytest.mark.parametrize("name", ["relay", "demo", "prometheus", "grafana"])
def test_every_container_has_its_rights_taken_away(name: str) -> None:
    """Read-only root, no capabilities, no new privileges, and a published port only on loopback unless asked."""
    service = files.services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "user"} & service.keys()
    assert all(re.match(r"\$\{\w+:-127\.0\.0\.1:\d+}:\d+$", port) for port in service.get("ports", []))


def test_compose_refers_only_to_what_there_is() -> None:
    """Mounted files exist; networks, volumes and secrets are declared; foreign images are pinned to a release."""
    tree = files.compose()
    for name, service in tree["services"].items():
        assert set(service["networks"]) <= tree["networks"].keys()
        assert set(service.get("secrets", ())) <= tree["secrets"].keys()
        for source, *_ in (mount.split(":") for mount in service.get("volumes", ())):
            assert (DEPLOY / source).exists() if source.startswith(".") else source in tree["volumes"], (name, source)
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def test_the_relay_gets_the_secrets_and_variables_it_reads() -> None:
    """Each secret file and variable of the configuration is handed in by compose, and nothing else is."""
    text = (DEPLOY / "relay.yaml").read_text()
    service, secrets = files.services()["relay"], files.compose()["secrets"]

    assert sorted(re.findall(r"/run/secrets/(\w+)", text)) == sorted(service["secrets"])
    assert sorted(re.findall(r"\$\{(\w+)", text)) == sorted(service["environment"])
    assert {secret["file"] for secret in secrets.values()} == {f"./secrets/{name}" for name in secrets}
    assert (DEPLOY / "secrets" / ".gitignore").read_text().splitlines() == ["*", "!.gitignore"], "never committed"


def test_the_grace_period_outlasts_the_drain() -> None:
    """Whoever stops the container waits longer than the relay takes to end its sessions and close."""
    limits = files.container_config().limits
    grace_s = int(files.services()["relay"]["stop_grace_period"].removesuffix("s"))

    assert grace_s >= limits.drain_timeout + limits.close_timeout + 5


def test_the_file_limit_lets_the_configured_sessions_in() -> None:
    """Two descriptors a session and some to spare: the container's limit must not be what refuses them."""
    wanted = 2 * files.container_config().listen.max_sessions + 128

    assert files.services()["relay"]["ulimits"]["nofile"]["soft"] >= wanted


def test_the_documented_paths_exist() -> None:
    """Every file of the repository that docs/deploy.md names is there."""
    text = (ROOT / "docs" / "deploy.md").read_text()
    named = set(re.findall(r"\b(?:deploy|docs)/[\w./-]+\.\w+\b", text))

    assert named, "the document names no file at all"
    assert [name for name in named if not (ROOT / name).exists()] == []
