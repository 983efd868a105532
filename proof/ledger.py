"""Two lists of what was sent and what arrived become three counts: lost, duplicated, reordered."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counts:
    """What one direction of a session did to its messages."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    """Sent, and never arrived."""
    duplicated: int = 0
    """Arrived more often than it was sent."""
    reordered: int = 0
    """Messages that would have to be moved for the rest to be in the order of sending."""
    foreign: int = 0
    """Arrived, and was never sent."""

    @property
    def clean(self) -> bool:
        """Everything arrived, once each and in order."""
        return not (self.lost or self.duplicated or self.reordered or self.foreign)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.sent + other.sent,
            self.received + other.received,
            self.lost + other.lost,
            self.duplicated + other.duplicated,
            self.reordered + other.reordered,
            self.foreign + other.foreign,
        )


def diff(sent: Sequence[Hashable], received: Sequence[Hashable]) -> Counts:
    """Compare by identity; what was sent several times under one identity is counted, but its order is not judged."""
    went, came = Counter(sent), Counter(received)
    place = {identity: at for at, identity in enumerate(sent) if went[identity] == 1}
    first = list(dict.fromkeys(received))
    order = [place[identity] for identity in first if identity in place]
    return Counts(
        sent=len(sent),
        received=len(received),
        lost=sum((went - came).values()),
        duplicated=sum(max(0, came[identity] - count) for identity, count in went.items()),
        reordered=len(order) - _longest_rise(order),
        foreign=sum(count for identity, count in came.items() if identity not in went),
    )


def _longest_rise(places: list[int]) -> int:
    """Length of the longest rising subsequence."""
    tails: list[int] = []
    for place in places:
        at = bisect_left(tails, place)
        tails[at : at + 1] = [place]
    return len(tails)
