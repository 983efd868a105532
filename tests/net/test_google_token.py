"""google-auth's real code against token endpoints on loopback: what it asks for, and what its failures become."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth import _exponential_backoff

from relay.net.credentials import CredentialError
from relay.net.google_token import GoogleToken
from tests.net.google import EMAIL, SCOPE, ServiceAccount, TokenServer, service_account, token_server


@pytest.fixture
def google() -> Iterator[TokenServer]:
    """A token endpoint."""
    with token_server() as server:
        yield server


@pytest.fixture
def account(google: TokenServer) -> ServiceAccount:
    """A service account of that endpoint."""
    return service_account(google.url)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """google-auth waits a second or two between its attempts."""
    monkeypatch.setattr(_exponential_backoff.time, "sleep", lambda _seconds: None)


def written(folder: Path, info: Any) -> Path:
    """A credentials file."""
    path = folder / "credentials.json"
    path.write_text(info if isinstance(info, str) else json.dumps(info))
    return path


def failure(file: Path | None) -> CredentialError:
    """What a fetch ends with."""
    with pytest.raises(CredentialError) as failed:
        GoogleToken(file)()
    return failed.value


def test_a_service_account_signs_for_its_token(tmp_path: Path, google: TokenServer, account: ServiceAccount) -> None:
    """The assertion is signed with the file's key, for the one scope Vertex needs; the answer is token and end."""
    token = GoogleToken(written(tmp_path, account.info))()
    claims = account.claims(google.requests[0]["assertion"])

    assert (claims["iss"], claims["scope"]) == (EMAIL, SCOPE)
    assert token.text.reveal() == google.tokens[0]
    assert token.expires_at == pytest.approx(time.time() + 3600, abs=10)


def test_application_default_credentials_are_found(
    tmp_path: Path, google: TokenServer, account: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a file in relay.yaml the variable that every Google library knows names it."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(written(tmp_path, account.info)))

    assert GoogleToken(None)().text.reveal() == google.tokens[0]
    assert account.claims(google.requests[0]["assertion"])["scope"] == SCOPE


def test_a_workload_s_own_token_is_exchanged(tmp_path: Path, google: TokenServer) -> None:
    """Workload identity: what the platform wrote into a file goes to Google's exchange, read anew each time."""
    subject = tmp_path / "subject"
    subject.write_text("SUBJECT-1")
    info = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": google.url,
        "credential_source": {"file": str(subject)},
    }
    fetch = GoogleToken(written(tmp_path, info))
    fetch()
    subject.write_text("SUBJECT-2")
    fetch()

    assert [request["subject_token"] for request in google.requests] == ["SUBJECT-1", "SUBJECT-2"]
    assert [request["scope"] for request in google.requests] == [SCOPE, SCOPE]


def test_a_rotated_key_is_used(tmp_path: Path, google: TokenServer, account: ServiceAccount) -> None:
    """A file that was written anew counts from the next token on, without a restart."""
    fetch = GoogleToken(written(tmp_path, account.info))
    fetch()
    rotated = service_account(google.url)
    written(tmp_path, rotated.info)
    fetch()

    assert rotated.claims(google.requests[1]["assertion"])["iss"] == EMAIL


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((400, {"error": "invalid_grant", "error_description": "Account not found: CANARY"}), 401),
        ((401, {"error": "unauthorized_client", "error_description": "CANARY"}), 401),
        ((500, {"error": "internal_failure", "error_description": "CANARY"}), 0),
        ((503, {"error": "CANARY"}), 0),
        ((200, {"CANARY": 1}), 401),
    ],
    ids=str,
)
def test_a_failure_says_whether_to_try_again_and_no_more(
    tmp_path: Path,
    google: TokenServer,
    account: ServiceAccount,
    caplog: pytest.LogCaptureFixture,
    answer: tuple[int, dict[str, Any]],
    status: int,
) -> None:
    """A refusal is final, a bad moment of the server's is not; its words appear nowhere."""
    google.answer = answer
    with caplog.at_level(logging.WARNING):
        failed = failure(written(tmp_path, account.info))

    assert failed.status == status
    assert failed.__suppress_context__
    assert "CANARY" not in repr(failed) + caplog.text


@pytest.mark.threat("A6", "F6")
def test_a_redirect_is_not_followed(tmp_path: Path, google: TokenServer, account: ServiceAccount) -> None:
    """The signed assertion would go to whichever host the answer names."""
    google.answer, google.headers = (307, {}), {"Location": google.url + "/elsewhere"}
    failure(written(tmp_path, account.info))

    assert {request["path"] for request in google.requests} == {"/"}


def test_an_endpoint_nobody_listens_at_is_tried_again_later(tmp_path: Path) -> None:
    """The network may come back."""
    assert failure(written(tmp_path, service_account("http://127.0.0.1:1").info)).status == 0


def test_proxies_of_the_environment_are_ignored(
    tmp_path: Path, google: TokenServer, account: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would see what is exchanged for the token."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    GoogleToken(written(tmp_path, account.info))()

    assert len(google.requests) == 1


@pytest.mark.parametrize(
    "info",
    [
        "no json",
        "[]",
        {"type": "service_account"},
        {"type": "service_account", "client_email": "a", "token_uri": "b", "private_key": "c"},
        {"type": "external_account"},
        {"type": "external_account", "credential_source": {"executable": {"command": "true"}}},
        {"type": "authorized_user"},
        {"type": "api_key"},
        {},
    ],
    ids=str,
)
def test_a_file_without_usable_credentials_is_noticed_at_the_start(tmp_path: Path, info: Any) -> None:
    """No request is needed to see that."""
    with pytest.raises(ValueError, match=r"\w"):
        GoogleToken(written(tmp_path, info))


def test_a_file_that_goes_away_is_a_failed_fetch(tmp_path: Path, account: ServiceAccount) -> None:
    """It was there at the start, so the process runs on and says so for each fetch."""
    path = written(tmp_path, account.info)
    fetch = GoogleToken(path)
    path.unlink()
    with pytest.raises(CredentialError, match="FileNotFoundError"):
        fetch()
