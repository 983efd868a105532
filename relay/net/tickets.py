"""Tickets on the wire: the body that mints one, its record in the store, and the way back to what it grants.

The JSON is Google's (`auth_tokens`), with everything of ours under `relay`. A ticket's name is 256 random bits; the
store gets its SHA-256 only, and neither the name nor the body ever stands in an exception or a log.
"""

import hashlib
import json
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from relay.core.client_frames import MAX_DEPTH
from relay.core.durations import duration_s
from relay.core.ledger import LedgerError
from relay.core.policy import Policy
from relay.core.prices import NANOS
from relay.core.refusals import Refusal
from relay.core.secret import Secret
from relay.core.tickets import Allotment, Constraint, Grant, Stub, constraint_of

PREFIX = "auth_tokens/"
MAX_LIFE_S = 20 * 3600.0
"""As Google has it."""
LIFE_S = 30 * 60.0
NEW_SESSION_S = 60.0
MAX_BODY_BYTES = 64 * 1024
MAX_USES = 100_000
MAX_LABELS = 16
MAX_WORD_CHARACTERS = 128

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_OWN = {"endUser", "labels", "limits"}
_LIMITS = {"seconds", "tokens", "money", "sessionSeconds"}
_STORED_LIMITS = {"seconds", "tokens", "nanos", "session_s"}
_MOST = 1e9 * NANOS
_SLACK_S = 60.0
"""Between the minter's idea of the store's time and the store's own."""


class MintError(Exception):
    """A body that makes no ticket; the text names the field and quotes no value but field names."""


@dataclass(frozen=True, slots=True)
class Minted:
    """A new ticket, and what the store is to keep of it."""

    name: Secret
    id: str
    stub: Stub
    end_user: str


def id_of(name: Secret) -> str:
    """The SHA-256 of a ticket's name, under which it is stored."""
    return hashlib.sha256(name.reveal().encode("utf-8", "surrogateescape")).hexdigest()


def mint(body: bytes, tenant: str, policy: Policy, now: float) -> Minted:
    """Read a request for a ticket; `now` is the store's time. Raises MintError."""
    asked = _members(_parsed(body), _SPELLINGS, "")
    uses = asked.get("uses", 1)
    if type(uses) is not int or not 0 <= uses <= MAX_USES:
        raise MintError(f"uses: must be an integer from 0 (any number) to {MAX_USES}")
    expires_at = _time(asked, "expireTime", now, LIFE_S)
    new_until = min(_time(asked, "newSessionExpireTime", now, NEW_SESSION_S), expires_at)
    constraint = _constraint(asked, policy)
    own = _members(asked.get("relay", {}), {name: name for name in _OWN}, "relay")
    end_user = _word(own.get("endUser", ""), "relay.endUser")
    record = {
        "tenant": tenant,
        "end_user": end_user,
        "labels": _labels(own.get("labels", {})),
        "limits": _limits(own.get("limits", {})),
        "setup": None if constraint is None else constraint.setup,
        "mask": [] if constraint is None else constraint.mask,
    }
    name = Secret(PREFIX + secrets.token_urlsafe(32))
    stub = Stub(json.dumps(record), uses, new_until, expires_at)
    return Minted(name, id_of(name), stub, end_user)


def grant_of(ticket_id: str, stub: Stub) -> tuple[str, Grant]:
    """The tenant of a stored ticket and what it grants. Raises LedgerError for what `mint` can't have written.

    Others may be able to write where tickets are kept: what comes from there is read as strictly as a request.
    """
    try:
        record = json.loads(stub.record)
        tenant, limits = record["tenant"], record["limits"]
        constraint = constraint_of(record["setup"], ",".join(record["mask"]))
        grant = Grant(
            ticket_id,
            True,
            stub.issued_at,
            stub.expires_at,
            _word(record["end_user"], ""),
            _labels(record["labels"]),
            Allotment(limits.get("seconds"), limits.get("tokens"), limits.get("nanos")),
            limits.get("session_s"),
            None if isinstance(constraint, Refusal) else constraint,
        )
        amounts = [type(amount) in (int, float) and 0 < amount <= _MOST for amount in limits.values()]
        lasts_s = stub.expires_at - stub.issued_at
    except (MintError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise LedgerError("a stored ticket can't be read") from None
    known = limits.keys() <= _STORED_LIMITS and type(tenant) is str and not isinstance(constraint, Refusal)
    if not (known and all(amounts) and 0 <= stub.uses <= MAX_USES and lasts_s <= MAX_LIFE_S + _SLACK_S):
        raise LedgerError("a stored ticket can't be read")
    return tenant, grant


_SPELLINGS = {
    spelling: name
    for name in ("uses", "expireTime", "newSessionExpireTime", "bidiGenerateContentSetup", "fieldMask", "relay")
    for spelling in (name, re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), name))
}


