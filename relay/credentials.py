"""Settings become what callers are known by: the part of the composition root that deals with keys and tokens."""

import time
from collections.abc import Callable, Iterable

from relay.config import ConfigError, Tenant, secret_of
from relay.config.identity import Jwt
from relay.config.listening import Admin
from relay.core.secret import Secret
from relay.net import key_sets
from relay.net.auth import TenantKeys
from relay.net.jwt_tokens import Claims, JwtTokens, KeySet, Provider

SHORTEST_TOKEN = 16
"""Characters of the operator's token: with fewer it could be guessed."""


def keys_of(tenants: Iterable[Tenant]) -> tuple[TenantKeys, list[Secret]]:
    """The keys by tenant, and those known in clear, which the log must not show."""
    keys = TenantKeys()
    known: list[Secret] = []
    for tenant in tenants:
        given = [*(secret_of(key, None) for key in tenant.keys), *(secret_of(None, file) for file in tenant.key_files)]
        for secret in given:
            assert secret is not None, "a key or a file was given"
            try:
                keys.add(tenant.id, secret)
            except ValueError:
                raise ConfigError([f'tenants: a key of "{tenant.id}" begins with sha256: but is no hash']) from None
            known.append(secret)
    return keys, known


def admin_token_of(settings: Admin) -> Secret | None:
    """The operator's token, if there is one. Raises ConfigError when it can be guessed."""
    token = secret_of(settings.token, settings.token_file)
    if token is not None and len(token.reveal()) < SHORTEST_TOKEN:
        raise ConfigError([f"admin.token: has less than {SHORTEST_TOKEN} characters"])
    return token


def tokens_of(tenants: Iterable[Tenant], clock: Callable[[], float]) -> list[JwtTokens]:
    """The checks of the tokens that the tenants' identity providers issue, for the tenants that have one."""
    return [_tokens(tenant.id, tenant.jwt, clock) for tenant in tenants if tenant.jwt is not None]


def _tokens(tenant: str, settings: Jwt, clock: Callable[[], float]) -> JwtTokens:
    named = settings.claims
    claims = Claims(named.end_user, named.tenant, named.session_seconds, named.seconds, named.tokens, named.money)
    algorithms = frozenset[str](settings.algorithms)
    provider = Provider(tenant, settings.issuer, settings.audience, algorithms, claims, settings.leeway)
    if settings.keys_file is not None:
        return JwtTokens(provider, KeySet(key_sets.from_file(settings.keys_file), time.monotonic), clock)
    keys = KeySet(key_sets.from_url(settings.jwks_url or "", settings.private_network), time.monotonic)
    return JwtTokens(provider, keys, clock)
