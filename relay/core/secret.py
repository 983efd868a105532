"""Texts that must not be read by whoever prints them: keys, tokens, tickets, handles.

What is not a text but as confidential (payloads, setups) stands in fields that no `repr` shows.
"""

from hmac import compare_digest
from typing import Any, NoReturn

MASK = "[secret]"
"""What stands in a secret's place."""


class Secret:
    """A text that is read by `reveal()` and in no other way.

    `repr`, `str`, `format` and a copy through pickle give the mask; the JSON encoders refuse it. Two are compared in
    constant time.
    """

    __slots__ = ("_Secret__text",)

    __text: str

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_Secret__text", text)

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self.__text

    def __repr__(self) -> str:
        return MASK

    def __format__(self, _spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self.__text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(_bytes(self.__text), _bytes(other.__text))

    def __hash__(self) -> int:
        return hash(self.__text)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Secret":
        return self

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        return Secret, (MASK,)


NOTHING = Secret("")
"""The secret that is none."""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
