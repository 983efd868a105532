"""The `relay` command: results to standard output, as one JSON line where scripts read them; mistakes to the other."""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import resource
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path

from pydantic import SecretStr

from relay import __version__, config, console, log, sim, ticket_cli
from relay.app import Relay, calm_collector
from relay.config import Config, ConfigError
from relay.core.secret import Secret
from relay.sim import profile as sim_profile
from relay.sim import scenario as sim_scenario
from relay.sim import server as sim_server
from relay.sim.actions import Action

try:
    from uvloop import new_event_loop
except ImportError:  # pyproject.toml asks for it on Linux only
    from asyncio import new_event_loop  # type: ignore[assignment]

EXIT_CONFIG = 78  # sysexits.h: EX_CONFIG
EXIT_UNAVAILABLE = 69  # sysexits.h: EX_UNAVAILABLE


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    # As the first process of a container we would not be ended by SIGTERM before the relay's own handler is there.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return EXIT_CONFIG
    except console.ConsoleError as error:
        print(f"relay: {error}", file=sys.stderr)
        return error.exit_code
    except ticket_cli.TicketError as error:
        print(f"relay: {error}", file=sys.stderr)
        return EXIT_UNAVAILABLE
    except OSError as error:
        print(f"relay: {error.strerror or 'the system refused'}: {error.filename or 'address'}", file=sys.stderr)
        return EXIT_UNAVAILABLE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="relay", description="A WebSocket relay for Google's Gemini Live API: hides the key, enforces the setup."
    )
    parser.add_argument("--version", action="version", version=f"relay {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the relay")
    _add_set(serve)
    serve.add_argument("--config", type=Path, required=True, metavar="FILE", help="relay.yaml")
    serve.set_defaults(run=_serve)

    demo = commands.add_parser("demo", help="run the relay with its demo page, on the simulator unless a key is set")
    _add_set(demo)
    demo.set_defaults(run=_demo)

    simulator = commands.add_parser("sim", help="run the Gemini Live simulator")
    simulator.add_argument("--host", default="127.0.0.1", help="address to bind (127.0.0.1)")
    simulator.add_argument("--port", type=int, default=0, help="TCP port; a free one unless given")
    simulator.add_argument("--scenario", type=Path, metavar="FILE", help="YAML file with scripted replies and faults")
    sim_profile.add_arguments(simulator)
    simulator.set_defaults(run=_sim)

    check = commands.add_parser("check", help="check a relay.yaml and print what it means, secrets masked")
    check.add_argument("file", type=Path, nargs="?", metavar="FILE", help="relay.yaml")
    check.add_argument("--json-schema", action="store_true", help="print the JSON Schema of relay.yaml instead")
    _add_set(check)
    check.set_defaults(run=_check)

    listed = commands.add_parser("sessions", help="list a running relay's sessions, or end one")
    _add_console(listed)
    listed.add_argument("--end", metavar="ID", help="end this session now instead")
    listed.set_defaults(run=_sessions)

    used = commands.add_parser(
        "usage", help="list what a running relay's tenants used, this month unless said otherwise"
    )
    _add_console(used)
    used.add_argument("--from", dest="first", metavar="DAY", help="first day, such as 2026-11-01 (UTC)")
    used.add_argument("--to", dest="last", metavar="DAY", help="last day; today unless given")
    used.add_argument("--by", choices=("day", "model", "session"), default="day", help="what a row is (day)")
    used.set_defaults(run=_usage)

    token = commands.add_parser(
        "token", help="make a tenant key and its hash for relay.yaml; with --url, a ticket of a running relay"
    )
    ticket_cli.add_mint_arguments(token)
    token.set_defaults(run=_token)

    revoke = commands.add_parser("revoke", help="revoke tickets of a running relay, and end their sessions")
    ticket_cli.add_revoke_arguments(revoke)
    revoke.set_defaults(run=_revoke)
    return parser


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override one key of the file; may be repeated"
    )


def _add_console(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", default="http://127.0.0.1:9090", help="the relay's admin listener (http://127.0.0.1:9090)"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help=f"holds the admin token; else {_TOKEN_VARIABLE} does"
    )
    parser.add_argument("--tenant", metavar="ID", help="this tenant only")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="the API's own answer")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="every number, for a spreadsheet")
    parser.set_defaults(form="table")


_TOKEN_VARIABLE = "RELAY_ADMIN_TOKEN"  # noqa: S105 - a name, not a token


def _announce(line: str) -> None:
    """Say that everything listens."""
    calm_collector()
    print(line, flush=True)


