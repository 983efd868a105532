"""Tokens of an identity provider: one that is good, and the many that are not; what is fetched meanwhile is counted."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from relay.net import jwt_tokens
from tests.net.conftest import PATH, TENANT_KEY, WAIT_S, Running, Start, end_of

ISSUER, AUDIENCE = "https://login.example/", "relay"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER_EC = ec.generate_private_key(ec.SECP256R1())
PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    maker: Any = (
        jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    )
    return {**maker.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


JWK = _jwk(RSA, "rsa", alg="RS256", use="sig")
KEYS = {
    "keys": [
        JWK,
        _jwk(EC, "ec"),
        _jwk(WEAK, "weak"),
        _jwk(STRANGER, "for-encryption", use="enc"),
        {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
    ]
}


def _claims(**other: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "eva", "iat": now, "exp": now + 300} | other
    return {name: value for name, value in claims.items() if value is not ...}


def _part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _signed(header: Any, claims: Any, key: Any = RSA, alg: str = "RS256") -> str:
    """A token with a good signature over whatever it is given; `header` and `claims` may be raw bytes."""
    text = f"{_part(header)}.{_part(claims)}"
    algorithm = jwt.get_algorithm_by_name(alg)
    return f"{text}.{_part(algorithm.sign(text.encode(), algorithm.prepare_key(key)))}"


def _good(alg: str = "RS256", kid: str = "rsa", key: Any = RSA, **claims: Any) -> str:
    return _signed({"alg": alg, "typ": "JWT", "kid": kid}, _claims(**claims), key, alg)


def _header(**more: Any) -> str:
    return _signed({"alg": "RS256", "typ": "JWT", "kid": "rsa"} | more, _claims())


def _hmac(secret: bytes, alg: str = "HS256", kid: str = "rsa") -> str:
    text = f"{_part({'alg': alg, 'typ': 'JWT', 'kid': kid})}.{_part(_claims())}"
    return f"{text}.{_part(hmac.digest(secret, text.encode(), getattr(hashlib, alg.replace('HS', 'sha'))))}"


def _unsigned(alg: str) -> str:
    return f"{_part({'alg': alg, 'kid': 'rsa'})}.{_part(_claims())}."


def _flipped() -> str:
    head, body, signature = _good().split(".")
    return f"{head}.{body}.{('A' if signature[0] != 'A' else 'B') + signature[1:]}"


def _swapped() -> str:
    head, _, signature = _good().split(".")
    return f"{head}.{_part(_claims(sub='adam'))}.{signature}"


EVIL = "http://127.0.0.1:9/evil"
"""An address in a token; one that counts who calls is put into tokens below."""

HOSTILE: dict[str, Callable[[], str]] = {
    **{f"alg {alg}": lambda alg=alg: _unsigned(alg) for alg in ("none", "None", "NONE", "nOnE", "")},  # type: ignore[misc]
    "alg none with a signature": lambda: _header(alg="none"),
    "alg missing": lambda: _signed({"kid": "rsa"}, _claims()),
    "alg a list": lambda: _header(alg=["RS256"]),
    "alg a number": lambda: _header(alg=256),
    "alg in lower case": lambda: _header(alg="rs256"),
    **{
        f"{alg} with the public key as PEM": lambda alg=alg: _hmac(PEM, alg)  # type: ignore[misc]
        for alg in ("HS256", "HS384", "HS512")
    },
    "HS256 with the key set's text": lambda: _hmac(json.dumps(JWK).encode()),
    "HS256 with the modulus": lambda: _hmac(JWK["n"].encode()),
    "HS256 with nothing": lambda: _hmac(b""),
    "HS256 with a shared key of the set": lambda: _hmac(b"s" * 32, kid="shared"),
    "RS384, which is not configured": lambda: _signed({"alg": "RS384", "kid": "rsa"}, _claims(), RSA, "RS384"),
    "PS256 with the RSA key": lambda: _signed({"alg": "PS256", "kid": "rsa"}, _claims(), RSA, "PS256"),
    "ES256 for the RSA key": lambda: _good("ES256", "rsa", EC),
    "RS256 for the EC key": lambda: _good("RS256", "ec", RSA),
    "a stranger's key": lambda: _good(key=STRANGER),
    "a stranger's EC key": lambda: _good("ES256", "ec", STRANGER_EC),
    "a weak key": lambda: _good(kid="weak", key=WEAK),
    "a key for encryption": lambda: _good(kid="for-encryption", key=STRANGER),
    "a signature of zeros": lambda: ".".join([*_good("ES256", "ec", EC).split(".")[:2], _part(bytes(64))]),
    "no signature": lambda: _good().rpartition(".")[0] + ".",
    "a signature flipped": _flipped,
    "claims exchanged": _swapped,
    **{
        f"kid {kid[:24]!r}": lambda kid=kid: _header(kid=kid)  # type: ignore[misc]
        for kid in ("../../../dev/null", "' OR 1=1 --", EVIL, "", "x" * 300, "RSA", "\x00")
    },
    "kid a number": lambda: _header(kid=1),
    "kid an object": lambda: _header(kid={"$ne": 1}),
    "no kid, two keys fit": lambda: _signed({"alg": "RS256"}, _claims()),
    **{
        f"header {name}": lambda name=name, value=value: _header(**{name: value})  # type: ignore[misc]
        for name, value in {
            "jku": EVIL,
            "x5u": EVIL,
            "jwk": _jwk(STRANGER, "own"),
            "x5c": ["MIIB"],
            "crit": ["exp"],
            "b64": False,
            "zip": "DEF",
            "enc": "A256GCM",
            "typ": "dpop+jwt",
            "anything": 1,
        }.items()
    },
    "an embedded key that signed it": lambda: _signed(
        {"alg": "RS256", "jwk": _jwk(STRANGER, "own"), "kid": "own"}, _claims(), STRANGER
    ),
    "typ a number": lambda: _header(typ=1),
    "header twice the same member": lambda: _signed(b'{"alg":"none","alg":"RS256","kid":"rsa"}', _claims()),
    "header no object": lambda: _signed([], _claims()),
    "header no JSON": lambda: _signed(b"{", _claims()),
    "claims no object": lambda: _signed({"alg": "RS256", "kid": "rsa"}, []),
    "claims deep": lambda: _signed({"alg": "RS256", "kid": "rsa"}, b"[" * 900 + b"]" * 900),
    "claims twice the same member": lambda: _signed(
        {"alg": "RS256", "kid": "rsa"}, json.dumps(_claims()).encode()[:-1] + b',"sub":"adam"}'
    ),
    **{
        f"{name} {value!r:.24}": lambda name=name, value=value: _good(**{name: value})  # type: ignore[misc]
        for name, value in (
            ("aud", "other"),
            ("aud", [AUDIENCE]),
            ("aud", [AUDIENCE, "other"]),
            ("aud", ...),
            ("aud", None),
            ("iss", "https://login.example"),
            ("iss", EVIL),
            ("iss", [ISSUER]),
            ("iss", ...),
            ("exp", ...),
            ("exp", 1),
            ("exp", -1),
            ("exp", 10**30),
            ("exp", 4e9),
            ("exp", "4102444800"),
            ("exp", True),
            ("exp", None),
            ("exp", int(time.time()) + 90_000_000),
            ("nbf", int(time.time()) + 100_000),
            ("nbf", "0"),
            ("iat", int(time.time()) + 100_000),
            ("iat", 1.5),
            ("sub", ...),
            ("sub", ""),
            ("sub", 7),
            ("sub", "a\nb"),
            ("sub", "x" * 200),
        )
    },
    "exp NaN": lambda: _signed({"alg": "RS256", "kid": "rsa"}, json.dumps(_claims(exp=float("nan"))).encode()),
    "five parts": lambda: _good() + ".a.b",
    "two parts": lambda: _good().rpartition(".")[0],
    "a line break": lambda: _good()[:40] + "%0A" + _good()[40:],
    "6 KB of claims": lambda: _good(pad="x" * 4500),
}


class Provider:
    """An identity provider and an address that nobody should call."""

    def __init__(self) -> None:
        self.fetches = 0
        self.evil = 0
        self.url = ""

    async def keys(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        return web.json_response(KEYS)

    async def trap(self, _request: web.Request) -> web.Response:
        self.evil += 1
        return web.json_response({"keys": [_jwk(STRANGER, "own")]})


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """Serves the key set."""
    made = Provider()
    application = web.Application()
    application.router.add_get("/jwks", made.keys)
    application.router.add_route("*", "/evil{tail:.*}", made.trap)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def _relay(start: Start, provider: Provider, **more: Any) -> Running:
    settings = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": f"{provider.url}/jwks"} | more
    return await start(tenant={"jwt": settings})


async def _status(running: Running, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        socket = await running.connect(PATH, headers=headers)
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status
    await socket.close()
    return 101


async def test_good_tokens_open_sessions_and_hostile_ones_do_not(start: Start, provider: Provider) -> None:
    """About 90 hostile tokens: 401 for each, and not one request that any of them caused beyond a single fetch."""
    running = await _relay(start, provider)
    assert provider.fetches == 1, "at the start, before any token"
    for token in (_good(), _good("ES256", "ec", EC), _good(nbf=int(time.time()) - 5), _good(iat=...)):
        assert await _status(running, token) == 101
    found = {}
    for name, make in HOSTILE.items():
        made = make()
        found[name] = await _status(running, made)
    assert {name: status for name, status in found.items() if status != 401} == {}
    assert len(found) > 80
    assert provider.evil == 0
    assert provider.fetches == 1


async def test_evil_addresses_inside_signed_tokens_are_not_called(start: Start, provider: Provider) -> None:
    """The address has to be in the token when it is signed."""
    running = await _relay(start, provider)
    evil = f"{provider.url}/evil"
    for more in ({"jku": evil}, {"x5u": evil}, {"kid": evil}):
        assert await _status(running, _header(**more)) == 401
        assert await _status(running, _signed({"alg": "RS256", "kid": "own"} | more, _claims(), STRANGER)) == 401
    assert await _status(running, _good(iss=evil)) == 401
    assert provider.evil == 0


async def test_a_thousand_unknown_keys_fetch_the_set_once(
    start: Start, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a key that has just appeared is found by that one fetch."""
    running = await _relay(start, provider)
    monkeypatch.setattr(jwt_tokens, "REFETCH_S", 0.05)
    await asyncio.sleep(0.06)  # so old the set has to be for a miss to fetch it
    fresh = _good(kid="fresh", key=STRANGER)
    KEYS["keys"].append(_jwk(STRANGER, "fresh"))
    try:
        assert await _status(running, fresh) == 101
    finally:
        KEYS["keys"].pop()
    monkeypatch.setattr(jwt_tokens, "REFETCH_S", 30.0)
    before = provider.fetches
    for batch in range(20):
        tokens = [_header(kid=f"k{batch}-{number}") for number in range(50)]
        assert set(await asyncio.gather(*(_status(running, token) for token in tokens))) == {401}
    assert provider.fetches == before


