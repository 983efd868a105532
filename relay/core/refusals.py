"""Why a client's message is not forwarded: which rule it breaks, where, and what its sender can do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Rule(Enum):
    """Which rule a client message broke; the value is the metric label."""

    NOT_JSON = "not_json"
    NOT_ONE_MESSAGE = "not_one_message"
    DUPLICATE_KEY = "duplicate_key"
    TWO_SPELLINGS = "two_spellings"
    UNKNOWN_FIELD = "unknown_field"
    WRONG_TYPE = "wrong_type"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"
    OUT_OF_ORDER = "out_of_order"
    SETUP_FIELD = "setup_field"
    MODEL = "model"
    HANDLE = "handle"
    MESSAGE_KIND = "message_kind"
    MESSAGE_FIELD = "message_field"
    ROLE = "role"
    TOOL_RESPONSE = "tool_response"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that must not be forwarded: the rule, the dotted path of the offending field, and what to do."""

    rule: Rule
    path: str
    words: str

    @property
    def detail(self) -> str:
        """The refusal in words that its sender can act on."""
        return f"{self.path} {self.words}" if self.path else self.words


def distinct(refusals: Iterable[Refusal]) -> list[Refusal]:
    """Each once, in order: one message may break the same rule at the same place thousands of times."""
    return list(dict.fromkeys(refusals))
