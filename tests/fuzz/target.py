"""What a fuzz target is."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One parser and what it promises."""

    run: Callable[[bytes], None]
    """Raises whatever breaks a promise: its docstring says which ones it holds."""
    rows: tuple[str, ...]
    """Of the attack list in docs/threat-model.md."""
    seeds: tuple[bytes, ...]
    """Inputs that go deep, to begin from."""
    words: tuple[bytes, ...] = ()
    """What the parser looks for, to be spliced in."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.run.__name__


JSON_WORDS: tuple[bytes, ...] = (
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b'"',
        b'""',
        b'"\\""',
        b"\\u0065",
        b"\\ud800",
        b"null",
        b"true",
        b"  ",
        b"\n",
    ),
    *(b"-0", b"0.5", b"1e999", b"1e-400", b"NaN", b"18446744073709551616", b"\xef\xbb\xbf", b"\xff", b"\x00"),
)


def text_of(data: bytes) -> str:
    """Bytes as the text that aiohttp would make of a header with them."""
    return data.decode("utf-8", "surrogateescape")


def at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waited")
