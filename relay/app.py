"""The composition root: settings become objects, objects become listeners, signals become a drain.

Beside `relay.upstream`, its part for the way to Google, nothing else imports `relay.config` and `relay.net` together,
and nobody below receives the whole configuration.
"""

import asyncio
import functools
import gc
import json
import random
import secrets
import signal
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from relay import __version__, accounting, credentials, doorways, log, upstream
from relay import web as pages
from relay.config import Config, ConfigError, PolicyRule, Tenant, secret_of
from relay.config.listening import Listen
from relay.config.sections import Handover, ModelRule, full_model
from relay.core import policy as core
from relay.core.backend import DEVELOPER, Backend
from relay.core.dialling import Pace
from relay.core.handover import Continuity, Order
from relay.core.ledger import LedgerError
from relay.core.limits import Limits
from relay.core.prices import PriceTable
from relay.core.secret import Secret
from relay.metrics import Metrics
from relay.net import admin
from relay.net.accounts import Accounts
from relay.net.admin_api import AdminApi, Entrance, Sight
from relay.net.admission import Gate
from relay.net.diary import Diary, Sources
from relay.net.entrance import Entrance as Door
from relay.net.faults import Faults
from relay.net.handles import HandleSealer
from relay.net.leg import LegLimits
from relay.net.listener import Listener
from relay.net.minting import Desk
from relay.net.pages import Pages
from relay.net.pulse import Pulse
from relay.net.refusals import Refusals
from relay.net.registry import Registry
from relay.net.roster import Roster
from relay.net.server import ALIAS, Admitted, Bounds, Parts, Server
from relay.net.warden import Warden
from relay.scrubber import Scrubber

DEMO_VOICES = ("Kore", "Puck", "Charon", "Fenrir", "Aoede", "Leda", "Orus", "Zephyr")
"""Prebuilt voices the demo page offers."""

_log = structlog.get_logger()

Announce = Callable[[str], None]


