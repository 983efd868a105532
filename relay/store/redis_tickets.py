"""Tickets that many replicas share, beside their ledger: one script per decision, a time to live on every key.

Only the server's clock counts. A script may be sent twice when an answer is late, so each names the session that it is
about, and the second time changes nothing. A ticket's keys share a hash tag, so they lie in one slot of a cluster.
"""

import json
import math
from typing import Any

from relay.core.ledger import LedgerError
from relay.core.tickets import Allotment, Stub, Use
from relay.store.redis import RedisLedger
from relay.store.sqlite_tickets import KEEP_REVOCATIONS_S

_REVOKED = "relay:{!}:revoked"
_MOST = 2.0**60
"""More than any ticket may use of anything."""

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

_ADD = (
    _NOW
    + """
local stub = cjson.decode(ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then return 'known' end
redis.call('HSET', KEYS[1], 'record', stub.record, 'uses', stub.uses, 'new_until', stub.new_until,
  'expires_at', stub.expires_at, 'issued_at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.max(math.ceil((stub.expires_at - now) * 1000), 1))
return 'kept'
"""
)

_USE = (
    _NOW
    + """
local known = redis.call('HMGET', KEYS[1], 'uses', 'new_until')
if not known[1] then return 'gone' end
local uses = tonumber(known[1])
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 1 then return 'used' end
if now >= tonumber(known[2]) then return 'late' end
if uses > 0 then
  if redis.call('SCARD', KEYS[2]) >= uses then return 'used_up' end
  redis.call('SADD', KEYS[2], ARGV[1])
  redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[1]), 1))
end
return 'used'
"""
)

_SPEND = """
local left = redis.call('PTTL', KEYS[1])
if left > 0 then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[2], left)
end
return redis.call('HVALS', KEYS[2])
"""

_REVOKE = (
    _NOW
    + """
redis.call('ZADD', KEYS[1], string.format('%.6f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2]) * 1000))
return 'noted'
"""
)


class RedisTickets:
    """See `relay.core.tickets.TicketStore`; the ledger owns the connections."""

    def __init__(self, ledger: RedisLedger) -> None:
        self._ledger = ledger

    async def start(self) -> None:
        """The ledger has opened what there is to open."""

    async def stop(self) -> None:
        """The ledger closes it."""

    async def now(self) -> float:
        """The server's time. Raises LedgerError."""
        seconds, microseconds = await self._ledger.ask(lambda redis: redis.time())
        return float(seconds) + float(microseconds) / 1e6

    async def add(self, ticket_id: str, stub: Stub) -> None:
        """Keep a new ticket. Raises LedgerError."""
        message = {name: getattr(stub, name) for name in ("record", "uses", "new_until", "expires_at")}
        await self._eval(_ADD, [_key(ticket_id, "ticket")], json.dumps(message))

    async def find(self, ticket_id: str) -> Stub | None:
        """A ticket that is valid. Raises LedgerError."""
        found = await self._ledger.ask(lambda redis: redis.hgetall(_key(ticket_id, "ticket")))
        if not found:
            return None
        try:
            times = [float(found[name]) for name in ("new_until", "expires_at", "issued_at")]
            stub = Stub(found["record"], int(found["uses"]), *times)
        except (ValueError, KeyError):
            raise LedgerError("a stored ticket can't be read") from None
        if stub.uses < 0 or not all(map(math.isfinite, times)):
            raise LedgerError("a stored ticket can't be read")
        return stub

    async def use(self, ticket_id: str, session: str) -> Use:
        """Count a session. Raises LedgerError."""
        return Use(await self._eval(_USE, [_key(ticket_id, "ticket"), _key(ticket_id, "uses")], session))

    async def spend(self, ticket_id: str, session: str, used: Allotment) -> Allotment:
        """Note what a session has used. Raises LedgerError."""
        keys = [_key(ticket_id, "ticket"), _key(ticket_id, "spent")]
        amounts = json.dumps([used.seconds or 0.0, used.tokens or 0, used.nanos or 0])
        rows = [_amounts(row) for row in await self._eval(_SPEND, keys, session, amounts)]
        seconds, tokens, nanos = (sum(column) for column in zip(*rows, strict=True)) if rows else (0.0, 0, 0)
        return Allotment(seconds, tokens, nanos)

    async def revoke(self, mark: str, ticket_id: str | None = None) -> None:
        """Note a mark, remove a ticket. Raises LedgerError."""
        await self._eval(_REVOKE, [_REVOKED], mark, str(KEEP_REVOCATIONS_S))
        if ticket_id is not None:
            await self._ledger.ask(lambda redis: redis.delete(_key(ticket_id, "ticket")))

    async def revocations(self, since: float) -> dict[str, float]:
        """Marks noted since. Raises LedgerError."""
        found = await self._ledger.ask(lambda redis: redis.zrangebyscore(_REVOKED, since, "+inf", withscores=True))
        return {str(mark): float(at) for mark, at in found}

    async def _eval(self, script: str, keys: list[str], *arguments: str) -> Any:
        return await self._ledger.ask(lambda redis: redis.eval(script, len(keys), *keys, *arguments))


def _amounts(row: str) -> list[float]:
    """What one session has used; only such numbers as we write, for one that is none or negative would be a credit."""
    try:
        amounts = json.loads(row)
    except (ValueError, RecursionError):
        amounts = None
    if (
        type(amounts) is not list
        or len(amounts) != 3
        or not all(type(amount) in (int, float) and 0 <= amount < _MOST for amount in amounts)
    ):
        raise LedgerError("what a ticket has used can't be read")
    return amounts


def _key(ticket_id: str, what: str) -> str:
    """No tenant's name, as it stands in the ledger's keys, has an exclamation mark."""
    return f"relay:{{!{ticket_id}}}:{what}"
