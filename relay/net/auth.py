"""From a handshake's credential to its tenant. The one seam where further kinds of credentials join.

A credential is only ever hashed before anything is looked up with it, and it never appears in an exception or a log.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl

from multidict import MultiMapping

from relay.core.secret import Secret
from relay.core.tickets import Grant

PROTOCOL = "relay.v1"
"""The WebSocket subprotocol the relay selects when it is offered."""
PROTOCOL_KEY = "relay.key."
"""A subprotocol with this beginning carries a credential; it is never selected, so never echoed."""

_MAX_CREDENTIAL_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a session belongs to."""

    tenant: str
    grant: Grant | None = None
    """What a ticket or token says; None for a tenant's own key."""


@dataclass(frozen=True, slots=True)
class Presented:
    """The credential of a request, and where it stood."""

    secret: Secret
    in_url: bool


class Authenticator(Protocol):
    """Finds the owner of a credential."""

    async def authenticate(self, presented: Presented) -> Identity | None:
        """The identity behind a credential, or None. Raises LedgerError when a store that has to be asked fails."""
        ...


class KeyInUrlError(Exception):
    """A valid key or token stood in a URL, where only tickets are accepted."""


class TenantKeys:
    """Static keys of tenants, held as SHA-256 digests."""

    def __init__(self) -> None:
        self._digests: list[tuple[bytes, Identity]] = []

    def add(self, tenant: str, key: Secret) -> None:
        """Accept a key for a tenant: the key itself, or `sha256:` and its digest in hex."""
        text = key.reveal()
        hexadecimal = text.removeprefix("sha256:")
        digest = bytes.fromhex(hexadecimal) if hexadecimal != text else hashlib.sha256(text.encode()).digest()
        self._digests.append((digest, Identity(tenant)))

    def owner(self, credential: Secret) -> Identity | None:
        """The tenant of a key. Every digest is compared, each in constant time, whichever one fits."""
        presented = hashlib.sha256(credential.reveal().encode("utf-8", "surrogateescape")).digest()
        found: Identity | None = None
        for digest, identity in self._digests:
            if hmac.compare_digest(digest, presented):
                found = identity
        return found


def credential_of(headers: MultiMapping[str], protocols: Iterable[str], query: str) -> Presented | None:
    """The one credential of a handshake, wherever its client put it; None when there is none, or it is ambiguous.

    Places (each used by some released client): the `x-goog-api-key` header, `Authorization: Bearer` or `Token`,
    the query's `key` or `access_token`, a subprotocol `relay.key.<credential>`. SDKs say the same in two of the first
    three; whatever stands twice in one place, or in a subprotocol and elsewhere, two readers could take differently.
    """
    authorizations = [value.partition(" ") for value in headers.getall("Authorization", [])]
    in_url = [value for name, value in parse_qsl(query) if name in {"key", "access_token"}]
    in_protocols = [offer.removeprefix(PROTOCOL_KEY) for offer in protocols if offer.startswith(PROTOCOL_KEY)]
    places = [
        headers.getall("x-goog-api-key", []),
        [value.strip() if scheme.lower() in {"bearer", "token"} else "" for scheme, _, value in authorizations],
        in_url,
    ]
    found = {value for place in [*places, in_protocols] for value in place} - {""}
    twice = any(len(place) > 1 for place in [*places, in_protocols])
    if len(found) != 1 or twice or (in_protocols and any(map(any, places))):
        return None
    credential = found.pop()
    return Presented(Secret(credential), bool(in_url)) if len(credential) <= _MAX_CREDENTIAL_CHARACTERS else None
