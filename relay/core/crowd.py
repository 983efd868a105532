"""Who may come in: connections counted by the process and by address, and how fast one address may ask."""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

from relay.core.budget import Bucket

_MOST_BUCKETS = 4096
"""Addresses whose rate is remembered; a full one is as good as none, so those that rest are forgotten first."""


class Crowded(Enum):
    """Which limit is reached; the values are causes in the metrics."""

    PROCESS = "connections"
    ADDRESS = "address_connections"
    RATE = "address_rate"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one listener; None for no limit."""

    connections: int
    per_address: int | None = None
    per_second: int | None = None
    """Requests of one address; two seconds' worth may come at once."""


class Crowd:
    """The connections of one listener, from accept to close. An address here is whatever stands for one caller."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._all = 0
        self._by_address: Counter[Hashable] = Counter()
        self._buckets: dict[Hashable, Bucket] = {}

    def __len__(self) -> int:
        return self._all

    def enter(self) -> Crowded | None:
        """Count a connection, or say why there is no room for it."""
        if self._all >= self._bounds.connections:
            return Crowded.PROCESS
        self._all += 1
        return None

    def leave(self) -> None:
        """Uncount a connection."""
        self._all -= 1

    def claim(self, address: Hashable) -> Crowded | None:
        """Count something an address holds, or say why it may not."""
        most = self._bounds.per_address
        if most is not None and self._by_address[address] >= most:
            return Crowded.ADDRESS
        self._by_address[address] += 1
        return None

    def release(self, address: Hashable) -> None:
        """Uncount it. Addresses that hold nothing are forgotten."""
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def ask(self, address: Hashable, now: float) -> Crowded | None:
        """Count a request of an address, or say that it is too fast."""
        per_second = self._bounds.per_second
        if per_second is None:
            return None
        bucket = self._buckets.pop(address, None) or Bucket(per_second, 2 * per_second, now)
        self._buckets[address] = bucket  # now the last one: the first is the one that has rested longest
        if len(self._buckets) > _MOST_BUCKETS:
            del self._buckets[next(iter(self._buckets))]
        return None if bucket.take(1, now) else Crowded.RATE