def _run(main: Callable[[], object]) -> None:
    """Run a coroutine function, on uvloop where there is one: docs/performance.md shows what that saves."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold every key
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())  # type: ignore[arg-type]


def _serve(options: argparse.Namespace) -> int:
    settings = config.load(options.config, os.environ, options.set)
    relay = Relay(settings)
    log.configure(settings.log.level, settings.log.format, relay.scrubber, relay.throttle)
    _run(lambda: relay.run(_announce, _UNHEEDED))
    return 0


_UNHEEDED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What other servers take for an order, and what would kill this one; the demo ends with its terminal."""


def _demo(options: argparse.Namespace) -> int:
    has_key = bool(os.environ.get("GEMINI_API_KEY"))
    with resources.as_file(resources.files("relay").joinpath("demo.yaml")) as file:
        settings = config.load(file, os.environ if has_key else _SIMULATED, options.set)
    if settings.admin.token is None and settings.admin.token_file is None:
        admin = settings.admin.model_copy(update={"token": SecretStr(secrets.token_urlsafe(24))})
        settings = settings.model_copy(update={"admin": admin})
    _run(lambda: _run_demo(settings, simulated=not has_key))
    return 0


_SIMULATED: Mapping[str, str] = {"GEMINI_API_KEY": "simulator"}
"""The demo's environment when there is no key: the simulator takes any."""

_DEMO_FAULTS: Mapping[str, Action] = {
    "cut": Action("cut", {"reset": True}),
    "go_away": Action("go_away", {"time_left": 50.0}),
}
"""What the demo page may do to every call at the simulator: a TCP reset, or Google's notice (seconds) of a move."""


async def _run_demo(settings: Config, *, simulated: bool) -> None:
    async with contextlib.AsyncExitStack() as stack:
        faults: dict[str, Callable[[], int]] = {}
        if simulated:
            simulator = sim.Simulator(sim.Profile())
            await simulator.start()
            stack.push_async_callback(simulator.stop)
            upstream = settings.upstream.model_copy(update={"base_url": simulator.url})
            settings = settings.model_copy(update={"upstream": upstream})
            faults = {kind: partial(_hit, simulator, action) for kind, action in _DEMO_FAULTS.items()}
        relay = Relay(settings, demo_upstream="simulator" if simulated else "gemini", demo_faults=faults)
        log.configure(settings.log.level, settings.log.format, relay.scrubber, relay.throttle)

        def announce(line: str) -> None:
            _announce(line)
            addresses = json.loads(line)
            print(f"Open {addresses['demo']} in a browser; Ctrl-C ends it.", file=sys.stderr, flush=True)
            if settings.admin.token is not None:
                token = settings.admin.token.get_secret_value()
                print(
                    f"The operator's page is {addresses['admin']}/admin/, its token {token}",
                    file=sys.stderr,
                    flush=True,
                )

        await relay.run(announce)


def _hit(simulator: sim.Simulator, action: Action) -> int:
    return len(simulator.fault(action))


def _sim(options: argparse.Namespace) -> int:
    try:
        scenario = sim_scenario.load(options.scenario) if options.scenario else None
    except sim_scenario.ScenarioError as error:
        raise ConfigError(error.problems) from None
    _run(lambda: sim_server.serve(sim_profile.from_arguments(options), scenario, options.host, options.port, _announce))
    return 0


def _check(options: argparse.Namespace) -> int:
    if options.json_schema:
        print(json.dumps(config.json_schema(), indent=2))
        return 0
    if options.file is None:
        raise ConfigError(["relay check: name a FILE"])
    print(config.shown(config.load(options.file, os.environ, options.set)), end="")
    return 0


def _console(options: argparse.Namespace) -> console.Client:
    secret = config.secret_of(None, options.token_file) if options.token_file else None
    token = secret or Secret(os.environ.get(_TOKEN_VARIABLE, ""))
    if not token:
        raise ConfigError([f"relay {options.command}: set {_TOKEN_VARIABLE}, or name a --token-file"])
    return console.Client(options.url, token)


def _sessions(options: argparse.Namespace) -> int:
    client = _console(options)
    print(console.end(client, options.end) if options.end else console.sessions(client, options.tenant, options.form))
    return 0


def _usage(options: argparse.Namespace) -> int:
    asked = {"tenant": options.tenant, "from": options.first, "to": options.last, "by": options.by}
    print(console.usage(_console(options), asked, options.form))
    return 0


def _token(options: argparse.Namespace) -> int:
    if options.url is not None:
        print(json.dumps(ticket_cli.mint(options)))
        return 0
    key = f"relay_{secrets.token_urlsafe(32)}"
    print(json.dumps({"key": key, "hash": f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"}))
    return 0


def _revoke(options: argparse.Namespace) -> int:
    print(json.dumps(ticket_cli.revoke(options)))
    return 0
