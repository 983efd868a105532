"""Credentials: where they are looked for, and how a tenant's key is recognised."""

import hashlib
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from relay.core.secret import Secret
from relay.net.auth import Identity, TenantKeys, credential_of

KEY = "relay_key-1"


Headers = dict[str, str] | list[tuple[str, str]]
Fields = list[tuple[str, str]]


def _found(headers: Headers | None = None, protocols: list[str] | None = None, query: str = "") -> str | None:
    credential = credential_of(CIMultiDict(headers or {}), protocols or [], query)
    return credential.secret.reveal() if credential is not None else None


@pytest.mark.threat("B5")
@pytest.mark.parametrize(
    ("headers", "protocols", "query", "expected"),
    [
        ({"X-GOOG-API-KEY": KEY}, [], "", KEY),
        ({"Authorization": f"Bearer {KEY}"}, [], "", KEY),
        ({"Authorization": "Token auth_tokens/a", "x-goog-api-key": "auth_tokens/a"}, [], "", "auth_tokens/a"),
        ({}, [], "access_token=auth_tokens%2Fa", "auth_tokens/a"),
        ({}, [], "access_token=auth_tokens/a", "auth_tokens/a"),
        ({}, ["relay.v1", f"relay.key.{KEY}"], "", KEY),
        ({}, [], "", None),
        ({}, [], "key=", None),
        ({}, [], f"Key={KEY}", None),
        ({}, ["relay.key."], "", None),
        ({"Authorization": KEY}, [], "", None),
        ({"Authorization": "Bearer"}, [], "", None),
        ({"Authorization": f"Basic {KEY}"}, [], "", None),
        ({}, [], f"key={KEY}&key=b", None),
        ({}, [], f"key={KEY}&key={KEY}", None),
        ({}, [], f"key={KEY}&access_token={KEY}", None),
        ([("x-goog-api-key", KEY), ("X-Goog-Api-Key", KEY)], [], "", None),
        ([("x-goog-api-key", KEY), ("x-goog-api-key", "b")], [], "", None),
        ([("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer b")], [], "", None),
        ([("Authorization", f"Bearer {KEY}"), ("Authorization", "Basic b")], [], "", None),
        ({"Authorization": f"Bearer {KEY}", "x-goog-api-key": "b"}, [], "", None),
        ({"Authorization": f"Bearer {KEY}"}, [], "key=b", None),
        ({}, [f"relay.key.{KEY}", f"relay.key.{KEY}"], "", None),
        ({}, [f"relay.key.{KEY}"], f"access_token={KEY}", None),
        ({"x-goog-api-key": KEY}, [f"relay.key.{KEY}"], "", None),
        ({"x-goog-api-key": KEY}, ["relay.key."], "", None),
        ({"x-goog-api-key": KEY}, ["relay.key.b"], "", None),
        ({"x-goog-api-key": "x" * 4097}, [], "", None),
    ],
)
def test_the_credential_is_found_or_refused_as_ambiguous(
    headers: Headers, protocols: list[str], query: str, expected: str | None
) -> None:
    """Every place counts once; SDKs say the same in two of them, and that is fine, but two values are not."""
    assert _found(headers, protocols, query) == expected


AS_HTTP_HAS_IT = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
TEXTS = AS_HTTP_HAS_IT | st.sampled_from([KEY, f"Bearer {KEY}", "Token b", ""])
FIELDS = st.lists(st.tuples(st.sampled_from(["x-goog-api-key", "Authorization"]), TEXTS), max_size=3)


@pytest.mark.threat("B5")
@given(FIELDS, st.lists(TEXTS.map("relay.key.".__add__), max_size=2), TEXTS | TEXTS.map("key=".__add__))
def test_a_handshake_has_one_credential_or_none(headers: Fields, protocols: list[str], query: str) -> None:
    """Whatever stands where: nothing breaks, and what is found is all that anybody could read there."""
    found = _found(headers, protocols, query)
    said = {word for _, value in headers for word in (value, value.partition(" ")[2].strip())}
    said |= {protocol.removeprefix("relay.key.") for protocol in protocols}
    said |= {value for name, value in parse_qsl(query) if name == "key"}
    assert found is None or found in said
    if found is not None:
        TenantKeys().owner(Secret(found))


def test_a_key_is_known_by_itself_or_by_its_hash() -> None:
    """Both forms of a configured key recognise the same client."""
    keys = TenantKeys()
    keys.add("plain", Secret("first-key"))
    keys.add("hashed", Secret(f"sha256:{hashlib.sha256(b'second-key').hexdigest()}"))

    assert keys.owner(Secret("first-key")) == Identity("plain")
    assert keys.owner(Secret("second-key")) == Identity("hashed")
    assert keys.owner(Secret("third-key")) is None
    assert keys.owner(Secret(f"sha256:{hashlib.sha256(b'second-key').hexdigest()}")) is None


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
