"""Every kind of credential behind one question: a tenant's key, a ticket, a token of a tenant's identity provider."""

from collections.abc import Collection, Sequence
from typing import Protocol

from relay.core.secret import Secret
from relay.core.tickets import TicketStore
from relay.net.auth import Identity, KeyInUrlError, Presented, TenantKeys
from relay.net.tickets import PREFIX, grant_of, id_of
from relay.net.warden import Warden


class Tokens(Protocol):
    """Tokens that somebody else signed."""

    async def verify(self, token: Secret) -> Identity | None:
        """Who holds a token; None when it is not valid."""
        ...


class Entrance:
    """See `relay.net.auth.Authenticator`."""

    def __init__(
        self,
        keys: TenantKeys,
        tickets: TicketStore,
        warden: Warden,
        keys_in_url: Collection[str],
        tokens: Sequence[Tokens] = (),
    ) -> None:
        """`keys_in_url` names the tenants whose keys may stand in a URL."""
        self._keys = keys
        self._tickets = tickets
        self._warden = warden
        self._keys_in_url = frozenset(keys_in_url)
        self._tokens = tokens

    async def authenticate(self, presented: Presented) -> Identity | None:
        """Who holds a credential. Raises LedgerError, and KeyInUrlError for a key or token where none may stand."""
        secret = presented.secret
        if secret.reveal().startswith(PREFIX):
            identity = await self._by_ticket(secret)
        else:
            identity = self._keys.owner(secret)
            for tokens in self._tokens:
                if identity is None:
                    identity = await tokens.verify(secret)
            if identity is not None and presented.in_url and identity.tenant not in self._keys_in_url:
                raise KeyInUrlError
        if identity is None or identity.grant is None:
            return identity
        return None if self._warden.revoked(identity.tenant, identity.grant) else identity

    async def _by_ticket(self, secret: Secret) -> Identity | None:
        ticket_id = id_of(secret)
        stub = await self._tickets.find(ticket_id)
        if stub is None:
            return None
        return Identity(*grant_of(ticket_id, stub))
