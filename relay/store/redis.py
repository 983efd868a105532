"""The ledger of many replicas: a Redis or Valkey server they share, asked through one script per decision.

Every call has a short deadline and none is repeated in here: charges carry totals, so whoever calls again later loses
nothing. After a failure the server is left alone for a moment, so that a dead one costs a caller nothing.
"""

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from relay.core.ledger import (
    LEASE_S,
    START_WINDOW_S,
    Ask,
    Cause,
    Charge,
    LedgerError,
    Measure,
    Query,
    Row,
    Spent,
    Used,
    Verdict,
)
from relay.core.secret import Secret
from relay.core.windows import DAY_S, Window, day_of, window_end
from relay.store.answers import summed
from relay.store.scripts import ADMIT, SETTLE

CALL_S = 0.25
"""For one call; a server in the same place answers within a millisecond."""
LATE_S = 0.02
"""A deadline that is noticed this late was missed by a busy event loop."""
QUEUE_S = 2.0
"""For all that stand in a queue for a connection: a crowd of starts is served one after the other."""
REST_S = 0.5
"""For how long a server that failed is not asked again."""
CHARGES_PER_CALL = 50
"""A script holds up the whole server: about 0.1 ms for a charge."""
_TENANTS = "relay:tenants"
_NOTHING = json.dumps({"charges": [], "live": [], "lease": LEASE_S, "keep": 0})
_MEASURES = {measure: number for number, measure in enumerate(Measure, start=1)}

T = TypeVar("T")


class _UnreadableError(LedgerError):
    """The server answered with an error."""