class Relay:
    """One relay process: the public listener, the operator's listener, and everything behind them."""

    def __init__(
        self,
        config: Config,
        *,
        demo_upstream: str = "gemini",
        demo_faults: Mapping[str, Callable[[], int]] | None = None,
    ) -> None:
        """`demo_upstream` is what the demo page calls the other end: `gemini` or `simulator`.

        `demo_faults` are what the page may do to that end, by name; each returns how many connections it hit.
        """
        self._config = config
        room = min(config.listen.max_sessions, doorways.socket_budget())
        if room < config.listen.max_sessions:
            _log.warning("the limit on open files admits fewer sessions", sessions=room)
        self.registry = Registry(room)
        """The live sessions."""
        prices = accounting.price_table(config.prices)
        self._metrics = Metrics(CollectorRegistry())
        keys, known = credentials.keys_of(config.tenants)
        self._demo_key = Secret(secrets.token_urlsafe(24))
        if config.demo is not None:
            keys.add(config.demo.tenant, self._demo_key)
        handle_secret = secret_of(config.handles.secret, config.handles.secret_file)
        google_key = secret_of(config.upstream.api_key, config.upstream.api_key_file)
        store_password = secret_of(config.store.password, config.store.password_file)
        self._admin_token = credentials.admin_token_of(config.admin)
        webhook = config.usage.webhook
        webhook_secret = secret_of(webhook.secret, webhook.secret_file) if webhook is not None else None
        secrets_known = (google_key, handle_secret, store_password, self._admin_token, webhook_secret)
        self.scrubber = Scrubber([*known, self._demo_key, *(secret for secret in secrets_known if secret is not None)])
        backend = upstream.backend_of(config.upstream)
        for tenant in config.tenants:
            model = _models(config.policies[tenant.policy].model, backend).default
            self._metrics.declare(tenant.id, prices.of(model).name)
        self._upstream = upstream.dialer(config.upstream, backend, google_key, self.scrubber.learn)
        policies = {name: policy_of(name, rule, backend) for name, rule in config.policies.items()}
        self._tenants = {
            tenant.id: Admitted(
                policies[tenant.policy],
                frozenset(tenant.origins),
                _limits(config, tenant, prices),
                tenant.tickets_from_pages,
            )
            for tenant in config.tenants
        }
        self._keep_books(store_password, webhook_secret)
        tickets = accounting.tickets_of(config.store, self._ledger)
        tokens = credentials.tokens_of(config.tenants, lambda: self.warden.now())
        # Without a token nobody may ask, so there is nobody to tell.
        shared = accounting.roster_of(config.store, self._ledger) if self._admin_token is not None else None
        self._roster = Roster(self.registry, self._tenants, shared, secrets.token_hex(8), __version__)
        chores = [*(one.keys.refresh for one in tokens), self._roster.look]
        self.warden = Warden(tickets, self.registry, self._metrics, time.time, chores)
        """Revokes tickets."""
        self._parts = Parts(
            tenants=self._tenants,
            authenticator=Door(
                keys, tickets, self.warden, [tenant.id for tenant in config.tenants if tenant.keys_in_url], tokens
            ),
            upstream=self._upstream,
            handles=HandleSealer(
                handle_secret or Secret(secrets.token_urlsafe(32)),
                config.handles.lifetime,
                self.warden.now,
                upstream.account_of(config.upstream, google_key),
            ),
            registry=self.registry,
            accounts=self._accounts,
            gate=self._gate,
            desk=Desk(tickets, self.warden, self._metrics, self.warden.now, {}),
            metrics=self._metrics,
            diary=self._diary,
            bounds=bounds_of(config),
            scrubber=self.scrubber,
            random=random.random,
        )
        self._pulse = Pulse(self._metrics.event_loop_lag.observe)
        self._demo_upstream, self._demo_faults = demo_upstream, demo_faults or {}
        self._listeners: list[Listener] = []

    @functools.cached_property
    def throttle(self) -> log.Throttle:
        """Thins the log."""
        return log.Throttle(self._metrics.log_suppressed.inc)

    def _keep_books(self, store_password: Secret | None, webhook_secret: Secret | None) -> None:
        """Make everything that counts what tenants use."""
        config = self._config
        self._ledger = accounting.ledger_of(config.store, store_password)
        self._exports = accounting.exports_of(config.usage, webhook_secret, self._metrics)
        terms = accounting.terms_of(config.store, config.usage)
        recorder = accounting.recorder_of(config.prices, config.usage, self._exports.put)
        quotas = {name: tenant.limits.quotas for name, tenant in self._tenants.items()}
        self._accounts = accounts = Accounts(self._ledger, quotas, terms, recorder, self._metrics)
        self._gate = Gate(self._ledger, accounts, quotas, terms)
        sources = Sources(quotas, lambda name: accounts.account(name).total, self.registry.of_tenant, time.time)
        self._diary = Diary(sources)

    async def start(self) -> dict[str, str]:
        """Bind both listeners; the addresses they got.

        Raises OSError when one can't be bound, ConfigError when the ledger's file can't be opened.
        """
        try:
            await self._accounts.start()
            await self.warden.start()
        except LedgerError:
            raise ConfigError(["store.path: can't be opened, or is not a ledger"]) from None
        await self._exports.start()
        await self._upstream.start()
        self.registry.start()
        self._diary.start()
        self._pulse.start()
        listen = self._config.listen
        # The admin listener comes first and goes last: health must be visible throughout.
        own, public = doorways.of(self._config, self._metrics, Refusals(self._metrics, self._diary))
        operators = admin.application(self.registry, self._gate, self._metrics, lambda: self._exports.degraded, own)
        if self._admin_token is not None:
            self._admin_api(self._admin_token).add_to(operators)
        admin_listener = Listener(operators, own, listen.handshake_timeout)
        self._listeners.append(admin_listener)
        admin_port = await admin_listener.open(self._config.admin.host, self._config.admin.port, None)
        server = Server(self._parts, self._pages(), listen.path_prefix, public)
        listener = Listener(server.application(), public, listen.handshake_timeout)
        self._listeners.append(listener)
        port = await listener.open(listen.host, listen.port, _tls(listen))
        scheme = "https" if listen.tls else "http"
        addresses = {
            "listen": f"{scheme}://{_host(listen.host)}:{port}{listen.path_prefix}",
            "admin": f"http://{_host(self._config.admin.host)}:{admin_port}",
        }
        if self._config.demo is not None:
            addresses["demo"] = f"{addresses['listen']}/"
            self._admit_page(self._config.demo.tenant, {f"{scheme}://{host}:{port}" for host in _own_names(listen)})
        return addresses

    async def stop(self) -> int:
        """Drain, then close everything; how many sessions had to be cut."""
        limits = self._config.limits
        left = await self.registry.drain(limits.drain_timeout, limits.close_timeout)
        self.registry.stop()
        self._diary.stop()
        self._pulse.stop()
        for listener in reversed(self._listeners):
            await listener.close()
        await self._upstream.stop()
        await self.warden.stop()
        await self._accounts.stop()
        await self._exports.stop()
        return left

    async def run(self, announce: Announce, unheeded: Iterable[signal.Signals] = ()) -> None:
        """Serve until SIGTERM or SIGINT, then drain; a second signal ends the process at once.

        Of `unheeded` signals the log takes note and nobody else: by themselves they would end the process.
        """
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _on_signal, stopped, number)
        for number in unheeded:
            loop.add_signal_handler(number, _on_unheeded_signal, number)
        addresses = await self.start()
        announce(json.dumps({"event": "ready", **addresses}))
        await stopped.wait()
        left = await self.stop()
        _log.info("stopped", sessions_cut=left)

    def _admin_api(self, token: Secret) -> AdminApi:
        prices = self._config.prices
        sight = Sight(
            registry=self.registry,
            roster=self._roster,
            tenants=self._tenants,
            accounts=self._accounts,
            ledger=self._ledger,
            diary=self._diary,
            metrics=self._metrics,
            currency=prices.currency,
            prices_as_of=prices.as_of,
        )
        return AdminApi(sight, Entrance(token, pages.operator(), pages.admin_description(__version__)))

    def _admit_page(self, tenant: str, origins: set[str]) -> None:
        """Let the demo page in from the addresses it is served at, which are known once the port is."""
        self._tenants[tenant] = replace(self._tenants[tenant], origins=self._tenants[tenant].origins | origins)

    def _pages(self) -> Pages:
        demo = self._config.demo
        if demo is None:
            return Pages({})
        tenant = next(tenant for tenant in self._config.tenants if tenant.id == demo.tenant)
        return Pages(
            pages.demo(),
            {
                "path": self._config.listen.path_prefix + ALIAS,
                "key": self._demo_key.reveal(),
                "model": _models(self._config.policies[tenant.policy].model, DEVELOPER).default,
                "upstream": self._demo_upstream,
                "voices": DEMO_VOICES,
                "faults": list(self._demo_faults),
            },
            Faults(tenant.id, self._demo_faults) if self._demo_faults else None,
        )


