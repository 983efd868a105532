"""Access tokens for Vertex, by Google's own library google-auth. It blocks: `FetchedToken` calls it in a thread.

Importing this module needs the extra `vertex`.
"""

import functools
import json
import logging
from collections.abc import Callable, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import google.auth
import requests
from google.auth import aws, identity_pool, impersonated_credentials
from google.auth.credentials import Credentials
from google.auth.exceptions import TransportError
from google.auth.transport.requests import Request
from google.oauth2 import credentials as user
from google.oauth2 import service_account

from relay.core.secret import Secret
from relay.net.credentials import CredentialError, Token

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
REQUEST_TIMEOUT_S = 5.0
"""For one request, where google-auth's own limit is two minutes; it makes up to three where that may help."""

_AWS_SUBJECT = "urn:ietf:params:aws:token-type:aws4_request"


class GoogleToken:
    """Fetches access tokens with the credentials in a file, or with application default credentials."""

    def __init__(self, file: Path | None) -> None:
        """Raises OSError when the file can't be read, ValueError when it holds no usable credentials."""
        logging.getLogger("google.auth").setLevel(logging.CRITICAL)  # because its warnings quote answers
        self._file = file
        if file is not None:
            _from_file(file)

    def __call__(self) -> Token:
        """Fetch one. Everything is read anew, so that a rotated key is used. Raises CredentialError."""
        try:
            with requests.Session() as session:
                session.trust_env = False  # a proxy or a .netrc of the environment has no business here
                session.max_redirects = 0  # following one would hand over what is exchanged for the token
                return self._fetched(functools.partial(Request(session), timeout=REQUEST_TIMEOUT_S))
        except Exception as error:  # whatever google-auth raises may print what it was sent
            raise CredentialError(0 if _may_pass(error) else 401, type(error).__name__) from None

    def _fetched(self, request: Callable[..., Any]) -> Token:
        credentials = _from_file(self._file) if self._file is not None else _default(request)
        if not credentials.valid:
            credentials.refresh(request)
        return Token(Secret(credentials.token), credentials.expiry.replace(tzinfo=UTC).timestamp())


def _default(request: Callable[..., Any]) -> Credentials:
    """Application default credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's, or the metadata server's."""
    credentials, _project = google.auth.default(SCOPES, request)
    return credentials


def _from_file(file: Path) -> Credentials:
    info = json.loads(file.read_text("utf-8"))
    if not isinstance(info, dict):
        raise ValueError("not a JSON object")
    return _from_info(info)


def _from_info(info: Mapping[str, Any]) -> Credentials:
    """The kinds a server has use for; one that runs a program of the file's choice is not among them."""
    match info.get("type"):
        case "service_account":
            return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
        case "external_account" if info.get("subject_token_type") == _AWS_SUBJECT:
            return aws.Credentials.from_info(info, scopes=SCOPES)
        case "external_account":
            return identity_pool.Credentials.from_info(info, scopes=SCOPES)
        case "impersonated_service_account":
            return impersonated_credentials.Credentials.from_impersonated_service_account_info(info, scopes=SCOPES)
        case "authorized_user":
            return user.Credentials.from_authorized_user_info(info, scopes=SCOPES)
    raise ValueError("not a kind of credentials the relay knows")


def _may_pass(error: Exception) -> bool:
    """Whether it was the network, or a server that has a bad moment."""
    return (
        isinstance(error, TransportError)
        or isinstance(error.__cause__, TransportError)
        or getattr(error, "retryable", False) is True
    )
