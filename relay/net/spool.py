"""Records that wait to be taken somewhere, in bounded memory, where a newer record of a session replaces the older."""

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

_OVERHEAD_BYTES = 300
"""What one waiting record costs beside its own bytes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One record."""

    key: str
    """Records of the same key are totals of the same thing: the newest one says all."""
    id: str
    """Comes once; whoever gets it twice may drop it."""
    body: bytes = field(repr=False)
    """One JSON object, no newline in it."""

    @property
    def size(self) -> int:
        """Bytes it occupies here."""
        return len(self.body) + _OVERHEAD_BYTES


class Spool:
    """First in, first out; what does not fit pushes out the oldest."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._bytes = 0
        self.lost = 0
        """Records that were pushed out and had no newer one."""

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._bytes

    def put(self, item: Item) -> None:
        """Add a record at the end."""
        self._remove(item.key)
        self._items[item.key] = item
        self._bytes += item.size
        self._shrink()

    def take(self, most: int) -> list[Item]:
        """Take out the oldest records."""
        taken = list(islice(self._items.values(), most))
        for item in taken:
            self._remove(item.key)
        return taken

    def give_back(self, items: list[Item]) -> None:
        """Put records that nobody took back where they came from, unless there are newer ones now."""
        for item in reversed(items):
            if item.key not in self._items:
                self._items[item.key] = item
                self._items.move_to_end(item.key, last=False)
                self._bytes += item.size
        self._shrink()

    def set_aside(self, item: Item) -> None:
        """Put a record that nobody took behind the others, unless there is a newer one now."""
        if item.key not in self._items:
            self.put(item)

    def _remove(self, key: str) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            self._bytes -= item.size

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes and self._items:
            self._remove(next(iter(self._items)))
            self.lost += 1
