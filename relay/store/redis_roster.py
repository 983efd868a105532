"""The sheets of replicas that share a Redis: each with a time to live, so that one that is killed is soon forgotten."""

from collections.abc import Mapping
from typing import Any

from relay.store.redis import RedisLedger

DISMISSED_S = 30.0
"""How long a dismissal is told: replicas ask every few seconds."""

# No tenant's name, as it stands in the ledger's keys, has an exclamation mark.
_REPLICAS = "relay:{!}:replicas"
_DISMISSED = "relay:{!}:dismissed"

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
"""

_PUBLISH = (
    _NOW
    + """
local keep = tonumber(ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'PX', math.ceil(keep * 1000))
redis.call('ZADD', KEYS[1], string.format('%.6f', now + keep), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(keep * 1000))
return redis.call('ZRANGEBYSCORE', KEYS[3], string.format('%.6f', now), '+inf')
"""
)

_DISMISS = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now))
redis.call('ZADD', KEYS[1], string.format('%.6f', now + tonumber(ARGV[2])), ARGV[1])
redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2]) * 1000))
return 'noted'
"""
)


class RedisRoster:
    """See `relay.core.roster.RosterStore`; the ledger owns the connections."""

    def __init__(self, ledger: RedisLedger) -> None:
        self._ledger = ledger

    async def publish(self, replica: str, sheet: str, keep_s: float) -> list[str]:
        """Replace a sheet. Raises LedgerError."""
        keys = [_REPLICAS, _key(replica), _DISMISSED]
        return [str(session) for session in await self._eval(_PUBLISH, keys, replica, sheet, str(keep_s))]

    async def sheets(self) -> Mapping[str, str]:
        """The sheets of all. Raises LedgerError."""
        replicas = [str(name) for name in await self._ledger.ask(lambda redis: redis.zrange(_REPLICAS, 0, -1))]
        if not replicas:
            return {}
        keys = [_key(replica) for replica in replicas]
        found = await self._ledger.ask(lambda redis: redis.mget(keys))
        return {replica: str(sheet) for replica, sheet in zip(replicas, found, strict=True) if sheet is not None}

    async def dismiss(self, session: str) -> None:
        """Note a dismissal. Raises LedgerError."""
        await self._eval(_DISMISS, [_DISMISSED], session, str(DISMISSED_S))

    async def _eval(self, script: str, keys: list[str], *arguments: str) -> Any:
        return await self._ledger.ask(lambda redis: redis.eval(script, len(keys), *keys, *arguments))


def _key(replica: str) -> str:
    return f"relay:{{!}}:sheet:{replica}"