def _parsed(body: bytes) -> Any:
    if not body.strip():
        return {}
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MintError("the body is not valid JSON") from None
    if _depth(tree) > MAX_DEPTH:
        raise MintError(f"the body nests deeper than {MAX_DEPTH} levels")
    return tree


def _depth(tree: Any) -> int:
    """How deep objects and lists nest, counted without recursion: the body is not to be trusted yet."""
    level, depth = [tree], 0
    while level := [
        child
        for node in level
        if isinstance(node, dict | list)
        for child in (node.values() if isinstance(node, dict) else node)
    ]:
        depth += 1
    return depth


def _members(value: Any, spellings: Mapping[str, str], path: str) -> dict[str, Any]:
    """An object's members that are not null, by canonical name."""
    if type(value) is not dict:
        raise MintError(f"{path or 'the body'}: must be an object")
    found: dict[str, Any] = {}
    seen = set()
    for key, item in value.items():
        name = spellings.get(key)
        if name is None:
            shown = "".join(character if character.isprintable() else "?" for character in key[:40])
            raise MintError(f"{path + '.' if path else ''}{shown}: is not a field of a ticket")
        if name in seen:
            raise MintError(f"{name}: is given twice")
        seen.add(name)
        if item is not None:
            found[name] = item
    return found


def _time(asked: Mapping[str, Any], name: str, now: float, default_s: float) -> float:
    text = asked.get(name)
    if text is None:
        return now + default_s
    if type(text) is not str or not _RFC_3339.fullmatch(text):
        raise MintError(f'{name}: must be a time such as "2026-11-22T09:30:00Z"')
    try:
        at = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise MintError(f"{name}: is no time of any calendar") from None
    if not now < at < now + MAX_LIFE_S:
        raise MintError(f"{name}: must be in the future, and less than 20 hours ahead")
    return at


def _constraint(asked: Mapping[str, Any], policy: Policy) -> Constraint | None:
    mask = asked.get("fieldMask", "")
    if type(mask) is not str:
        raise MintError("fieldMask: must be field names with commas between them")
    constraint = constraint_of(asked.get("bidiGenerateContentSetup"), mask)
    if isinstance(constraint, Refusal):
        raise MintError(constraint.detail)
    if constraint is not None:
        # What the policy would refuse from a client it refuses here, whatever it does about it at a client's setup.
        violations = policy.setup(dict(constraint.setup), lambda _handle, _model: None).violations
        if violations:
            path = violations[0].path.removeprefix("setup").removeprefix(".")
            raise MintError(f"bidiGenerateContentSetup.{path} {violations[0].words}")
    return constraint


def _word(value: Any, path: str) -> str:
    if type(value) is not str or len(value) > MAX_WORD_CHARACTERS or not (value.isprintable() and value.isascii()):
        raise MintError(f"{path}: must be printable ASCII of at most {MAX_WORD_CHARACTERS} characters")
    return value


def _labels(value: Any) -> dict[str, str]:
    if type(value) is not dict or len(value) > MAX_LABELS or not all(map(_LABEL.fullmatch, value)):
        raise MintError(f"relay.labels: must be an object of at most {MAX_LABELS} names and texts")
    return {name: _word(text, "relay.labels") for name, text in value.items()}


def _limits(value: Any) -> dict[str, Any]:
    limits = _members(value, {name: name for name in _LIMITS}, "relay.limits")
    found: dict[str, Any] = {}
    for name, stored in (("seconds", "seconds"), ("sessionSeconds", "session_s")):
        if name in limits:
            found[stored] = positive(limits[name], f"relay.limits.{name}")
    if "tokens" in limits:
        found["tokens"] = math.ceil(positive(limits["tokens"], "relay.limits.tokens"))
    if "money" in limits:
        found["nanos"] = math.ceil(positive(limits["money"], "relay.limits.money") * NANOS)
    return found


def positive(value: Any, path: str) -> float:
    """A limit as JSON has it. Raises MintError, which names the path."""
    if type(value) is str:  # proto3 JSON writes durations and big numbers as texts
        value = (
            duration_s(value)
            if value.endswith("s")
            else float(value)
            if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value)
            else None
        )
    if type(value) not in (int, float) or not 0 < value <= 1e9:
        raise MintError(f"{path}: must be a number above 0")
    return float(value)
