"""Credentials: where they are looked for, and how a tenant's key is recognised."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from relay.core.secret import Secret
from relay.net.auth import Identity, TenantKeys, credential_of

KEY = "relay_key-1"


def _found(headers: dict[str, str] | None = None, protocols: list[str] | None = None, query: str = "") -> str | None:
    credential = credential_of(CIMultiDict(headers or {}), protocols or [], query)
    return credential.secret.reveal() if credential is not None else None


@pytest.mark.parametrize(
    ("headers", "protocols", "query", "expected"),
    [
        ({"X-GOOG-API-KEY": KEY}, [], "", KEY),
        ({"Authorization": f"Bearer {KEY}"}, [], "", KEY),
        ({"Authorization": "Token auth_tokens/a", "x-goog-api-key": "auth_tokens/a"}, [], "", "auth_tokens/a"),
        ({}, [], "access_token=auth_tokens%2Fa", "auth_tokens/a"),
        ({}, [], "access_token=auth_tokens/a", "auth_tokens/a"),
        ({}, ["relay.v1", f"relay.key.{KEY}"], "", KEY),
        ({}, [], f"key={KEY}&key={KEY}", KEY),
        ({}, [], "", None),
        ({}, [], "key=", None),
        ({}, [], f"Key={KEY}", None),
        ({}, ["relay.key."], "", None),
        ({"Authorization": KEY}, [], "", None),
        ({"Authorization": "Bearer"}, [], "", None),
        ({"Authorization": f"Basic {KEY}"}, [], "", None),
        ({}, [], f"key={KEY}&key=b", None),
        ({"x-goog-api-key": KEY}, ["relay.key.b"], "", None),
        ({"x-goog-api-key": "x" * 4097}, [], "", None),
    ],
)
def test_the_credential_is_found_or_refused_as_ambiguous(
    headers: dict[str, str], protocols: list[str], query: str, expected: str | None
) -> None:
    """Every place counts, the same value twice is fine, two values are not."""
    assert _found(headers, protocols, query) == expected


@given(st.text(max_size=80))
def test_no_query_breaks_the_search(query: str) -> None:
    """Whatever stands in the query, the answer is a credential or none."""
    _found(query=query)


def test_a_key_is_known_by_itself_or_by_its_hash() -> None:
    """Both forms of a configured key recognise the same client."""
    keys = TenantKeys()
    keys.add("plain", Secret("first-key"))
    keys.add("hashed", Secret(f"sha256:{hashlib.sha256(b'second-key').hexdigest()}"))

    assert keys.owner(Secret("first-key")) == Identity("plain")
    assert keys.owner(Secret("second-key")) == Identity("hashed")
    assert keys.owner(Secret("third-key")) is None
    assert keys.owner(Secret(f"sha256:{hashlib.sha256(b'second-key').hexdigest()}")) is None


def test_the_same_header_twice_is_one_credential_or_none() -> None:
    """A second value is never overlooked, whichever of them is valid."""
    for name, scheme in (("x-goog-api-key", ""), ("Authorization", "Bearer ")):
        same = CIMultiDict([(name, scheme + KEY), (name, scheme + KEY)])
        other = CIMultiDict([(name, scheme + KEY), (name, scheme + "b")])

        found = credential_of(same, [], "")
        assert found is not None
        assert found.secret.reveal() == KEY
        assert credential_of(other, [], "") is None


def test_odd_characters_are_just_a_wrong_key() -> None:
    """Bytes that are no UTF-8 reach headers as surrogates; they match nothing and break nothing."""
    keys = TenantKeys()
    keys.add("acme", Secret(KEY))

    assert keys.owner(Secret("\udcff\x00é")) is None


def test_a_credential_does_not_print() -> None:
    """It is a type that masks itself, so it can't slip into a log or an exception."""
    credential = credential_of(CIMultiDict({"x-goog-api-key": KEY}), [], "")

    assert KEY not in repr(credential)
    assert KEY not in str(credential)
