"""What this process reaches for: addresses it connects to or looks up, and files it opens, as Python itself reports."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reached:
    """Everything since the recording began."""

    addresses: list[Any] = field(default_factory=list)
    """Of connections, and names that were looked up."""
    files: list[str] = field(default_factory=list)


_recorders: list[Reached] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _recorders:
        return
    for reached in _recorders:
        if event in {"socket.connect", "socket.sendto"}:
            reached.addresses.append(arguments[1])
        elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
            reached.addresses.append(arguments[:2])
        elif event == "open":
            reached.files.append(str(arguments[0]))


@contextmanager
def recorded() -> Iterator[Reached]:
    """Record until the block ends. The hook itself stays for as long as the process: Python takes none away."""
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    reached = Reached()
    _recorders.append(reached)
    try:
        yield reached
    finally:
        _recorders.remove(reached)


_installed: list[bool] = []
