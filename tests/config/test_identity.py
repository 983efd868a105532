"""Tokens of a tenant's identity provider: which providers may be named, and how tenants may share one."""

from typing import Any

import pytest

from relay import config
from relay.config import ConfigError

JWT = {"issuer": "https://login.example/", "audience": "relay", "jwks_url": "https://login.example/jwks"}


def _problems(*providers: dict[str, Any]) -> list[str]:
    tenants = [{"id": f"t{number}", "policy": "p", "jwt": JWT | jwt} for number, jwt in enumerate(providers)]
    tree = {"upstream": {"api_key": "k"}, "policies": {"p": {"model": "models/m"}}, "tenants": tenants}
    try:
        config.build(tree)
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("jwt", "words"),
    [
        ({"jwks_url": "http://login.example/jwks"}, "must be an https:// address without a user"),
        ({"jwks_url": "https://me:secret@login.example/jwks"}, "must be an https:// address without a user"),
        ({"jwks_url": "file:///etc/passwd"}, "must be an https:// address without a user"),
        ({"jwks_url": None}, "needs jwks_url or keys_file, and not both"),
        ({"keys_file": "/none"}, "needs jwks_url or keys_file, and not both"),
        ({"jwks_url": None, "keys_file": "/none"}, "keys_file: no such file"),
        ({"issuer": ""}, "should have at least 1 character"),
        ({"algorithms": []}, "at least 1 item"),
        ({"algorithms": ["HS256"]}, "should be 'RS256'"),
        ({"algorithms": ["none"]}, "should be 'RS256'"),
        ({"leeway": "1h"}, "less than or equal to 300"),
        ({"claims": {"admin": "x"}}, "is not a setting"),
    ],
)
def test_what_would_be_unsafe_or_useless_is_refused(jwt: dict[str, Any], words: str) -> None:
    """One line that says what; a shared secret and an address in clear are no choices."""
    (problem,) = _problems(jwt)
    assert problem.startswith("tenants[0].jwt")
    assert words in problem
    assert "secret" not in problem


def test_tenants_may_share_a_provider_where_a_claim_tells_them_apart() -> None:
    """Each has to name one; without it a token of one would be a token of the other."""
    told: dict[str, Any] = {"claims": {"tenant": "org"}}
    other: dict[str, Any] = {"claims": {"tenant": "team"}}
    assert _problems(told, told, told) == []
    assert _problems({}, {"audience": "other"}) == []
    words = "an earlier tenant has the same issuer and audience: name one claims.tenant for both"
    for pair in ((told, {}), ({}, told), ({}, {}), (told, other)):
        assert _problems(*pair) == [f"tenants[1].jwt: {words}"]
