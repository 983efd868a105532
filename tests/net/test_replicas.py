"""Two relay processes on one Redis: what one says of a ticket holds at the other, whatever their clocks show."""

import asyncio
import calendar
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.net.conftest import WAIT_S, end_of
from tests.net.hostile_tokens import AUDIENCE, ISSUER, KEYS, good
from tests.store.servers import RedisServer, redis_server
from tests.support import missing, relay_process

pytestmark = pytest.mark.timeout(60)

KEY, OTHER_KEY = "relay_tenant-key-0123456789", "relay_other-tenant-key-987654"
SKEW_S = 300
USED_UP = (4401, "the ticket admits no new session: it was used as often as it may be")
LATE = (4401, "the ticket admits no new session: its time for new sessions is over")


def _faketime(**settings: str) -> dict[str, str]:
    """Environment of a process that is to see another time of day."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("libfaketime")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", **settings}


@dataclass(frozen=True, slots=True)
class Replicas:
    """Where they listen, and what they share."""

    urls: list[str]
    server: RedisServer


def _config(folder: Path, simulator: str, store: dict[str, Any]) -> Path:
    for name, key in (("google", "google-key-0123456789"), ("acme", KEY), ("other", OTHER_KEY)):
        (folder / f"{name}.key").write_text(key)
    (folder / "handles.key").write_text("one secret for all replicas")
    tree: dict[str, Any] = {
        "listen": {"port": 0},
        "admin": {"port": 0},
        "upstream": {"base_url": simulator, "api_key_file": str(folder / "google.key")},
        "policies": {"any": {"model": "models/gemini-3.8-live", "allow": ["*"]}},
        "tenants": [
            {"id": name, "key_files": [str(folder / f"{name}.key")], "policy": "any"} for name in ("acme", "other")
        ],
        "handles": {"secret_file": str(folder / "handles.key")},
        "store": store,
        "limits": {"drain_timeout": "1s"},
        "log": {"format": "json", "level": "warning"},
    }
    (folder / "jwks.json").write_text(json.dumps(KEYS))
    provider = {"issuer": ISSUER, "audience": AUDIENCE, "keys_file": str(folder / "jwks.json"), "leeway": "1s"}
    tree["tenants"][0]["jwt"] = provider
    file = folder / "relay.yaml"
    file.write_text(json.dumps(tree))
    return file


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Gemini's stand-in, for all of them."""
    log = tmp_path_factory.mktemp("simulator") / "log"
    with relay_process(log, "sim", "--profile", "instant") as ready:
        yield ready["listen"]


