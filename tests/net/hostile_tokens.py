"""Tokens to try a door with: how good ones are made, and one hostile token of every kind we know of."""

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

ISSUER, AUDIENCE = "https://login.example/", "relay"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
STRANGER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
STRANGER_EC = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
K256 = ec.generate_private_key(ec.SECP256K1())
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SECRETS = {
    f"{what} {name}": RSA.public_key().public_bytes(encoding, form)
    for name, encoding in (("PEM", serialization.Encoding.PEM), ("DER", serialization.Encoding.DER))
    for what, form in (
        ("SPKI", serialization.PublicFormat.SubjectPublicKeyInfo),
        ("PKCS1", serialization.PublicFormat.PKCS1),
    )
}
"""The public key in every form in which a careless verifier may take it for a shared secret."""


def jwk(key: Any, kid: str, **more: str) -> dict[str, Any]:
    maker: Any = (
        jwt.algorithms.ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else jwt.algorithms.RSAAlgorithm
    )
    return {**maker.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


JWK = jwk(RSA, "rsa", alg="RS256", use="sig")
KEYS = {
    "keys": [
        JWK,
        jwk(EC, "ec"),
        jwk(WEAK, "weak"),
        {**JWK, "kid": "tiny", "n": "0YtFkQ1ST1oR9J5rmPzI0w"},
        {**JWK, "kid": "one", "e": "AQ"},
        jwk(STRANGER, "for-encryption", use="enc"),
        jwk(STRANGER, "twice"),
        jwk(RSA, "twice"),
        jwk(P384, "p384"),
        {**jwk(P384, "p384-says-p256"), "crv": "P-256"},
        jwk(K256, "k256"),
        {**jwk(K256, "k256-says-p256"), "crv": "P-256"},
        {**jwk(EC, "off-curve"), "x": jwk(STRANGER_EC, "")["x"]},
        {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(b"s" * 32).decode()},
    ]
}
"""What an identity provider publishes: two keys that are good, and others that must do no harm."""


def claimed(**other: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": "eva", "iat": now, "exp": now + 300} | other
    return {name: value for name, value in made.items() if value is not ...}


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, claims: Any, key: Any = RSA, alg: str = "RS256") -> str:
    """A token with a good signature over whatever it is given; `header` and `claims` may be raw bytes."""
    text = f"{encoded(header)}.{encoded(claims)}"
    algorithm = jwt.get_algorithm_by_name(alg)
    return f"{text}.{encoded(algorithm.sign(text.encode(), algorithm.prepare_key(key)))}"


def good(alg: str = "RS256", kid: str = "rsa", key: Any = RSA, **claims: Any) -> str:
    return signed({"alg": alg, "typ": "JWT", "kid": kid}, claimed(**claims), key, alg)


def with_header(**more: Any) -> str:
    return signed({"alg": "RS256", "typ": "JWT", "kid": "rsa"} | more, claimed())


def with_secret(secret: bytes, alg: str = "HS256", kid: str = "rsa") -> str:
    text = f"{encoded({'alg': alg, 'typ': 'JWT', 'kid': kid})}.{encoded(claimed())}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), getattr(hashlib, alg.replace('HS', 'sha'))))}"


def unsigned(alg: str, signature: str = "") -> str:
    return f"{encoded({'alg': alg, 'kid': 'rsa'})}.{encoded(claimed())}.{signature}"


def on_curve(key: ec.EllipticCurvePrivateKey, kid: str) -> str:
    """Signed as ES256 has it, with a key of whatever curve."""
    text = f"{encoded({'alg': 'ES256', 'kid': kid})}.{encoded(claimed())}"
    width = (key.key_size + 7) // 8
    numbers = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{encoded(b''.join(number.to_bytes(width, 'big') for number in numbers))}"


def psychic(r: int, s: int) -> str:
    """Signed with numbers that a careless verifier of ECDSA takes for any message and any key."""
    return ".".join([*good("ES256", "ec", EC).split(".")[:2], encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))])


def with_exponent_1() -> str:
    """To the key with the exponent 1 the padded hash is its own signature, so anybody can sign."""
    text = f"{encoded({'alg': 'RS256', 'kid': 'one'})}.{encoded(claimed())}"
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(text.encode()).digest()
    return f"{text}.{encoded(bytes([0, 1]) + bytes([255]) * (253 - len(info)) + bytes([0]) + info)}"


