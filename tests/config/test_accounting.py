"""The sections about money: exact, complete, and wrong with a path."""

import sys
from decimal import Decimal
from typing import Any

import pytest

from relay import accounting, config
from relay.config import Config, ConfigError
from relay.config.price_list import PRICE_LIST
from relay.core.ledger import Allowance, Measure
from relay.core.prices import OTHER_MODEL
from relay.core.usage import Kind, Modality, Semantics
from relay.core.windows import Window
from relay.net.books import Terms
from relay.store.redis import RedisLedger
from relay.store.sqlite import SqliteLedger


def loaded(quotas: dict[str, Any] | None = None, **sections: Any) -> Config:
    """A small configuration with these sections."""
    return config.build(
        {
            "upstream": {"api_key": "google-key-0123456789"},
            "policies": {"guided": {"model": "gemini-3.8-live"}},
            "tenants": [{"id": "acme", "keys": ["acme-key-0123456789"], "policy": "guided", "quotas": quotas or {}}],
            **sections,
        }
    )


def complaints(**sections: Any) -> list[str]:
    """What is wrong with such a configuration."""
    with pytest.raises(ConfigError) as raised:
        loaded(**sections)
    return raised.value.problems


def test_quotas_become_limits() -> None:
    """Every key arrives, in the units of the code."""
    written = {
        "concurrent_sessions": 5,
        "starts_per_minute": 6,
        "session_length": "1h",
        "idle_after": "2m",
        "grace": "7s",
        "day": {"tokens": 8, "audio": "10m", "money": 0.1},
        "month": {"money": "12.345678901"},
        "messages_per_second": 50,
        "bytes_per_second": "64KiB",
        "audio_speed": 1.5,
        "burst": "3s",
    }
    quotas = accounting.quotas_of(loaded(written).tenants[0].quotas)
    assert (quotas.concurrent_sessions, quotas.starts_per_minute, quotas.session_s) == (5, 6, 3600.0)
    assert (quotas.idle_s, quotas.grace_s, quotas.burst_s) == (120.0, 7.0, 3.0)
    assert (quotas.messages_per_second, quotas.bytes_per_second, quotas.audio_speed) == (50.0, 65_536, 1.5)
    assert quotas.allowances == (
        Allowance(Window.DAY, Measure.TOKENS, 8),
        Allowance(Window.DAY, Measure.AUDIO, 600_000),
        Allowance(Window.DAY, Measure.MONEY, 100_000_000),
        Allowance(Window.MONTH, Measure.MONEY, 12_345_678_901),
    )


def test_nothing_is_limited_unless_somebody_says_so() -> None:
    """Save the forgotten microphone, and a client that floods the relay."""
    quotas = accounting.quotas_of(loaded().tenants[0].quotas)
    assert quotas.allowances == ()
    assert (quotas.messages_per_second, quotas.bytes_per_second, quotas.burst_s) == (200.0, 1024**2, 10.0)
    unlimited = accounting.quotas_of(loaded({"messages_per_second": None, "bytes_per_second": None}).tenants[0].quotas)
    assert (unlimited.messages_per_second, unlimited.bytes_per_second) == (None, None)
    assert quotas.idle_s == 600.0
    assert accounting.quotas_of(loaded({"idle_after": None}).tenants[0].quotas).idle_s is None


def test_the_shipped_prices_are_a_table() -> None:
    """Every listed model has its prices, and the semantics of its reports."""
    table = accounting.price_table(loaded().prices)
    assert table.rows.keys() == PRICE_LIST.keys()
    live = table.of("models/gemini-3.8-live-extended-thinking")
    assert live.per_million(Kind.RESPONSE, Modality.AUDIO) == Decimal("12.00")
    assert live.semantics is Semantics.PER_TURN
    assert table.of("models/gemini-2.5-flash-native-audio-preview-12-2025").name == "gemini-2.5-flash-native-audio"
    assert table.of("models/gemini-3.5-live-translate-preview").semantics is Semantics.CUMULATIVE
    assert table.of("models/gemini-3.1-flash-live-preview").name == "gemini-3.1-flash-live"
    assert table.of("models/unheard-of").name == OTHER_MODEL


def test_rows_are_added_and_replaced() -> None:
    """A number of the file is taken as it was written; a model without a row may have another one's prices."""
    row = {"input": {"text": 0.1, "audio": "0.2"}, "output": {"text": 3}, "usage": "per_chunk"}
    prices = loaded(prices={"models": {"gemini-3.8-live": row, "mine": row}, "unknown": "mine"}).prices
    table = accounting.price_table(prices)
    for model in ("models/gemini-3.8-live", "models/mine-2", "models/unheard-of"):
        price = table.of(model)
        assert price.per_million(Kind.PROMPT, Modality.TEXT) == Decimal("0.1")
        assert price.per_million(Kind.PROMPT, Modality.VIDEO) == Decimal("0.1")
        assert price.per_million(Kind.PROMPT, Modality.AUDIO) == Decimal("0.2")
        assert price.semantics is Semantics.PER_CHUNK
    assert table.of("models/unheard-of").name == OTHER_MODEL
    assert table.of("models/gemini-3.5-transcribe-live").name == "gemini-3.5-transcribe-live"


