"""What lets somebody in: keys and tickets as they are presented, requests for tickets, tokens, resumption handles."""

import base64
import json
from dataclasses import replace
from typing import Any

import jwt
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from multidict import CIMultiDict, CIMultiDictProxy

from relay.core.downstream import Ticket
from relay.core.ledger import LedgerError
from relay.core.policy import Behaviour, Messages, Models, Policy, SetupRules
from relay.core.secret import Secret
from relay.core.tickets import Stub
from relay.net.auth import Presented, TenantKeys, credential_of
from relay.net.handles import HandleSealer
from relay.net.jwt_tokens import JwtTokens, KeySet, Provider
from relay.net.labels import MAX_CHARACTERS, MAX_LABELS, LabelsError, labels_of
from relay.net.minting import _mark
from relay.net.tickets import MAX_LIFE_S, MAX_USES, MAX_WORD_CHARACTERS, PREFIX, MintError, grant_of, id_of, mint
from tests.fuzz.target import JSON_WORDS, Target, at_once, text_of

NOW = 1_795_000_000.0
_KEY = "tenant-key-of-acme-0123456789"


def presented_keys(data: bytes) -> None:
    """A credential is found in one place or in none; only the very key opens, and a ticket's name has one id.

    The lines: `x-goog-api-key`, `Authorization`, subprotocols, query.
    """
    lines = [text_of(line) for line in data.split(b"\n", 3)]
    key, authorization, protocols, query = [*lines, "", "", "", ""][:4]
    found = credential_of(
        CIMultiDict({"x-goog-api-key": key, "Authorization": authorization}),
        [offer.strip() for offer in protocols.split(",")],
        query,
    )
    keys = TenantKeys()
    keys.add("acme", Secret(_KEY))
    if found is None:
        return
    assert isinstance(found, Presented)
    secret = found.secret.reveal()
    assert secret
    assert not key or key == secret, "two that differ"
    assert (keys.owner(found.secret) is not None) == (secret == _KEY)
    assert len(id_of(found.secret)) == 64


# Tickets -------------------------------------------------------------------------------------------------------------

_POLICY = Policy(
    "fuzzed",
    Models("models/allowed", frozenset({"models/allowed"})),
    setup=SetupRules({"generationConfig": {"temperature": 0.5}}, {}, frozenset({"systemInstruction"})),
    messages=Messages(),
    behaviour=Behaviour(),
)


def ticket_requests(data: bytes) -> None:
    """A body makes a ticket or is refused with words that can be shown; a ticket is within every bound.

    Its record gives back what was asked, and what it fixes of a setup the policy would let a client set.
    """
    try:
        minted = mint(data, "acme", _POLICY, NOW)
    except MintError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 1000
    else:
        stub = minted.stub
        assert minted.name.reveal().startswith(PREFIX)
        assert minted.id == id_of(minted.name)
        assert 0 <= stub.uses <= MAX_USES
        assert NOW < stub.new_until <= stub.expires_at < NOW + MAX_LIFE_S
        tenant, grant = grant_of(minted.id, replace(stub, issued_at=NOW))
        assert (tenant, grant.end_user) == ("acme", minted.end_user)
        words = [minted.end_user, *grant.labels, *grant.labels.values()]
        assert all(word.isprintable() and len(word) <= MAX_WORD_CHARACTERS for word in words)
        limits = (grant.allotment.seconds, grant.allotment.tokens, grant.allotment.nanos, grant.session_s)
        assert all(limit is None or 0 < limit <= 1e18 for limit in limits)
        ruling = _POLICY.under(grant.constraint).setup({}, lambda _handle, _model: None)
        assert ruling.violations == []
        assert ruling.body["generationConfig"]["temperature"] == 0.5
    try:
        mark = _mark(data, "acme")
    except MintError as error:
        assert str(error).isprintable()
    else:
        assert mark.split(":")[1] == "acme"


def stored_tickets(data: bytes) -> None:
    """A record that no mint wrote is a failure of the store; any other one is one tenant's, and can be used."""
    try:
        tenant, grant = grant_of("ab", Stub(text_of(data), 1, NOW, NOW, NOW))
    except LedgerError:
        return
    assert type(tenant) is str
    grant.allotment.spent(grant.allotment)
    assert all(type(mark) is str for mark in grant.marks(tenant))
    _POLICY.under(grant.constraint).setup({}, lambda _handle, _model: None)


