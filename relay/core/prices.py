"""What tokens cost: exact decimals from a table, one row per model. Nothing here knows a budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from relay.core.usage import Kind, Modality, Semantics, Tokens

OTHER_MODEL = "other"
"""The name under which every model without a row of its own is counted."""

NANOS = 10**9
"""Money is counted in billionths of its unit where it has to be a whole number: a token of text costs 750 of them."""

_MILLION_DIGITS = 6
_SIMILAR = {
    Modality.VIDEO: (Modality.IMAGE, Modality.TEXT),
    Modality.DOCUMENT: (Modality.IMAGE, Modality.TEXT),
    Modality.IMAGE: (Modality.TEXT,),
    Modality.AUDIO: (Modality.TEXT,),
    Modality.UNATTRIBUTED: (Modality.TEXT,),
    Modality.TEXT: (),
}
"""Which price stands in where a row has none for a modality, in this order."""


@dataclass(frozen=True, slots=True)
class Price:
    """One row: what a million tokens cost, and what the model's usage reports mean."""

    name: str
    input: Mapping[Modality, Decimal]
    """What Gemini reads; a row has a price for text at least."""
    output: Mapping[Modality, Decimal]
    """What Gemini writes, thoughts included; a row has a price for text at least."""
    semantics: Semantics = Semantics.PER_TURN

    def per_million(self, kind: Kind, modality: Modality) -> Decimal:
        """The price of a million tokens; cached ones are part of the prompt, so they cost nothing on their own."""
        if kind is Kind.CACHED:
            return Decimal(0)
        prices = self.input if kind.direction == "up" else self.output
        return next(prices[known] for known in (modality, *_SIMILAR[modality]) if known in prices)

    def cost(self, tokens: Tokens) -> Decimal:
        """What these tokens cost, to the last digit; the order in which they were summed does not matter."""
        million = sum((self.per_million(*cell) * count for cell, count in tokens.items()), Decimal(0))
        return million.scaleb(-_MILLION_DIGITS)


FREE = Price(OTHER_MODEL, {Modality.TEXT: Decimal(0)}, {Modality.TEXT: Decimal(0)})
"""The row of a model that has none, where no other one stands in."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The rows by the beginning of a model's id."""

    rows: Mapping[str, Price]
    """By name; none is called `OTHER_MODEL`."""
    unknown: Price = FREE
    """Stands in for models without a row. Its name is `OTHER_MODEL`, whatever row its prices were taken from."""

    def of(self, model: str) -> Price:
        """The row of a model as setup names it: of all that begin its id, the longest.

        A row begins an id that is the same or goes on with a hyphen, so previews and dated versions have the row of
        their model. The row's name is fit for a metric label; a model's own name is whatever a client wrote.
        """
        name = model.rsplit("/", 1)[-1]
        while name:
            if name in self.rows:
                return self.rows[name]
            name = name.rpartition("-")[0]
        return self.unknown


def nanos(amount: Decimal) -> int:
    """An amount of money as a whole number of billionths, rounded up: a budget is not overdrawn by rounding."""
    return int((amount * NANOS).to_integral_value(rounding="ROUND_CEILING"))