async def test_the_store_is_chosen() -> None:
    """A file of the process unless a server is named."""
    embedded = loaded().store
    assert isinstance(accounting.ledger_of(embedded, None), SqliteLedger)
    usage = loaded(usage={"flush_every": "5m"}).usage
    assert accounting.terms_of(embedded, usage) == Terms(flush_s=300.0)
    shared = {"kind": "redis", "url": "redis://127.0.0.1:6379/0", "when_down": "open", "replicas": 3}
    store = loaded(store=shared).store
    assert isinstance(accounting.ledger_of(store, None), RedisLedger)
    assert accounting.terms_of(store, loaded().usage) == Terms(shared=True, open_when_down=True, replicas=3)


async def test_a_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded ledger does without it, so it is an extra."""
    monkeypatch.setitem(sys.modules, "relay.store.redis", None)
    store = loaded(store={"kind": "redis", "url": "redis://127.0.0.1"}).store
    with pytest.raises(ConfigError) as raised:
        accounting.ledger_of(store, None)
    assert raised.value.problems == ["store.kind: redis needs the extra: pip install 'relay[redis]'"]


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"quotas": {"day": {"tokens": 0}}}, "tenants[0].quotas.day.tokens: should be greater than or equal to 1"),
        ({"quotas": {"day": {"money": "-1"}}}, "tenants[0].quotas.day.money: should be greater than or equal to 0"),
        ({"quotas": {"month": {"money": "9000001"}}}, "tenants[0].quotas.month.money: should be less than or equal to"),
        ({"quotas": {"day": {"money": "1e-10"}}}, "tenants[0].quotas.day.money: "),
        ({"quotas": {"day": {"minutes": 1}}}, "tenants[0].quotas.day.minutes: is not a setting (misspelt?)"),
        ({"quotas": {"day": {"audio": 60}}}, "tenants[0].quotas.day.audio: must be a number with a unit"),
        ({"quotas": {"grace": "-1s"}}, "tenants[0].quotas.grace: must be a number with a unit"),
        ({"prices": {"currency": "dollars"}}, "prices.currency: "),
        ({"prices": {"unknown": "gemini-9"}}, 'prices.unknown: there is no row "gemini-9" (there are: free, gemini-'),
        ({"prices": {"models": {"mine": {"input": {"text": 1}}}}}, "prices.models.mine.output: is missing"),
        (
            {"prices": {"models": {"mine": {"input": {"text": -1}, "output": {"text": 1}}}}},
            "prices.models.mine.input.text: should be greater than or equal to 0",
        ),
        (
            {"prices": {"models": {"other": {"input": {"text": 1}, "output": {"text": 1}}}}},
            'prices.models: "other" stands for models without a row',
        ),
        ({"store": {"kind": "redis"}}, "store: needs a url, because its kind is redis"),
        ({"store": {"url": "redis://127.0.0.1"}}, "store: has a url or a password, but its kind is sqlite"),
        (
            {"store": {"kind": "redis", "url": "redis://127.0.0.1", "path": "x"}},
            "store: has a path, but its kind is redis",
        ),
        (
            {"store": {"kind": "redis", "url": "redis://:pw@127.0.0.1"}},
            "store.url: may have no user or password: it goes into store.password",
        ),
        ({"store": {"kind": "redis", "url": "http://127.0.0.1"}}, "store.url: must be a redis://"),
        ({"store": {"settle_every": "5s"}}, "store.settle_every: should be less than or equal to 1"),
        ({"store": {"keep": "30d"}}, "store.keep: should be greater than or equal to 3456000"),
        ({"usage": {"flush_every": "100ms"}}, "usage.flush_every: should be greater than or equal to 1"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_mistakes_have_a_path(sections: dict[str, Any], problem: str) -> None:
    """Each in a line that begins with where it is."""
    (found,) = complaints(**sections)
    assert found.startswith(problem)


def test_a_password_in_the_file_is_refused(tmp_path: Any) -> None:
    """It comes from the environment, or from a file."""
    path = tmp_path / "relay.yaml"
    path.write_text("store: {kind: redis, url: redis://127.0.0.1, password: secret}")
    with pytest.raises(ConfigError) as raised:
        config.load(path, {})
    assert any(line.startswith("store.password: is a secret") for line in raised.value.problems)