# Tokens --------------------------------------------------------------------------------------------------------------

_PRIVATE = ec.derive_private_key(0x5EED, ec.SECP256R1())
_JWK = {**jwt.algorithms.ECAlgorithm.to_jwk(_PRIVATE.public_key(), as_dict=True), "kid": "ec", "alg": "ES256"}


async def _keys() -> Any:
    return {"keys": [_JWK]}


_TOKENS = JwtTokens(
    Provider("acme", "https://login.example/", "relay", frozenset({"ES256", "RS256"})),
    KeySet(_keys, lambda: 0.0),
    lambda: NOW,
)
_GOOD_HEADER = {"alg": "ES256", "typ": "JWT", "kid": "ec"}
_GOOD_CLAIMS = {"iss": "https://login.example/", "aud": "relay", "sub": "eva", "exp": int(NOW) + 300, "iat": int(NOW)}


def _encoded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _signed(header: bytes, claims: bytes) -> bytes:
    signing = _encoded(header) + b"." + _encoded(claims)
    return signing + b"." + _encoded(jwt.algorithms.ECAlgorithm(hashes.SHA256).sign(signing, _PRIVATE))


def tokens(data: bytes) -> None:
    """A token is let in only if a reader that shares no code with ours finds it signed, for us, and in time.

    The input is a token, or, after a line `sign`, a header and claims on a line each that are signed as they are.
    """
    first, _, rest = data.partition(b"\n")
    token = _signed(*rest.partition(b"\n")[::2]) if first == b"sign" else data
    text = text_of(token)
    identity: Any = at_once(_TOKENS.verify(Secret(text)))
    if identity is None:
        return
    header, claims = (json.loads(_decoded(part)) for part in text.split(".")[:2])
    assert header["alg"] == "ES256"
    assert not header.keys() & {"jku", "x5u", "jwk", "x5c", "crit", "b64"}
    raw = _decoded(text.split(".")[2])
    assert len(raw) == 64
    signature = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    try:
        _PRIVATE.public_key().verify(signature, text.rpartition(".")[0].encode(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise AssertionError("a token that nobody signed") from None
    assert claims["iss"] == "https://login.example/"
    assert claims["aud"] == "relay"
    assert NOW < claims["exp"] + 10 <= NOW + 24 * 3600 + 10
    assert claims.get("nbf", 0) <= NOW + 10
    assert identity.tenant == "acme"
    assert identity.grant.end_user == claims["sub"]


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


# Handles -------------------------------------------------------------------------------------------------------------

_SEALER = HandleSealer(Secret("fuzzed"), 60.0, lambda: NOW, Secret("account"))
_HANDLES = _SEALER.bound("acme", "fuzzed")
_SEALED = _HANDLES.seal(Ticket(Secret("googles-own"), "s1", 2, 17), "models/allowed")


def resumption_handles(data: bytes) -> None:
    """A text is no handle unless it was sealed here, for this owner and model; then it says what was sealed.

    The input is a handle, or, after a line `seal`, a model and one of Gemini's own handles.
    """
    first, _, rest = data.partition(b"\n")
    if first == b"seal":
        try:
            model, _, handle = rest.decode().partition("\0")
        except UnicodeDecodeError:
            return  # JSON can't bring it either
        ticket = Ticket(Secret(handle), "s1", 2, 17)
        sealed = _HANDLES.seal(ticket, model)
        assert _HANDLES.unseal(sealed, model) == ticket
        for other in {model.partition("\n")[0], model + "\n", "models/allowed", ""} - {model}:
            assert _HANDLES.unseal(sealed, other) is None
        assert _SEALER.bound("other", "fuzzed").unseal(sealed, model) is None
        return
    found = _HANDLES.unseal(text_of(data), "models/allowed")
    assert found in (None, Ticket(Secret("googles-own"), "s1", 2, 17))


# Labels --------------------------------------------------------------------------------------------------------------


def labels(data: bytes) -> None:
    """Headers of a backend are taken within their bounds or refused in words that hold nothing of them."""
    end_user, _, text = data.partition(b"\n")
    headers = CIMultiDict(
        {"x-goog-api-key": "k", "x-relay-end-user": text_of(end_user), "x-relay-labels": text_of(text)}
    )
    try:
        found = labels_of(CIMultiDictProxy(headers), None)
    except LabelsError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 200
        return
    assert len(found.labels) <= MAX_LABELS
    texts = [found.end_user, *found.labels, *found.labels.values()]
    assert all(type(each) is str and each.isprintable() and 0 < len(each) <= MAX_CHARACTERS for each in texts)
    orjson.dumps({"end_user": found.end_user, "labels": dict(found.labels)})


_REQUEST = {
    "uses": 3,
    "expireTime": "2026-11-18T10:30:00Z",
    "newSessionExpireTime": "2026-11-18T10:10:00Z",
    "fieldMask": "systemInstruction",
    "bidiGenerateContentSetup": {"model": "models/allowed", "systemInstruction": {"parts": [{"text": "Be brief."}]}},
    "relay": {
        "endUser": "eva",
        "labels": {"plan": "free"},
        "limits": {"seconds": "60s", "tokens": "900", "money": 0.5},
    },
}
_RECORD = {
    "tenant": "acme",
    "end_user": "eva",
    "labels": {"plan": "free"},
    "limits": {"seconds": 60.0, "tokens": 900, "nanos": 500_000_000, "session_s": 30.0},
    "setup": {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
    "mask": ["systemInstruction"],
}
_HEADER_WORDS = (
    b'"alg"',
    b'"none"',
    b'"HS256"',
    b'"kid"',
    b'"jku"',
    b'"crit"',
    b'"b64"',
    b'"typ"',
    b'"exp"',
    b'"nbf"',
    b'"aud"',
)

CREDENTIALS = (
    Target(
        presented_keys,
        ("B5",),
        (
            _KEY.encode(),
            b"\nBearer " + _KEY.encode(),
            b"\n\nrelay.v1, relay.key." + _KEY.encode(),
            b"\n\n\nkey=" + _KEY.encode() + b"&access_token=auth_tokens/abc",
        ),
        (_KEY.encode(), b"key=", b"access_token=", b"relay.key.", b"Bearer ", b"Token ", b"%", b"auth_tokens/", b"\n"),
    ),
    Target(
        ticket_requests,
        ("B9",),
        (b"", json.dumps(_REQUEST).encode(), b'{"name":"auth_tokens/x"}', b'{"endUser":"eva"}', b'{"all":true}'),
        (*JSON_WORDS, *(f'"{name}"'.encode() for name in (*_REQUEST, "endUser", "labels", "limits", "expire_time"))),
    ),
    Target(
        stored_tickets, ("E10",), (json.dumps(_RECORD).encode(),), (*JSON_WORDS, *(f'"{n}"'.encode() for n in _RECORD))
    ),
    Target(
        tokens,
        ("B5", "B6"),
        (
            _signed(json.dumps(_GOOD_HEADER).encode(), json.dumps(_GOOD_CLAIMS).encode()),
            b"sign\n" + json.dumps(_GOOD_HEADER).encode() + b"\n" + json.dumps(_GOOD_CLAIMS).encode(),
            b'sign\n{"alg":"ES256"}\n' + json.dumps(_GOOD_CLAIMS | {"nbf": int(NOW)}).encode(),
        ),
        (*JSON_WORDS, *_HEADER_WORDS, b".", b"sign\n", b"eyJhbGciOiJub25lIn0"),
    ),
    Target(
        resumption_handles,
        ("C4", "E6"),
        (_SEALED.encode(), b"seal\nmodels/allowed\0googles-own", b"seal\nmodels/two\nlines\0googles\nown"),
        (b"seal\n", b"\0", b"\n", b"=", b"_", b"-"),
    ),
    Target(labels, ("E9",), (b'eva\n{"plan":"free"}', b"eva\n{}"), (*JSON_WORDS, b"\n", b"\xe2\x80\xae", b"a" * 64)),
)
