"""`relay token --url` and `relay revoke`: a tenant's backend on the command line, against a running relay."""

import argparse
import json
import os
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from relay.console import opener

WAIT_S = 15.0


class TicketError(Exception):
    """The relay said no, or could not be asked; the text says why and holds no credential."""


def add_mint_arguments(parser: argparse.ArgumentParser) -> None:
    """What describes a ticket."""
    _add_relay(parser)
    parser.add_argument("--uses", type=int, metavar="N", help="sessions that may begin with it (1); 0 for any number")
    parser.add_argument("--expires", type=float, metavar="SECONDS", help="until it is worthless (1800)")
    parser.add_argument("--new-sessions", type=float, metavar="SECONDS", help="until no session may begin (60)")
    parser.add_argument("--end-user", metavar="ID", help="whom it is for")
    parser.add_argument("--label", action="append", default=[], metavar="NAME=TEXT", help="may be repeated")
    parser.add_argument("--seconds", type=float, metavar="N", help="limit of all its sessions together")
    parser.add_argument("--tokens", type=int, metavar="N", help="limit of all its sessions together")
    parser.add_argument("--money", metavar="AMOUNT", help="limit of all its sessions together, such as 0.25")
    parser.add_argument("--session-seconds", type=float, metavar="N", help="limit of each session")
    parser.add_argument("--setup", type=Path, metavar="FILE", help="JSON file with the setup it fixes")


def add_revoke_arguments(parser: argparse.ArgumentParser) -> None:
    """What names the tickets to revoke."""
    _add_relay(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ticket-file", type=Path, metavar="FILE", help="file with one ticket's name")
    what.add_argument("--end-user", metavar="ID", help="all of one end user")
    what.add_argument("--all", action="store_true", help="all of the tenant")


def _add_relay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", metavar="URL", help="a running relay; the tenant's key is in RELAY_KEY or --key-file")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="file with the tenant's key")


def mint(options: argparse.Namespace) -> dict[str, Any]:
    """Ask for a ticket; the relay's answer. Raises TicketError."""
    body: dict[str, Any] = {"uses": options.uses, "relay": _own(options)}
    now = datetime.now(UTC)
    for name, after in (("expireTime", options.expires), ("newSessionExpireTime", options.new_sessions)):
        if after is not None:
            body[name] = (now + timedelta(seconds=after)).isoformat()
    if options.setup is not None:
        try:
            body["bidiGenerateContentSetup"] = json.loads(options.setup.read_text("utf-8"))
        except ValueError:
            raise TicketError(f"{options.setup}: is not JSON") from None
    return _post(options, "", body)


def revoke(options: argparse.Namespace) -> dict[str, Any]:
    """Revoke; the relay's answer. Raises TicketError."""
    if options.ticket_file is not None:
        return _post(options, ":revoke", {"name": options.ticket_file.read_text("utf-8").strip()})
    return _post(options, ":revoke", {"all": True} if options.all else {"endUser": options.end_user})


def _own(options: argparse.Namespace) -> dict[str, Any]:
    labels = dict(label.partition("=")[::2] for label in options.label)
    limits = {
        "seconds": options.seconds,
        "tokens": options.tokens,
        "money": options.money,
        "sessionSeconds": options.session_seconds,
    }
    return {"endUser": options.end_user, "labels": labels, "limits": limits}


def _post(options: argparse.Namespace, what: str, body: dict[str, Any]) -> dict[str, Any]:
    key = options.key_file.read_text("utf-8").strip() if options.key_file else os.environ.get("RELAY_KEY", "")
    if not options.url or not options.url.startswith(("http://", "https://")):
        raise TicketError("--url: name a relay, such as https://relay.example.com")
    if not key:
        raise TicketError("the tenant's key is missing: set RELAY_KEY, or name a --key-file")
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        f"{options.url.rstrip('/')}/v1/auth_tokens{what}",
        data=json.dumps(body).encode(),
        headers={"x-goog-api-key": key, "Content-Type": "application/json"},
        method="POST",
    )
    try:
        with opener().open(request, timeout=WAIT_S) as response:  # which takes the key nowhere else
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        raise TicketError(f"the relay refused ({error.code}): {_words(error)}") from None
    except (OSError, ValueError):
        raise TicketError("the relay can't be reached, or is none") from None


def _words(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "no reason given"
