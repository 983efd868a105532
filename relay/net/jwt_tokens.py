"""Tokens of a tenant's own identity provider: JWTs, checked against keys that the operator named.

Nothing in a token chooses what is fetched, which algorithm is used or where a key comes from: the issuer and audience
pick one of the configured verifiers, the key set says which algorithm a key is for, and `jku`, `x5u`, `jwk` and `crit`
in a header refuse the token. Everything is read strictly; a token and what is in it never reach an exception or a log.
"""

import asyncio
import base64
import hashlib
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import structlog

from relay.core.prices import NANOS
from relay.core.secret import Secret
from relay.core.tickets import Allotment, Grant
from relay.net.auth import Identity
from relay.net.tickets import MintError, positive

REFETCH_S = 30.0
"""How often a key set is fetched at most, whatever tokens ask for."""
REFRESH_S = 600.0
"""How old a key set becomes before it is fetched again, off the way of handshakes."""
MAX_LIFE_S = 24 * 3600.0
"""How far ahead a token's end may lie: revocations are remembered for longer."""

_SHAPE = re.compile(r"[\w-]{2,1500}\.[\w-]{2,3500}\.[\w-]{2,1500}", re.ASCII)
_HEADER = frozenset({"alg", "typ", "kid", "x5t", "x5t#S256", "cty"})
"""All that a header may hold. `jku`, `x5u`, `jwk`, `x5c`, `crit`, `b64`, `zip` and `enc` are not among them."""
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_MIN_RSA_BITS = 2048
_MAX_USER_CHARACTERS = 128
_OPTIONS: Any = {
    "require": ["exp", "iss", "aud"],
    "strict_aud": True,
    # `_in_time` judges these, by a clock that all replicas share; the library knows only this machine's.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}
_END_OF_TIME = 2**53
"""Seconds beyond which numbers are no times, and soon no floats either."""

_log = structlog.get_logger()

Fetch = Callable[[], Awaitable[Any]]
"""Fetches a key set, parsed; raises OSError or ValueError when there is none to be had."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Which claims say what; None for what no claim says."""

    end_user: str = "sub"
    tenant: str | None = None
    """Which of the tenants that share an issuer and an audience."""
    session_s: str | None = None
    """Longest session, in seconds."""
    seconds: str | None = None
    """What all sessions of the token may use together, as `tokens` and `money`."""
    tokens: str | None = None
    money: str | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """One tenant's identity provider."""

    tenant: str
    issuer: str
    audience: str
    algorithms: frozenset[str]
    claims: Claims = Claims()
    leeway_s: float = 10.0


class KeySet:
    """The public keys of one provider, by key id."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._fetch = fetch
        self._clock = clock
        self._keys: list[dict[str, Any]] = []
        self._fetched_at: float | None = None
        self._lock = asyncio.Lock()

    async def refresh(self) -> None:
        """Fetch the keys when they have become old; failures leave the old ones."""
        if self._fetched_at is None or self._clock() - self._fetched_at >= REFRESH_S:
            await self._renew()

    async def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """The one key that a token may have been signed with; a miss may fetch the set, once in `REFETCH_S`."""
        found = self._match(key_id, algorithm)
        if found is None and (self._fetched_at is None or self._clock() - self._fetched_at >= REFETCH_S):
            await self._renew()
            found = self._match(key_id, algorithm)
        return found

    async def _renew(self) -> None:
        asked_at = self._clock()
        async with self._lock:
            if self._fetched_at is not None and self._fetched_at > asked_at - REFETCH_S:
                return  # somebody else has just done it
            self._fetched_at = self._clock()
            try:
                keys = (await self._fetch())["keys"]
                self._keys = [dict(key) for key in keys][:100]
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("the key set could not be read", cause=type(error).__name__)

    def _match(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [key for key in self._keys if _fits(key, algorithm) and key_id in (None, key.get("kid"))]
        if len(fitting) != 1:  # without a key id, or with one that stands twice, nothing is guessed
            return None
        try:
            key = jwt.PyJWK(fitting[0], algorithm=algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return key if getattr(key.key, "key_size", _MIN_RSA_BITS) >= _MIN_RSA_BITS or key.key_type != "RSA" else None


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    if key.get("kty") != _KEY_TYPES[algorithm[:2]] or key.get("use", "sig") != "sig":
        return False
    return key.get("alg", algorithm) == algorithm and key.get("crv") == _CURVES.get(algorithm)


class JwtTokens:
    """One provider's tokens; see `relay.net.entrance.Tokens`."""

    def __init__(self, provider: Provider, keys: KeySet, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._provider = provider
        self.keys = keys
        self._clock = clock

    async def verify(self, token: Secret) -> Identity | None:
        """Whose token it is; None for any that is not valid, whatever is wrong with it."""
        text = token.reveal()
        if not _SHAPE.fullmatch(text):
            return None
        try:
            header, claims = (_object(part) for part in text.split(".")[:2])
        except (ValueError, RecursionError):
            return None
        # Looked at before the signature only to choose among what is configured, and to refuse.
        if not self._is_for_us(header, claims):
            return None
        key = await self.keys.find(header.get("kid"), header["alg"])
        if key is None:
            return None
        provider = self._provider
        try:
            jwt.decode(
                text,
                key=key,
                algorithms=[header["alg"]],
                audience=provider.audience,
                issuer=provider.issuer,
                options=_OPTIONS,
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            return None
        return self._identity(text, claims)

    def _is_for_us(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
        provider = self._provider
        kid, kind = header.get("kid"), header.get("typ", "JWT")
        return (
            header.keys() <= _HEADER
            and type(header.get("alg")) is str
            and header["alg"] in provider.algorithms
            and (kid is None or (type(kid) is str and 0 < len(kid) <= 200))
            and type(kind) is str
            and kind.lower() in _TYPES
            and claims.get("iss") == provider.issuer
            and claims.get("aud") == provider.audience
            and (provider.claims.tenant is None or claims.get(provider.claims.tenant) == provider.tenant)
            and self._in_time(claims)
        )

    def _in_time(self, claims: Mapping[str, Any]) -> bool:
        """Whether the times are whole seconds that make sense; JSON would let them be anything."""
        now, leeway_s = self._clock(), self._provider.leeway_s
        times = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
        if not all(type(at) is int and 0 <= at < _END_OF_TIME for at in times):
            return False
        exp = claims.get("exp", 0)
        begins = max(claims.get("nbf", 0), claims.get("iat", 0))
        return bool(now < exp + leeway_s and exp <= now + MAX_LIFE_S and begins <= now + leeway_s)

    def _identity(self, text: str, claims: Mapping[str, Any]) -> Identity | None:
        names = self._provider.claims
        end_user = claims.get(names.end_user, "")
        if type(end_user) is not str or len(end_user) > _MAX_USER_CHARACTERS:
            return None
        if not end_user or not end_user.isprintable():
            return None  # a token without an end user could not be told from another one's
        try:
            session_s, seconds, tokens, money = (
                None if name is None else positive(claims.get(name), name)
                for name in (names.session_s, names.seconds, names.tokens, names.money)
            )
        except MintError:
            return None  # a limit that is not there, or is none, can't be kept
        expires_at = claims["exp"] + self._provider.leeway_s
        digest = hashlib.sha256(text.encode()).hexdigest()
        # Revoked by a mark that is newer than the token; one that does not say when it was issued is older than any.
        issued_at = float(claims.get("iat", 0))
        allotment = Allotment(
            seconds,
            None if tokens is None else math.ceil(tokens),
            None if money is None else math.ceil(money * NANOS),
        )
        return Identity(
            self._provider.tenant,
            Grant(digest, False, issued_at, expires_at, end_user, allotment=allotment, session_s=session_s),
        )


def _object(part: str) -> dict[str, Any]:
    """A part of a token, read strictly: one object, no member twice. Raises ValueError, RecursionError."""
    text = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    value = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    if type(value) is not dict:
        raise ValueError
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _refuse(_constant: str) -> Any:
    raise ValueError