def calm_collector() -> None:
    """Keep what start-up has made out of garbage collection, and have the old generation looked at rarely.

    A session is gone when it ends, without the collector's help; what is young and is not gone is found early all the
    same. But each look at the old generation goes through all that hundreds of live sessions hold, for tens of
    milliseconds in which no call goes on. What accumulates until then, two transports of asyncio's for each session,
    is about 30 MiB at most.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 25)


def policy_of(name: str, rule: PolicyRule, backend: Backend = DEVELOPER) -> core.Policy:
    """Compile one policy of the file for the sessions that run under it."""
    messages = rule.messages
    return core.Policy(
        name,
        _models(rule.model, backend),
        setup=core.SetupRules(rule.enforce, rule.defaults, frozenset(rule.allow), frozenset(rule.deny)),
        messages=core.Messages(
            **messages.model_dump(exclude={"roles", "parts"}),
            roles=frozenset(messages.roles),
            parts=frozenset(messages.parts),
        ),
        behaviour=core.Behaviour(
            strip=rule.on_violation == "strip",
            pass_unknown=rule.unknown_fields == "pass",
            server_text=rule.server_frames == "text",
            announce=rule.continuity_events,
        ),
    )


def _models(rule: ModelRule | str, backend: Backend) -> core.Models:
    model = rule if isinstance(rule, ModelRule) else ModelRule(default=rule)
    return core.Models(
        default=model.default,
        allowed=frozenset(entry if entry == core.ANYTHING else full_model(entry) for entry in model.allow),
        aliases={alias: full_model(target) for alias, target in model.aliases.items()},
        backend=backend,
    )


def bounds_of(config: Config) -> Bounds:
    """What the listener bounds sessions and legs by."""
    limits = config.limits
    common: dict[str, Any] = {
        "high_bytes": limits.buffer,
        "stuck_s": limits.stuck_timeout,
        "close_s": limits.close_timeout,
    }
    return Bounds(
        downstream=LegLimits(**common, ping_s=limits.ping_interval, silence_s=limits.client_silence),
        upstream=LegLimits(**common),
        max_message_bytes=limits.max_message,
    )


def _limits(config: Config, tenant: Tenant, prices: PriceTable) -> Limits:
    limits, quotas = config.limits, accounting.quotas_of(tenant.quotas)
    lengths = [length for length in (limits.session_length, quotas.session_s) if length is not None]
    return Limits(
        setup_s=limits.setup_timeout,
        held_bytes=limits.held,
        session_s=min(lengths, default=None),
        parking_s=config.parking.window,
        parking_bytes=config.parking.buffer,
        pace=Pace(
            connect_s=config.upstream.setup_deadline,
            answer_s=config.upstream.answer_timeout,
            dials_per_minute=config.handover.dials_per_minute,
        ),
        continuity=_continuity(config.handover, upstream.backend_of(config.upstream).transparent),
        quotas=quotas,
        prices=prices,
    )


def _continuity(handover: Handover, transparent: bool) -> Continuity:
    return Continuity(
        rotate_after_s=handover.rotate_after,
        order=Order(handover.order),
        margin_s=handover.margin,
        deadline_s=handover.deadline,
        journal_bytes=handover.journal,
        journal_audio_s=handover.journal_audio,
        stall_after_s=handover.stall_after,
        transparent=transparent,
    )


def _tls(listen: Listen) -> ssl.SSLContext | None:
    if listen.tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(listen.tls.cert, listen.tls.key)
    return context


def _own_names(listen: Listen) -> set[str]:
    return {"127.0.0.1", "localhost", _host(listen.host)}


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _on_unheeded_signal(number: signal.Signals) -> None:
    _log.warning("signal ignored; a change of the configuration needs a restart", signal=number.name)


def _on_signal(stopped: asyncio.Event, number: int) -> None:
    if stopped.is_set():
        raise SystemExit(128 + number)
    stopped.set()
