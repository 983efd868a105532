"""The section `upstream` becomes a dialer; files and libraries that are of no use are noticed at the start."""

import sys
from pathlib import Path

import pytest

from relay import config, upstream
from relay.config import Config, ConfigError
from relay.core.secret import NOTHING


def built(**vertex: object) -> Config:
    """A configuration on Vertex."""
    return config.build(
        {
            "upstream": {"vertex": {"project": "acme-prod", "location": "eu", **vertex}},
            "policies": {"p": {"model": "models/m"}},
            "tenants": [{"id": "acme", "keys": ["k"], "policy": "p"}],
        }
    )


def problem(settings: Config) -> str:
    """What is wrong with it."""
    section = settings.upstream
    with pytest.raises(ConfigError) as raised:
        upstream.dialer(section, upstream.backend_of(section), None, [NOTHING].append)
    (line,) = raised.value.problems
    return line


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional: without it only Vertex with a project is out of reach."""
    monkeypatch.delitem(sys.modules, "relay.net.google_token", raising=False)
    monkeypatch.setitem(sys.modules, "google.auth", None)

    assert problem(built()) == "upstream.vertex: needs google-auth: pip install 'relay[vertex]'"


def test_a_credentials_file_of_no_use_is_named(tmp_path: Path) -> None:
    """It may hold a private key, so nothing of it is quoted."""
    path = tmp_path / "credentials.json"
    settings = built(credentials_file=str(path))
    assert problem(settings) == f"upstream.vertex.credentials_file: {path} can't be read"
    path.write_text('{"type": "service_account", "private_key": "PRIVATE-CANARY"}')

    assert problem(settings) == f"upstream.vertex.credentials_file: {path} holds no Google credentials"


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Later it may come and go; at the start its absence is a wrong path."""
    path = tmp_path / "token"

    assert problem(built(access_token_file=str(path))) == f"{path}: can't be read"
