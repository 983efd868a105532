"""Resumption handles as clients see them: Gemini's own, sealed for one tenant.

All tenants share the operator's key at Google, so a raw handle is a bearer token to somebody's conversation. What a
client gets instead is AES-GCM over it, bound to tenant, policy, model and the account at Google, with an end date; any
process with the same secret can open it.
"""

import base64
import hashlib
import json
import os
import struct
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from relay.core.downstream import Ticket
from relay.core.secret import Secret

_NONCE_BYTES = 12
_EXPIRY = struct.Struct(">Q")


class HandleSealer:
    """Seals and opens handles for every tenant of the process."""

    def __init__(self, secret: Secret, lifetime_s: float, clock: Callable[[], float], account: Secret) -> None:
        """`clock` is wall time in seconds: handles outlive processes. `account` is whatever Gemini's own are bound to:
        its key or project; of it only a digest is kept."""
        self._cipher = AESGCM(hashlib.sha256(b"relay handle 2\0" + secret.reveal().encode()).digest())
        self._account = hashlib.sha256(account.reveal().encode()).hexdigest()
        self._lifetime_s = lifetime_s
        self._clock = clock

    def bound(self, tenant: str, policy: str, subject: str = "") -> "BoundHandles":
        """The sealer as one session uses it; `subject` is whose it is within the tenant, by its ticket or token."""
        owner = [tenant, policy, self._account, *([subject] if subject else [])]
        return BoundHandles(self, json.dumps(owner).encode())

    def seal(self, handle: str, owner: bytes) -> str:
        """Encrypt one of Gemini's handles for an owner; the result is URL-safe."""
        nonce = os.urandom(_NONCE_BYTES)
        expires_at = int(self._clock() + self._lifetime_s)
        sealed = self._cipher.encrypt(nonce, _EXPIRY.pack(expires_at) + handle.encode(), owner)
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def unseal(self, sealed: str, owner: bytes) -> str | None:
        """Gemini's handle; None unless this relay sealed it for this owner and it has not expired."""
        try:
            raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            plain = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner)
        except (ValueError, InvalidTag):
            return None
        (expires_at,) = _EXPIRY.unpack_from(plain)
        if self._clock() >= expires_at:
            return None
        return plain[_EXPIRY.size :].decode()


class BoundHandles:
    """A sealer for one tenant and policy: what the session is given."""

    def __init__(self, sealer: HandleSealer, owner: bytes) -> None:
        self._sealer = sealer
        self._owner = owner

    def seal(self, ticket: Ticket, model: str) -> str:
        """The relay's own handle for one of Gemini's, and for a place in a session."""
        what = [model, ticket.session, ticket.generation, ticket.place, ticket.handle.reveal()]
        return self._sealer.seal(json.dumps(what), self._owner)

    def unseal(self, handle: str, model: str) -> Ticket | None:
        """What one of ours says; None for anything else, and for a handle of another model."""
        opened = self._sealer.unseal(handle, self._owner)
        if opened is None:
            return None
        try:
            sealed_model, session, generation, place, original = json.loads(opened)
        except ValueError:  # of an earlier version
            return None
        return Ticket(Secret(original), session, generation, place) if sealed_model == model else None
