"""The sections about what is used and what it costs: quotas, prices, the store, usage records."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from relay.config.base import Name, Section
from relay.config.export import UsageFile, Webhook
from relay.config.price_list import AS_OF, CURRENCY
from relay.config.units import Bytes, Seconds
from relay.core.prices import OTHER_MODEL
from relay.core.usage import Modality

_MOST_MONEY = 9_000_000
"""Whole units: stores count billionths, and the numbers of a script in Redis are exact up to 2^53."""


def _money(value: object) -> object:
    """A YAML number as it was written: 0.1 is a tenth, not what a float makes of it."""
    return str(value) if isinstance(value, float) else value


Money = Annotated[
    Decimal,
    BeforeValidator(_money),
    Field(ge=0, max_digits=16, decimal_places=9),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["string", "number"], "examples": ["0.75", "20.00"]}),
]
"""An exact amount of money: `0.75` or `"0.75"` in the file."""


class Budget(Section):
    """How much of something a tenant may use in a window; the windows are days and months of UTC."""

    tokens: int | None = Field(None, ge=1, description="Tokens in and out, as Gemini reports them.")
    audio: Seconds | None = Field(None, gt=0, description="Speech in and out together, as long as it sounds.")
    money: Money | None = Field(None, gt=0, le=_MOST_MONEY, description="Cost by `prices`, in its currency.")


class Quotas(Section):
    """What a tenant may use."""

    concurrent_sessions: int | None = Field(None, ge=1, description="Sessions at once; more are refused with 429.")
    starts_per_minute: int | None = Field(None, ge=1, description="Sessions begun in any minute; more get 429.")
    session_length: Seconds | None = Field(None, gt=0, description="Longest session, if shorter than that of `limits`.")
    idle_after: Seconds | None = Field(
        600.0, gt=0, description="A session in which nobody speaks or writes for so long ends, open microphone or not."
    )
    day: Budget = Field(Budget(), description="Budget of one day.")
    month: Budget = Field(Budget(), description="Budget of one month.")
    grace: Seconds = Field(20.0, ge=0, description="For the turn in progress, and `wrap_up`, when a budget is spent.")
    wrap_up: str | None = Field(
        None,
        min_length=1,
        max_length=2000,
        description="Said to Gemini when a budget or a session's length is over; its answer is the last turn.",
        examples=["Tell the caller in one short sentence that the time is up."],
    )
    messages_per_second: float | None = Field(200.0, gt=0, description="Messages one session may send.")
    bytes_per_second: Bytes | None = Field(1024**2, ge=1, description="Bytes one session may send.")
    audio_speed: float | None = Field(
        None, gt=0, description="Seconds of speech one session may send in a second, such as 1.5."
    )
    burst: Seconds = Field(10.0, gt=0, description="So much of a second's limit may come at once, after a bad network.")


class Rates(Section):
    """What a million tokens of each modality cost; one without a price has that of images, or of text."""

    text: Money = Field(description="Text, thoughts included, and tokens without a modality.")
    audio: Money | None = Field(None, description="Speech.")
    image: Money | None = Field(None, description="Pictures.")
    video: Money | None = Field(None, description="Video.")
    document: Money | None = Field(None, description="Documents.")

    def by_modality(self) -> dict[Modality, Decimal]:
        """The prices that are given."""
        given = {modality: getattr(self, modality.value, None) for modality in Modality}
        return {modality: price for modality, price in given.items() if price is not None}


class ModelPrice(Section):
    """One model, and all whose id goes on from its name with a hyphen."""

    input: Rates = Field(description="What Gemini reads.")
    output: Rates = Field(description="What Gemini writes.")
    usage: Literal["per_turn", "cumulative", "per_chunk"] = Field(
        "per_turn", description="What its usage reports are: receipts of turns, running totals, or pieces."
    )


class Prices(Section):
    """What tokens cost. Rows that stand here are added to the list the relay comes with, or replace its rows."""

    as_of: str = Field(AS_OF, description="Day the prices are from; it stands in usage records.")
    currency: str = Field(CURRENCY, pattern=r"^[A-Z]{3}$", description="Currency of all prices and budgets.")
    unknown: str = Field("free", description="Models without a row: `free`, or a row whose prices they have.")
    models: dict[Name, ModelPrice] = Field({}, description="Rows by the beginning of the model's id.")

    @field_validator("models")
    @classmethod
    def _no_reserved_name(cls, models: dict[str, ModelPrice]) -> dict[str, ModelPrice]:
        for name in {OTHER_MODEL, "free"} & models.keys():
            raise ValueError(f'"{name}" stands for models without a row')
        return models


class Store(Section):
    """Where places, budgets and usage are kept."""

    kind: Literal["sqlite", "redis"] = Field("sqlite", description="A file of this process, or a shared server.")
    path: Path | None = Field(None, description="The file of sqlite; without one, usage ends with the process.")
    url: str | None = Field(None, description='Redis or Valkey, as "redis://host:6379/0", "rediss://…" or "unix://…".')
    password: SecretStr | None = Field(None, description='Its password; only as "${NAME}".')
    password_file: Path | None = Field(None, description="File that holds its password.")
    keep: Seconds = Field(400 * 86_400.0, ge=40 * 86_400.0, description="How long usage is kept.")
    settle_every: Seconds = Field(
        0.5, ge=0.05, le=1.0, description="How often usage is written; so much is lost when the process is killed."
    )
    when_down: Literal["closed", "open"] = Field(
        "closed", description="While the store fails, new sessions get 503, or this replica's share of the limits."
    )
    replicas: int = Field(1, ge=1, description="Relays that share the store; a share is a limit divided by them.")

    @field_validator("url")
    @classmethod
    def _no_password(cls, url: str | None) -> str | None:
        if url is not None and "@" in url:
            raise ValueError("may have no user or password: it goes into store.password")
        if url is not None and not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must be a redis://, rediss:// or unix:// address")
        return url

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "redis" and self.url is None:
            raise ValueError("needs a url, because its kind is redis")
        if self.kind == "sqlite" and (self.url or self.password or self.password_file):
            raise ValueError("has a url or a password, but its kind is sqlite")
        if self.kind == "redis" and self.path is not None:
            raise ValueError("has a path, but its kind is redis")
        if self.password is not None and self.password_file is not None:
            raise ValueError("has both password and password_file: keep one")
        return self


class UsageRecords(Section):
    """Records of what sessions use, one JSON line each: at the end of a session, and of long ones meanwhile."""

    flush_every: Seconds = Field(60.0, ge=1.0, description="How often a live session is recorded; records are totals.")
    log: bool = Field(True, description="Write them to the log as well.")
    file: UsageFile | None = Field(None, description="A file of their own.")
    webhook: Webhook | None = Field(None, description="An address of yours that they are sent to.")