def respelled(index: int) -> str:
    """The same bytes in another base64: unused bits of the last character are set."""
    # A part with three bytes over has no unused bits: a pad makes sure that there are some.
    parts = signed({"alg": "RS256", "kid": "rsa"}, b" " * 2 + json.dumps(claimed(sub="evas")).encode()).split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    parts[index] = parts[index][:-1] + alphabet[alphabet.index(parts[index][-1]) + 1]
    return ".".join(parts)


def flipped() -> str:
    head, body, signature = good().split(".")
    return f"{head}.{body}.{('A' if signature[0] != 'A' else 'B') + signature[1:]}"


def swapped() -> str:
    head, _, signature = good().split(".")
    return f"{head}.{encoded(claimed(sub='adam'))}.{signature}"


EVIL = "http://127.0.0.1:9/evil"
"""An address in a token; one that counts who calls is put into tokens below."""

HOSTILE: dict[str, Callable[[], str]] = {
    **{
        f"alg {alg!r}": lambda alg=alg: unsigned(alg)  # type: ignore[misc]
        for alg in (*map("".join, itertools.product("nN", "oO", "nN", "eE")), "", " none", "none ", "none\x00", "null")
    },
    "alg none, signed with something": lambda: unsigned("none", "AAAA"),
    "alg none with a good signature": lambda: with_header(alg="none"),
    "alg missing": lambda: signed({"kid": "rsa"}, claimed()),
    "alg a list": lambda: with_header(alg=["RS256"]),
    "alg a number": lambda: with_header(alg=256),
    "alg in lower case": lambda: with_header(alg="rs256"),
    **{
        f"{alg} with the public key as {form}": lambda alg=alg, secret=secret: with_secret(secret, alg)  # type: ignore[misc]
        for alg in ("HS256", "HS384", "HS512")
        for form, secret in SECRETS.items()
    },
    "HS256 with the PEM text stripped": lambda: with_secret(SECRETS["SPKI PEM"].strip()),
    "HS256 with the key's text": lambda: with_secret(json.dumps(JWK).encode()),
    "HS256 with the key's text, compact": lambda: with_secret(json.dumps(JWK, separators=(",", ":")).encode()),
    "HS256 with the key set's text": lambda: with_secret(json.dumps(KEYS).encode()),
    "HS256 with the modulus": lambda: with_secret(JWK["n"].encode()),
    "HS256 with nothing": lambda: with_secret(b""),
    "HS256 with a shared key of the set": lambda: with_secret(b"s" * 32, kid="shared"),
    "RS384, which is not configured": lambda: signed({"alg": "RS384", "kid": "rsa"}, claimed(), RSA, "RS384"),
    "PS256 with the RSA key": lambda: signed({"alg": "PS256", "kid": "rsa"}, claimed(), RSA, "PS256"),
    "ES256 for the RSA key": lambda: good("ES256", "rsa", EC),
    "RS256 for the EC key": lambda: good("RS256", "ec", RSA),
    "a stranger's key": lambda: good(key=STRANGER),
    "a stranger's EC key": lambda: good("ES256", "ec", STRANGER_EC),
    "a weak key": lambda: good(kid="weak", key=WEAK),
    "a key for encryption": lambda: good(kid="for-encryption", key=STRANGER),
    "a tiny key": lambda: good(kid="tiny"),
    "a key with the exponent 1": with_exponent_1,
    "a key id that stands twice": lambda: good(kid="twice", key=STRANGER),
    "a key id that stands twice, and the second": lambda: good(kid="twice"),
    "a key on P-384 for ES256": lambda: on_curve(P384, "p384"),
    "a key on P-384 that says P-256": lambda: on_curve(P384, "p384-says-p256"),
    "a key on secp256k1 for ES256": lambda: on_curve(K256, "k256"),
    "a key on secp256k1 that says P-256": lambda: on_curve(K256, "k256-says-p256"),
    "a key on no curve": lambda: good("ES256", "off-curve", EC),
    **{
        f"r {r:x}, s {s:x}": lambda r=r, s=s: psychic(r, s)  # type: ignore[misc]
        for r, s in ((0, 0), (0, 1), (1, 0), (P256_ORDER, P256_ORDER), (1, P256_ORDER), (P256_ORDER, 1))
    },
    "no signature": lambda: good().rpartition(".")[0] + ".",
    "a signature flipped": flipped,
    "claims exchanged": swapped,
    **{
        f"kid {kid[:24]!r}": lambda kid=kid: with_header(kid=kid)  # type: ignore[misc]
        for kid in (
            *("../../../dev/null", "/etc/passwd", "file:///etc/passwd", "rsa/../ec", "' OR 1=1 --", EVIL),
            *("", "x" * 300, "RSA", "rsa ", "rsa\x00", "\x00", "${jndi:ldap://127.0.0.1/a}", "$(id)", "*", "ré"),
        )
    },
    "kid a number": lambda: with_header(kid=1),
    "kid an object": lambda: with_header(kid={"$ne": 1}),
    "no kid, two keys fit": lambda: signed({"alg": "RS256"}, claimed()),
    **{
        f"header {name}": lambda name=name, value=value: with_header(**{name: value})  # type: ignore[misc]
        for name, value in {
            "jku": EVIL,
            "JKU": EVIL,
            "x5u": EVIL,
            "jwk": jwk(STRANGER, "own"),
            "x5c": ["MIIB"],
            "crit": ["exp"],
            "Crit": [],
            "b64": False,
            "epk": {},
            "zip": "DEF",
            "enc": "A256GCM",
            "typ": "dpop+jwt",
            "anything": 1,
        }.items()
    },
    "an embedded key that signed it": lambda: signed(
        {"alg": "RS256", "jwk": jwk(STRANGER, "own"), "kid": "own"}, claimed(), STRANGER
    ),
    "b64 false, as RFC 7797 has it": lambda: with_header(b64=False, crit=["b64"]),
    "a token in a token": lambda: signed({"alg": "RS256", "kid": "rsa", "cty": "JWT"}, good().encode()),
    "typ a number": lambda: with_header(typ=1),
    "header twice the same member": lambda: signed(b'{"alg":"none","alg":"RS256","kid":"rsa"}', claimed()),
    "header no object": lambda: signed([], claimed()),
    "header no JSON": lambda: signed(b"{", claimed()),
    "claims no object": lambda: signed({"alg": "RS256", "kid": "rsa"}, []),
    "claims deep": lambda: signed({"alg": "RS256", "kid": "rsa"}, b"[" * 900 + b"]" * 900),
    "claims twice the same member": lambda: signed(
        {"alg": "RS256", "kid": "rsa"}, json.dumps(claimed()).encode()[:-1] + b',"sub":"adam"}'
    ),
    **{
        f"{name} {value!r:.24}": lambda name=name, value=value: good(**{name: value})  # type: ignore[misc]
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
            ("exp", float(int(time.time()) + 300)),
            ("exp", int(time.time()) + 300.5),
            ("exp", 2**63),
            ("exp", -(2**63)),
            ("exp", 0),
            ("exp", [int(time.time()) + 300]),
            ("exp", False),
            ("exp", True),
            ("exp", None),
            ("exp", int(time.time()) + 90_000_000),
            ("nbf", int(time.time()) + 100_000),
            ("nbf", "0"),
            ("nbf", 1e3),
            ("nbf", None),
            ("iat", int(time.time()) + 100_000),
            ("iat", 1.5),
            ("sub", ...),
            ("sub", ""),
            ("sub", 7),
            ("sub", "a\nb"),
            ("sub", "x" * 200),
        )
    },
    **{
        f"exp {word}": lambda word=word: signed(  # type: ignore[misc]
            {"alg": "RS256", "kid": "rsa"}, json.dumps(claimed(exp=0)).replace('"exp": 0', f'"exp": {word}').encode()
        )
        for word in ("NaN", "Infinity", "-Infinity", "1e999", "-0", "0x7fffffff", "9" * 2000)
    },
    "claims in UTF-16": lambda: signed({"alg": "RS256", "kid": "rsa"}, json.dumps(claimed()).encode("utf-16")),
    "claims with a byte order mark": lambda: signed(
        {"alg": "RS256", "kid": "rsa"}, b"\xef\xbb\xbf" + json.dumps(claimed()).encode()
    ),
    "claims and more": lambda: signed({"alg": "RS256", "kid": "rsa"}, json.dumps(claimed()).encode() + b"{}"),
    "a JWS in JSON": lambda: json.dumps(
        dict(zip(("protected", "payload", "signature"), good().split("."), strict=True))
    ),
    **{f"part {index} in another base64": lambda index=index: respelled(index) for index in (1, 2)},  # type: ignore[misc]
    "base64 padded": lambda: ".".join(part + "=" * (-len(part) % 4) for part in good().split(".")),
    "base64 of the other alphabet": lambda: good()[:-1] + "+",
    "an empty first part": lambda: good()[good().index(".") :],
    "dots only": lambda: "..",
    "five parts": lambda: good() + ".a.b",
    "two parts": lambda: good().rpartition(".")[0],
    "a line break": lambda: good()[:40] + "%0A" + good()[40:],
    "6 KB of claims": lambda: good(pad="x" * 4500),
}