@pytest.fixture(scope="module")
def replicas(simulator: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Two processes: the clock of one is five minutes ahead of the world, and that of the other behind."""
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        server = stack.enter_context(redis_server())
        file = _config(folder, simulator, {"kind": "redis", "url": server.url})
        urls = []
        for number, skew_s in enumerate((SKEW_S, -SKEW_S)):
            with pytest.MonkeyPatch.context() as patch:
                for name, value in _faketime(FAKETIME=f"{skew_s:+d}s").items():
                    patch.setenv(name, value)
                running = relay_process(folder / f"{number}.log", "serve", "--config", str(file))
                urls.append(stack.enter_context(running)["listen"])
        yield Replicas(urls, server)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client's connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as made:
        yield made


async def _post(
    http: aiohttp.ClientSession, url: str, body: dict[str, Any], what: str = "", key: str = KEY
) -> tuple[int, dict[str, Any]]:
    async with http.post(f"{url}/v1/auth_tokens{what}", json=body, headers={"x-goog-api-key": key}) as answer:
        return answer.status, await answer.json()


async def _mint(http: aiohttp.ClientSession, url: str, key: str = KEY, **body: Any) -> str:
    status, answer = await _post(http, url, body, key=key)
    assert status == 200, answer
    return str(answer["name"])


async def _begin(
    http: aiohttp.ClientSession, url: str, ticket: str, resumption: dict[str, Any] | None = None
) -> tuple[aiohttp.ClientWebSocketResponse | None, Any]:
    """A session by ticket: its socket and the answer to its setup, the close, or the status of the refusal."""
    try:
        socket = await http.ws_connect(f"{url}/v1/live", headers={"x-goog-api-key": ticket})
    except aiohttp.WSServerHandshakeError as refused:
        return None, refused.status
    await socket.send_json({"setup": {"sessionResumption": resumption} if resumption is not None else {}})
    message = await socket.receive(timeout=WAIT_S)
    if isinstance(message.data, int):
        return None, (message.data, message.extra)
    return socket, json.loads(message.data)


DONE: dict[str, Any] = {"setupComplete": {}}


@pytest.mark.threat("B9", "E8")
async def test_of_100_at_two_replicas_exactly_one_gets_in(replicas: Replicas, http: aiohttp.ClientSession) -> None:
    """The ticket was made at either of them; afterwards it is used up at both."""
    for maker in replicas.urls:
        ticket = await _mint(http, maker)
        begun = await asyncio.gather(*(_begin(http, replicas.urls[number % 2], ticket) for number in range(100)))
        answers = Counter(json.dumps(answer) for _, answer in begun)
        assert answers == {json.dumps(DONE): 1, json.dumps(USED_UP): 99}
        for url in replicas.urls:
            assert (await _begin(http, url, ticket))[1] == USED_UP


@pytest.mark.threat("B8", "E8")
@pytest.mark.parametrize("by", ["name", "endUser", "all"])
async def test_what_is_revoked_at_one_ends_at_both(replicas: Replicas, http: aiohttp.ClientSession, by: str) -> None:
    """Ticket, end user or tenant, ordered at either: live sessions end within 10 s, the ticket opens no other one."""
    for order, maker in (replicas.urls, replicas.urls[::-1]):
        ticket = await _mint(http, maker, uses=0, relay={"endUser": "eva"})
        stranger = await _mint(http, maker, OTHER_KEY, uses=0, relay={"endUser": "eva"})
        sockets = [(await _begin(http, url, ticket))[0] for url in replicas.urls]
        keyed = [(await _begin(http, url, KEY))[0] for url in replicas.urls]
        untouched, _ = await _begin(http, order, stranger)
        began = time.monotonic()
        body = {by: {"name": ticket, "endUser": "eva", "all": True}[by]}
        assert (await _post(http, order, body, ":revoke"))[0] == 200
        for socket in [*sockets, *(keyed if by == "all" else [])]:
            assert socket is not None
            assert await end_of(socket) == (4401, "access was revoked")
        assert time.monotonic() - began < 10.0
        if by != "all":
            assert not any(socket is None or socket.closed for socket in keyed)
        for url in replicas.urls:
            assert (await _begin(http, url, ticket))[1] == 401
            assert (await _begin(http, url, await _mint(http, url, relay={"endUser": "eva"})))[1] == DONE
        assert untouched is not None
        assert not untouched.closed


@pytest.mark.threat("B7", "E8")
async def test_a_ticket_lives_as_long_as_it_says(replicas: Replicas, http: aiohttp.ClientSession) -> None:
    """By true time: no new session after its time for that, and at its end the live one is closed within 5 s."""

    async def live(maker: str, user: str) -> None:
        now = time.time()
        ticket = await _mint(http, maker, uses=0, newSessionExpireTime=_at(now + 1.5), expireTime=_at(now + 4.5))
        socket, answer = await _begin(http, user, ticket)
        assert answer == DONE
        while (last := (await _begin(http, user, ticket))[1]) == DONE:
            assert time.time() < now + WAIT_S
            await asyncio.sleep(0.1)
        assert last == LATE
        assert now + 1.4 < time.time() < now + 4.4
        assert socket is not None
        assert await end_of(socket) == (4401, "the ticket or token has expired")
        assert now + 4.4 < time.time() < now + 4.5 + 5.0
        assert (await _begin(http, user, ticket))[1] == 401

    await asyncio.gather(live(*replicas.urls), live(*replicas.urls[::-1]))


@pytest.mark.threat("B7", "E8")
async def test_a_token_lives_as_long_as_it_says(replicas: Replicas, http: aiohttp.ClientSession) -> None:
    """Both go by one clock: what is valid is so at both, and what is not at none; live sessions end in time."""
    now = int(time.time())

    async def live(url: str) -> None:
        assert (await _begin(http, url, good(iat=now - 60, exp=now - 30)))[1] == 401
        assert (await _begin(http, url, good(iat=now + 60, exp=now + 90)))[1] == 401
        assert (await _begin(http, url, good(iat=now, exp=now + 60)))[1] == DONE
        expires = int(time.time()) + 2
        socket, answer = await _begin(http, url, good(iat=now, exp=expires))
        assert answer == DONE
        assert socket is not None
        assert await end_of(socket) == (4401, "the ticket or token has expired")
        assert expires + 1 - 0.1 < time.time() < expires + 1 + 5.0

    await asyncio.gather(*map(live, replicas.urls))


@pytest.mark.threat("E6", "E8")
async def test_a_handle_leads_back_at_the_other_one_for_its_owner_only(
    replicas: Replicas, http: aiohttp.ClientSession
) -> None:
    """Another user, another ticket, another tenant: the same words as for a handle that never was."""
    one, other = replicas.urls
    ticket = await _mint(http, one, uses=1, relay={"endUser": "eva"})
    socket, _ = await _begin(http, one, ticket, {})
    assert socket is not None
    await socket.send_json({"clientContent": {"turns": [{"parts": [{"text": "hi"}]}], "turnComplete": True}})
    handle, answered = "", False
    async with asyncio.timeout(WAIT_S):
        while not (handle and answered):
            message = json.loads((await socket.receive()).data)
            if message.get("serverContent", {}).get("turnComplete"):
                handle, answered = "", True
            handle = message.get("sessionResumptionUpdate", {}).get("newHandle", "") or handle
    await socket.close()
    strangers = [
        await _mint(http, other, relay={"endUser": "adam"}),
        await _mint(http, other),
        await _mint(http, other, OTHER_KEY, relay={"endUser": "eva"}),
        OTHER_KEY,
        KEY,
    ]
    answers = [(await _begin(http, other, stranger, {"handle": handle}))[1] for stranger in strangers]
    invented = "A" * len(handle)
    answers += [(await _begin(http, other, KEY, {"handle": invented}))[1]]
    assert len(set(answers)) == 1
    assert answers[0][0] == 1008
    again, answer = await _begin(http, other, ticket, {"handle": handle})
    assert answer == DONE, "its owner comes back, with a ticket that was used up"
    assert (await _begin(http, other, ticket))[1] == USED_UP
    assert again is not None
    await again.close()
    assert (await _post(http, one, {"name": ticket}, ":revoke"))[0] == 200
    assert (await _begin(http, other, ticket, {"handle": handle}))[1] == 401, "and nobody with one that was taken back"


@pytest.mark.threat("E6", "E9")
async def test_redis_holds_no_ticket_and_forgets_what_it_holds(replicas: Replicas, http: aiohttp.ClientSession) -> None:
    """Hashes instead of names, a time to live on every key, and no key for anything that a stranger sends."""
    with replicas.server.client() as client:
        ticket = await _mint(http, replicas.urls[0], relay={"endUser": "a:b{c}\\n*", "labels": {"a": "{x}:y"}})
        assert (await _begin(http, replicas.urls[1], ticket))[1] == DONE
        held = [(key, client.pttl(key)) for key in client.scan_iter()]
        assert [key for key, left_ms in held if left_ms <= 0] == []
        secret = ticket.removeprefix("auth_tokens/")
        assert secret not in json.dumps([_dumped(client, key) for key, _ in held])
        before = _of_tickets(client)
        for name in ("auth_tokens/x", "auth_tokens/a:{b}:c", "auth_tokens/*", "auth_tokens/" + "A" * 43, "x:{y}:z"):
            for url in replicas.urls:
                assert (await _begin(http, url, name))[1] == 401
        assert _of_tickets(client) <= before, "usage of the sessions before may come yet"


@pytest.mark.threat("E9")
async def test_keys_of_tickets_are_gone_with_them(replicas: Replicas, http: aiohttp.ClientSession) -> None:
    """A hundred tickets, some of them used: when their time is over the server holds as many keys of them as before."""
    with replicas.server.client() as client:
        before = _of_tickets(client)
        ends = _at(time.time() + 2.0)
        limits = {"limits": {"seconds": 60}}
        tickets = [await _mint(http, replicas.urls[n % 2], expireTime=ends, relay=limits) for n in range(100)]
        await asyncio.gather(*(_begin(http, replicas.urls[n % 2], ticket) for n, ticket in enumerate(tickets[:20])))
        assert len(_of_tickets(client) - before) == 100 + 20 + 20, "tickets, uses and what was spent"
        deadline = time.monotonic() + WAIT_S
        while _of_tickets(client) - before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


def _of_tickets(client: Any) -> set[str]:
    return {key for key in client.scan_iter() if "{!" in key}


def _dumped(client: Any, key: str) -> Any:
    readers = {"hash": client.hgetall, "set": client.smembers, "zset": lambda k: client.zrange(k, 0, -1)}
    return [key, repr(readers.get(client.type(key), client.get)(key))]


def _at(unix_s: float) -> str:
    whole, part = divmod(unix_s, 1)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f"{part:.3f}"[1:] + "Z"


@pytest.mark.threat("E8")
async def test_a_wall_clock_that_jumps_ends_nothing(
    simulator: str, tmp_path: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour ahead, then two back, under one relay: its session goes on, its ticket is good and ends in time."""
    clock = tmp_path / "clock"
    clock.write_text("+0s")
    for name, value in _faketime(FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_CACHE_DURATION="1").items():
        monkeypatch.setenv(name, value)
    file = _config(tmp_path, simulator, {"path": str(tmp_path / "usage.db")})
    with relay_process(tmp_path / "log", "serve", "--config", str(file)) as ready:
        url = ready["listen"]
        ticket = await _mint(http, url, uses=0)
        lasting, _ = await _begin(http, url, ticket)
        expires = time.time() + 3.0
        ending, _ = await _begin(http, url, await _mint(http, url, expireTime=_at(expires)))
        assert lasting is not None
        assert ending is not None
        ended = asyncio.create_task(_ended(ending))
        for jump in ("+3600s", "-3600s"):
            clock.write_text(jump)
            async with asyncio.timeout(WAIT_S):  # until the process believes it
                while abs(await _wall_clock(http, ready["admin"]) - time.time() - float(jump[:-1])) > 60:
                    await asyncio.sleep(0.05)
            with pytest.raises(TimeoutError):
                await lasting.receive(timeout=1.3)  # more than one look of the watch
            assert (await _begin(http, url, ticket))[1] == DONE
        reason, at = await ended
        assert reason == (4401, "the ticket or token has expired")
        assert expires - 0.1 < at < expires + 5.0


async def _ended(socket: aiohttp.ClientWebSocketResponse) -> tuple[tuple[int | None, str], float]:
    reason = await end_of(socket)
    return reason, time.time()


async def _wall_clock(http: aiohttp.ClientSession, admin: str) -> float:
    """The time of day as the process sees it: aiohttp writes it into each answer."""
    async with http.get(f"{admin}/healthz") as answer:
        date = time.strptime(answer.headers["Date"], "%a, %d %b %Y %H:%M:%S GMT")
    return float(calendar.timegm(date))