async def test_a_session_ends_when_its_token_does(start: Start, provider: Provider) -> None:
    """Within 5 s of `exp` and the leeway."""
    running = await _relay(start, provider, leeway="1s")
    expires = int(time.time()) + 2
    socket = await running.connect(PATH, headers={"Authorization": f"Bearer {_good(exp=expires)}"})
    await socket.send_json({"setup": {}})
    async with asyncio.timeout(WAIT_S):
        await socket.receive()
    assert await end_of(socket) == (4401, "the ticket or token has expired")
    assert expires + 1 <= time.time() < expires + 1 + 5


async def test_an_end_user_is_revoked_by_name(start: Start, provider: Provider) -> None:
    """The live session ends, and the token opens no other one; somebody else's still does."""
    running = await _relay(start, provider)
    token = _good()
    socket = await running.connect(PATH, headers={"Authorization": f"Bearer {token}"})
    url = f"{running.addresses['listen']}/v1/auth_tokens:revoke"
    async with running.http.post(url, json={"endUser": "eva"}, headers={"x-goog-api-key": TENANT_KEY}) as answer:
        assert answer.status == 200
    assert await end_of(socket) == (4401, "access was revoked")
    assert await _status(running, token) == 401
    assert await _status(running, _good(sub="adam")) == 101
    async with running.http.post(url, json={"all": True}, headers={"x-goog-api-key": token}) as answer:
        assert answer.status == 401, "and a token orders nothing"


async def test_a_key_file_serves_as_well(start: Start, tmp_path: Any) -> None:
    """Static keys, with a claim that limits the session."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(KEYS))
    settings = {"issuer": ISSUER, "audience": AUDIENCE, "keys_file": str(file), "claims": {"session_seconds": "max"}}
    running = await start(tenant={"jwt": settings})
    assert await _status(running, _good()) == 401
    socket = await running.connect(PATH, headers={"Authorization": f"Bearer {_good(max=1)}"})
    assert (await end_of(socket))[0] == 1008
