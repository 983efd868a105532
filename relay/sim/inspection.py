"""The simulator's inspection endpoint, `/sim/...`: what "Google" received and sent, and faults on demand.

Shows the keys it was given; that is its purpose. Only for the machine it runs on: POST wants JSON, so that no
foreign page can post here, and the Host must be an address or localhost, so that no foreign name can read here.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, Protocol

import orjson
from aiohttp import web

from relay.sim.actions import ACTIONS, Action, with_arguments
from relay.sim.archive import Archive, session_json
from relay.sim.profile import Profile
from relay.sim.record import Recorder, record_json


class Subject(Protocol):
    """What is inspected: a simulator."""

    host: str
    profile: Profile
    archive: Archive
    recorder: Recorder

    def fault(self, action: Action, connection: int | None = None) -> list[int]:
        """Do this to one live connection, or to all; the ids of those it was done to."""
        ...


async def handle(subject: Subject, name: str, request: web.Request) -> web.Response:
    """Answer a request for `/sim/{name}`."""
    if not _trusted(request.host, subject.host):
        return _problem(403, "use an address or localhost as the host")
    found = _ENDPOINTS.get((request.method, name))
    if found is None:
        known = ", ".join(f"{method} /sim/{path}" for method, path in _ENDPOINTS)
        return _problem(404, f"no such endpoint; there are: {known}")
    if request.method == "POST" and request.content_type != "application/json":
        return _problem(415, "send application/json")
    return await found(subject, request)


async def _connections(subject: Subject, request: web.Request) -> web.Response:
    """All remembered connections, or the one given by `?id=`."""
    wanted = request.query.get("id")
    chosen = [r for r in subject.recorder.records if wanted in (None, str(r.id))]
    return _json({"connections": [record_json(record) for record in chosen]})


async def _ledger(subject: Subject, request: web.Request) -> web.Response:
    """All sessions, or the one given by `?session=`."""
    wanted = request.query.get("session")
    return _json({"sessions": [session_json(s) for s in subject.archive if wanted in (None, s.id)]})


async def _profile(subject: Subject, request: web.Request) -> web.Response:
    """The knobs in force."""
    return _json(asdict(subject.profile))


async def _fault(subject: Subject, request: web.Request) -> web.Response:
    """Do something to one connection, or to all: `{"kind": "cut", "connection": 3, ...arguments}`."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return _problem(400, "not JSON")
    if not isinstance(body, dict):
        return _problem(400, "must be an object")
    kind, connection = body.pop("kind", None), body.pop("connection", None)
    if kind not in ACTIONS or kind in ("refuse", "ignore"):
        return _problem(400, f"kind: must be one of {', '.join(ACTIONS)}")
    if connection is not None and type(connection) is not int:
        return _problem(400, "connection: must be the id of a connection")
    action = with_arguments(kind, body, kind)
    if not isinstance(action, Action):
        return _problem(400, "; ".join(action))
    return _json({"connections": subject.fault(action, connection)})


async def _reset(subject: Subject, request: web.Request) -> web.Response:
    """Forget what was recorded and every session that has no connection."""
    subject.recorder.clear()
    subject.archive.clear()
    return _json({})


_ENDPOINTS: dict[tuple[str, str], Callable[[Subject, web.Request], Awaitable[web.Response]]] = {
    ("GET", "connections"): _connections,
    ("GET", "ledger"): _ledger,
    ("GET", "profile"): _profile,
    ("POST", "fault"): _fault,
    ("POST", "reset"): _reset,
}


def _trusted(host: str, own: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name in ("localhost", own):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _json(body: Any) -> web.Response:
    return web.Response(body=orjson.dumps(body, option=orjson.OPT_INDENT_2), content_type="application/json")


def _problem(status: int, words: str) -> web.Response:
    return web.Response(status=status, body=orjson.dumps({"error": words}), content_type="application/json")
