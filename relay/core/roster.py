"""What replicas tell each other of their live sessions, so that the operator may ask any of them."""

from collections.abc import Mapping
from typing import Protocol


class RosterStore(Protocol):
    """Keeps a sheet of each replica. Every method raises LedgerError when the store fails, and is bounded in time."""

    async def publish(self, replica: str, sheet: str, keep_s: float) -> list[str]:
        """Replace a replica's sheet, which is forgotten after `keep_s`; the sessions that were dismissed lately."""
        ...

    async def sheets(self) -> Mapping[str, str]:
        """The sheets of all replicas."""
        ...

    async def dismiss(self, session: str) -> None:
        """Tell the replica that has a session, whichever that is, to end it."""
        ...