class RedisLedger:
    """See `relay.core.ledger.Ledger`."""

    def __init__(self, url: str, password: Secret | None, keep_s: float, max_connections: int = 4) -> None:
        """`keep_s` is how long usage is kept."""
        self._keep_s = keep_s
        self._rests_until = 0.0
        self._slots = asyncio.Semaphore(max_connections)
        pool = redis.BlockingConnectionPool.from_url(
            url,
            password=password.reveal() if password is not None else None,
            max_connections=max_connections,
            timeout=CALL_S,
            socket_timeout=2 * CALL_S,  # deadlines are kept above; this is for connections that nobody waits for
            socket_connect_timeout=2 * CALL_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        self._redis = redis.Redis(connection_pool=pool)
        self._admit = self._redis.register_script(ADMIT)
        self._settle = self._redis.register_script(SETTLE)

    async def start(self) -> None:
        """Try the server: the client loads half of itself with its first call, which a session should not wait for.

        One that is away is no error; it is like one that goes away later.
        """
        with contextlib.suppress(RedisError, OSError):
            async with asyncio.timeout(QUEUE_S):
                await self._redis.evalsha(await self._redis.script_load(SETTLE), 1, prefix_of(""), _NOTHING)
                await self._redis.script_load(ADMIT)

    async def stop(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def admit(self, ask: Ask) -> Verdict:
        """Decide and take a place, for `LEASE_S` or until it is renewed. Raises LedgerError."""
        allowances = [
            {"window": each.window.value, "measure": _MEASURES[each.measure], "limit": each.limit}
            for each in ask.allowances
        ]
        message = {
            "session": ask.session,
            "concurrent": -1 if ask.concurrent_sessions is None else ask.concurrent_sessions,
            "starts": -1 if ask.starts_per_minute is None else ask.starts_per_minute,
            "allowances": allowances,
            "lease": LEASE_S,
            "start_window": START_WINDOW_S,
        }
        cause, retry_after, used = _answer(await self._run(self._admit, ask.tenant, message))
        if cause.startswith(Cause.BUDGET):
            return Verdict(Cause.BUDGET, used, window_end(Window(cause.partition(":")[2]), used.at) - used.at)
        return Verdict(Cause(cause) if cause else None, used, retry_after)

    async def release(self, tenant: str, session: str) -> None:
        """Give a place back. Raises LedgerError; then the place is free when its lease is over."""
        await self._call(lambda: self._redis.zrem(prefix_of(tenant) + "places", session))

    async def settle(self, charges: Sequence[Charge], live: Mapping[str, Sequence[str]]) -> dict[str, Used]:
        """Take charges. Raises LedgerError when the server fails, and then may have taken some."""
        used: dict[str, Used] = {}
        for tenant in dict.fromkeys([*live, *(charge.tenant for charge in charges)]):
            owed = [charge for charge in charges if charge.tenant == tenant]
            try:
                used[tenant] = await self._settle_tenant(tenant, owed, live.get(tenant, ()))
            except _UnreadableError:
                continue
        if charges:
            await self._remember({charge.tenant for charge in charges})
        return used

    async def _remember(self, tenants: set[str]) -> None:
        """Keep the names of tenants for lists of all; an error of this one key must not hold up their charges."""
        with contextlib.suppress(_UnreadableError):
            await self._call(lambda: self._redis.sadd(_TENANTS, *tenants))
            await self._call(lambda: self._redis.expire(_TENANTS, int(self._keep_s)))

    async def _settle_tenant(self, tenant: str, charges: Sequence[Charge], live: Sequence[str]) -> Used:
        message: dict[str, Any] = {"live": list(live), "lease": LEASE_S, "keep": self._keep_s}
        for begin in range(0, max(len(charges), 1), CHARGES_PER_CALL):
            message["charges"] = [_charge(charge) for charge in charges[begin : begin + CHARGES_PER_CALL]]
            answer = await self._run(self._settle, tenant, message)
        return _answer(answer)[2]

    async def used(self, tenant: str) -> Used:
        """What a tenant has used. Raises LedgerError."""
        return await self._settle_tenant(tenant, (), ())

    async def usage(self, query: Query) -> list[Row]:
        """What was used. Raises LedgerError."""
        tenants = [query.tenant] if query.tenant is not None else await self._members(_TENANTS)
        found: list[tuple[str, str, dict[str, int]]] = []
        for tenant in tenants:
            keys = await (self._session_keys(tenant, query) if query.by == "session" else self._day_keys(tenant, query))
            for begin in range(0, len(keys), CHARGES_PER_CALL):
                part = keys[begin : begin + CHARGES_PER_CALL]
                answers = await self._call(functools.partial(self._hashes, [key for _, key in part]))
                found += [(tenant, name, _amounts(answer)) for (name, _), answer in zip(part, answers, strict=True)]
        return summed(row for row in found if row[2])

    async def _hashes(self, keys: Sequence[str]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hgetall(key)
            return await pipe.execute()

    async def _day_keys(self, tenant: str, query: Query) -> list[tuple[str, str]]:
        """Row key and Redis key of every day and model of a query."""
        prefix = prefix_of(tenant)
        models = await self._members(prefix + "models")
        first, last = _midnight(query.first), _midnight(query.last)
        days = [day_of(first + number * DAY_S) for number in range(int((last - first) // DAY_S) + 1)]
        return [(day if query.by == "day" else model, f"{prefix}day:{day}:{model}") for day in days for model in models]

    async def _session_keys(self, tenant: str, query: Query) -> list[tuple[str, str]]:
        prefix = prefix_of(tenant)
        begin, end = _midnight(query.first), _midnight(query.last) + DAY_S
        sessions = await self._call(lambda: self._redis.zrangebyscore(prefix + "sessions", begin, f"({end}"))
        return [(str(session), f"{prefix}session:{session!s}") for session in sessions]

    async def _members(self, key: str) -> list[str]:
        return sorted(map(str, await self._call(lambda: self._redis.smembers(key))))

    async def _run(self, script: Any, tenant: str, message: Mapping[str, Any]) -> list[str]:
        text = json.dumps(message)
        answer: list[str] = await self._call(lambda: script(keys=[prefix_of(tenant)], args=[text]))
        return answer

    async def ask(self, command: Callable[[Any], Awaitable[T]]) -> T:
        """Send a command of somebody else's that is safe to send twice. Raises LedgerError."""
        return await self._call(lambda: command(self._redis))

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for one call, no longer than `CALL_S`; a server that failed is left alone for `REST_S`.

        Callers queue for connections here and not in the pool: when the server fails, the queue fails with it.
        """
        try:
            async with asyncio.timeout(QUEUE_S), self._slots:
                return await self._tried(call)
        except (ResponseError, UnicodeDecodeError) as error:
            # The server is well; what it has of this tenant, or its memory, is not.
            raise _UnreadableError(f"{type(error).__name__} from Redis") from None
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self._rests_until = time.monotonic() + REST_S
            # The exception's own text may hold the address, and with it a password.
            raise LedgerError(f"{type(error).__name__} from Redis") from None

    async def _tried(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the server had its time to answer: a loop that was busy itself proves nothing about the server.

        To call again is safe, because a place is taken once for each session and a charge once for each number.
        """
        while True:
            if time.monotonic() < self._rests_until:
                raise LedgerError("Redis failed a moment ago")
            deadline = asyncio.timeout(CALL_S)
            try:
                async with deadline:
                    return await call()
            except TimeoutError:
                when = deadline.when()
                if when is None or asyncio.get_running_loop().time() - when < LATE_S:
                    raise


def prefix_of(tenant: str) -> str:
    """The beginning of a tenant's keys: whatever stands in its name, it can't reach another one's."""
    return f"relay:{{{quote(tenant, safe='')}}}:"


def _charge(charge: Charge) -> dict[str, Any]:
    return {
        "session": charge.session,
        "model": charge.model,
        "sequence": charge.sequence,
        "amounts": dict(charge.amounts),
        "started_at": charge.started_at,
    }


def _answer(answer: Sequence[str]) -> tuple[str, float, Used]:
    cause, retry_after, at, *amounts = answer
    try:
        numbers = [int(amount) for amount in amounts]
    except ValueError:
        raise _UnreadableError("a stored total is no number") from None
    return cause, float(retry_after), Used(Spent(*numbers[:3]), Spent(*numbers[3:]), float(at))


def _amounts(answer: Mapping[str, str]) -> dict[str, int]:
    try:
        return {name: int(amount) for name, amount in answer.items() if not name.startswith("#")}
    except ValueError:
        raise _UnreadableError("a stored amount is no number") from None


def _midnight(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
