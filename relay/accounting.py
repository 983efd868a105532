"""Settings become prices, quotas and a ledger: the part of the composition root that deals with money."""

import importlib
import random
import time
from collections.abc import Callable

from relay.config import ConfigError
from relay.config.accounting import Budget, ModelPrice, Prices, Quotas, Store, UsageRecords
from relay.config.price_list import PRICE_LIST
from relay.core import budget as core
from relay.core.ledger import Allowance, Ledger, Measure
from relay.core.prices import FREE, NANOS, OTHER_MODEL, Price, PriceTable
from relay.core.roster import RosterStore
from relay.core.secret import Secret
from relay.core.tickets import TicketStore
from relay.core.usage import Semantics
from relay.core.windows import Window
from relay.metrics import Metrics
from relay.net.books import Terms
from relay.net.exports import Exports, Lane
from relay.net.records import Export, Recorder
from relay.net.spool import Spool
from relay.net.usage_file import UsageFile
from relay.net.webhook import Webhook, key_of
from relay.store.sqlite import SqliteLedger
from relay.store.sqlite_file import MEMORY
from relay.store.sqlite_tickets import SqliteTickets

LONGEST_DISK_PAUSE_S = 10.0
"""Between two attempts to write to a file: trying costs nobody anything."""
SHORTEST_SECRET_BYTES = 16


def price_table(prices: Prices) -> PriceTable:
    """The list that the relay comes with, and what the file adds to it or replaces."""
    listed = {name: ModelPrice.model_validate(row) for name, row in PRICE_LIST.items()}
    rows = {name: _price(name, row) for name, row in (listed | prices.models).items()}
    if prices.unknown == "free":
        return PriceTable(rows, FREE)
    chosen = rows[prices.unknown]
    return PriceTable(rows, Price(OTHER_MODEL, chosen.input, chosen.output, chosen.semantics))


def _price(name: str, row: ModelPrice) -> Price:
    return Price(name, row.input.by_modality(), row.output.by_modality(), Semantics(row.usage))


def quotas_of(quotas: Quotas) -> core.Quotas:
    """What one tenant may use."""
    return core.Quotas(
        concurrent_sessions=quotas.concurrent_sessions,
        starts_per_minute=quotas.starts_per_minute,
        session_s=quotas.session_length,
        idle_s=quotas.idle_after,
        grace_s=quotas.grace,
        wrap_up=quotas.wrap_up or "",
        allowances=(*_allowances(Window.DAY, quotas.day), *_allowances(Window.MONTH, quotas.month)),
        messages_per_second=quotas.messages_per_second,
        bytes_per_second=quotas.bytes_per_second,
        audio_speed=quotas.audio_speed,
        burst_s=quotas.burst,
    )


def _allowances(window: Window, budget: Budget) -> list[Allowance]:
    limits = {
        Measure.TOKENS: budget.tokens,
        Measure.AUDIO: None if budget.audio is None else int(budget.audio * 1000),
        Measure.MONEY: None if budget.money is None else int(budget.money * NANOS),
    }
    return [Allowance(window, measure, limit) for measure, limit in limits.items() if limit is not None]


def ledger_of(store: Store, password: Secret | None) -> Ledger:
    """The ledger of the settings. Raises ConfigError when its client is not installed."""
    if store.kind == "sqlite":
        return SqliteLedger(store.path or MEMORY, store.keep, time.time)
    try:  # the client is an extra of the package, which the embedded ledger does without
        module = importlib.import_module("relay.store.redis")
    except ModuleNotFoundError:
        raise ConfigError(["store.kind: redis needs the extra: pip install 'relay[redis]'"]) from None
    ledger: Ledger = module.RedisLedger(store.url, password, store.keep)
    return ledger


def tickets_of(store: Store, ledger: Ledger) -> TicketStore:
    """Where tickets are kept: beside the ledger."""
    if store.kind == "sqlite":
        return SqliteTickets(store.path or MEMORY, _steady())
    tickets: TicketStore = importlib.import_module("relay.store.redis_tickets").RedisTickets(ledger)
    return tickets


def roster_of(store: Store, ledger: Ledger) -> RosterStore | None:
    """Where replicas tell each other of their sessions, if they share anything."""
    if store.kind == "sqlite":
        return None
    roster: RosterStore = importlib.import_module("relay.store.redis_roster").RedisRoster(ledger)
    return roster


def _steady() -> Callable[[], float]:
    """The time of day as it was at the start, carried on by a clock that nobody sets and no suspend stops."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    ahead_s = time.time() - time.clock_gettime(clock)
    return lambda: time.clock_gettime(clock) + ahead_s


def terms_of(store: Store, usage: UsageRecords) -> Terms:
    """How the process deals with its ledger."""
    return Terms(
        shared=store.kind == "redis",
        settle_s=store.settle_every,
        open_when_down=store.when_down == "open",
        replicas=store.replicas,
        flush_s=usage.flush_every,
    )


def recorder_of(prices: Prices, usage: UsageRecords, export: Export) -> Recorder:
    """Who writes usage records; `export` takes them to places beside the log."""
    return Recorder(prices.currency, prices.as_of, time.time, export, to_log=usage.log)


def exports_of(usage: UsageRecords, secret: Secret | None, metrics: Metrics) -> Exports:
    """The places beside the log; `secret` is the webhook's. Raises ConfigError when it can't sign with it."""
    lanes = []
    if usage.file is not None:
        file = UsageFile(usage.file.path, usage.file.max_size, usage.file.keep)
        lanes.append(Lane(file, Spool(usage.file.spool), LONGEST_DISK_PAUSE_S))
    if usage.webhook is not None:
        assert secret is not None, "relay.config asks for one"
        rule = usage.webhook
        webhook = Webhook(rule.url, _signing_key(secret), rule.timeout, time.time, rule.batch, rule.private_network)
        lanes.append(Lane(webhook, Spool(rule.spool), rule.longest_pause))
    return Exports(lanes, metrics, random.random)


def _signing_key(secret: Secret) -> bytes:
    try:
        key = key_of(secret.reveal())
    except ValueError as error:
        raise ConfigError([f"usage.webhook.secret: {error}"]) from None
    if len(key) < SHORTEST_SECRET_BYTES:
        raise ConfigError([f"usage.webhook.secret: has less than {SHORTEST_SECRET_BYTES} bytes"])
    return key
