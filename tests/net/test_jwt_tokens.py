"""Tokens of an identity provider: one that is good, and the many that are not; what is fetched meanwhile is counted."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, get_args

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from relay.config.identity import Jwt
from relay.core.secret import Secret
from relay.core.tickets import Allotment
from relay.net import warden
from relay.net.jwt_tokens import REFETCH_S, Claims, JwtTokens, KeySet, Provider
from tests.net import outbound
from tests.net.conftest import PATH, TENANT_KEY, WAIT_S, Running, Start, end_of
from tests.net.continuing import gone
from tests.net.hostile_tokens import (
    AUDIENCE,
    EC,
    HOSTILE,
    ISSUER,
    KEYS,
    STRANGER,
    claimed,
    good,
    jwk,
    signed,
    with_header,
)

ALGORITHMS = list(get_args(get_args(Jwt.model_fields["algorithms"].annotation)[0]))
"""Every one that may be configured."""


class IdentityProvider:
    """An identity provider and an address that nobody should call."""

    def __init__(self) -> None:
        self.fetches = 0
        self.evil = 0
        self.url = ""

    async def keys(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        return web.json_response(KEYS)

    async def trap(self, _request: web.Request) -> web.Response:
        self.evil += 1
        return web.json_response({"keys": [jwk(STRANGER, "own")]})


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """Serves the key set."""
    made = IdentityProvider()
    application = web.Application()
    application.router.add_get("/jwks", made.keys)
    application.router.add_route("*", "/evil{tail:.*}", made.trap)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def _relay(start: Start, provider: IdentityProvider, **more: Any) -> Running:
    settings = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": f"{provider.url}/jwks"} | more
    return await start(tenant={"jwt": settings})


async def _status(running: Running, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        socket = await running.connect(PATH, headers=headers)
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status
    await socket.close()
    return 101


@pytest.mark.threat("B6")
@pytest.mark.parametrize("algorithms", [["RS256", "ES256"], ALGORITHMS], ids=["default", "all"])
async def test_good_tokens_open_sessions_and_hostile_ones_do_not(
    start: Start, provider: IdentityProvider, algorithms: list[str]
) -> None:
    """About 170 hostile tokens: 401 for each; nothing but the relay is connected to, looked up or opened for them."""
    running = await _relay(start, provider, algorithms=algorithms)
    assert provider.fetches == 1, "at the start, before any token"
    for token in (good(), good("ES256", "ec", EC), good(nbf=int(time.time()) - 5), good(iat=...)):
        assert await _status(running, token) == 101
    found = {}
    with outbound.recorded() as reached:
        for name, make in HOSTILE.items():
            found[name] = await _status(running, make())
    assert {name: status for name, status in found.items() if status != 401} == {}
    assert len(found) > 160
    port = int(running.addresses["listen"].rpartition(":")[2])
    assert reached.addresses, "the recorder sees our own connection"
    assert set(reached.addresses) == {("127.0.0.1", port)}
    assert [file for file in reached.files if not file.endswith((".py", ".pyc"))] == []
    assert (provider.evil, provider.fetches) == (0, 1)


@pytest.mark.threat("B6")
@pytest.mark.parametrize("key", ["jku", "x5u", "kid", "iss", "signed by its own key"])
async def test_evil_addresses_inside_signed_tokens_are_not_called(
    start: Start, provider: IdentityProvider, key: str
) -> None:
    """A server listens at the address in the token, and hears nothing: not even a connection."""
    running = await _relay(start, provider)
    evil = f"{provider.url}/evil"
    token = {
        "iss": lambda: good(iss=evil),
        "signed by its own key": lambda: signed({"alg": "RS256", "kid": "own", "jku": evil}, claimed(), STRANGER),
    }.get(key, lambda: with_header(**{key: evil}))()
    with outbound.recorded() as reached:
        assert await _status(running, token) == 401
    assert not {address for address in reached.addresses if str(address[1]) in provider.url}
    assert (provider.evil, provider.fetches) == (0, 1)


@pytest.mark.threat("A3")
@pytest.mark.parametrize("query", ["key", "access_token"])
async def test_a_token_in_a_url_is_refused_like_a_key(start: Start, provider: IdentityProvider, query: str) -> None:
    """It may be valid for hours, and addresses end up in logs; a tenant that takes keys there takes it too."""
    running = await _relay(start, provider)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await running.connect(f"{PATH}?{query}={good()}", headers={})
    assert refused.value.status == 401
    assert 'cause="key_in_url"' in await running.metrics()
    settings = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": f"{provider.url}/jwks"}
    lenient = await start(tenant={"jwt": settings, "keys_in_url": True})
    assert not (await lenient.connect(f"{PATH}?{query}={good()}", headers={})).closed


@pytest.mark.threat("B6")
async def test_a_token_of_a_mebibyte_is_not_read(start: Start, provider: IdentityProvider) -> None:
    """The listener's parser ends it before there is a request, wherever it stands."""
    running = await _relay(start, provider)
    token = good(pad="x" * 2**20)
    assert await _status(running, token) == 431
    with pytest.raises((aiohttp.WSServerHandshakeError, aiohttp.ClientConnectionError)) as refused:
        await running.connect(f"{PATH}?access_token={token}", headers={})
    assert getattr(refused.value, "status", 431) in {400, 414, 431}
    assert provider.fetches == 1


class Publisher:
    """Hands out a key set, or fails, and counts how often it was asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.fetches: list[float] = []
        self.keys: list[dict[str, Any]] = KEYS["keys"]
        self.failing = False

    async def fetch(self) -> Any:
        """What a provider publishes now."""
        self.fetches.append(self.now)
        await asyncio.sleep(0)
        if self.failing:
            raise OSError
        return {"keys": self.keys}


@pytest.mark.threat("B6")
@pytest.mark.parametrize("failing", [False, True])
async def test_unknown_keys_fetch_the_set_once_in_thirty_seconds(failing: bool) -> None:
    """A thousand at once are one fetch, and a thousand over five minutes are eleven, failed ones included."""
    publisher = Publisher()
    keys = KeySet(publisher.fetch, lambda: publisher.now)
    publisher.failing = failing
    await asyncio.gather(*(keys.find(f"at-once-{number}", "RS256") for number in range(1000)))
    assert len(publisher.fetches) == 1
    for number in range(1000):
        publisher.now = 1000.0 + number * 0.3
        assert await keys.find(f"k{number}", "RS256") is None
    gaps = [later - earlier for earlier, later in zip(publisher.fetches, publisher.fetches[1:], strict=False)]
    assert len(publisher.fetches) == 10
    assert min(gaps) >= REFETCH_S


async def test_a_key_that_has_just_appeared_is_found() -> None:
    """By the fetch that its first token causes, half a minute after the last one."""
    publisher = Publisher()
    keys = KeySet(publisher.fetch, lambda: publisher.now)
    await keys.refresh()
    publisher.keys = [*KEYS["keys"], jwk(STRANGER, "fresh")]
    assert await keys.find("fresh", "RS256") is None
    publisher.now += REFETCH_S
    assert await keys.find("fresh", "RS256") is not None
    assert len(publisher.fetches) == 2


@pytest.mark.threat("B6")
async def test_a_crowd_of_unknown_keys_is_refused(start: Start, provider: IdentityProvider) -> None:
    """Through the listener too: a thousand handshakes, and the provider hears of none of them."""
    running = await _relay(start, provider)
    for batch in range(20):
        tokens = [with_header(kid=f"k{batch}-{number}") for number in range(50)]
        assert set(await asyncio.gather(*(_status(running, token) for token in tokens))) == {401}
    assert provider.fetches == 1


@pytest.mark.threat("B7")
async def test_a_session_ends_when_its_token_does(start: Start, provider: IdentityProvider) -> None:
    """Within 5 s of `exp` and the leeway."""
    running = await _relay(start, provider, leeway="1s")
    expires = int(time.time()) + 2
    socket = await running.connect(PATH, headers={"Authorization": f"Bearer {good(exp=expires)}"})
    await socket.send_json({"setup": {}})
    async with asyncio.timeout(WAIT_S):
        await socket.receive()
    assert await end_of(socket) == (4401, "the ticket or token has expired")
    assert expires + 1 <= time.time() < expires + 1 + 5


@pytest.mark.threat("B8")
async def test_an_end_user_is_revoked_by_name(start: Start, provider: IdentityProvider) -> None:
    """The live session ends, and the token opens no other one; somebody else's still does."""
    running = await _relay(start, provider)
    token = good()
    socket = await running.connect(PATH, headers={"Authorization": f"Bearer {token}"})
    url = f"{running.addresses['listen']}/v1/auth_tokens:revoke"
    async with running.http.post(url, json={"endUser": "eva"}, headers={"x-goog-api-key": TENANT_KEY}) as answer:
        assert answer.status == 200
    assert await end_of(socket) == (4401, "access was revoked")
    assert await _status(running, token) == 401
    assert await _status(running, good(sub="adam")) == 101
    async with running.http.post(url, json={"all": True}, headers={"x-goog-api-key": token}) as answer:
        assert answer.status == 401, "and a token orders nothing"


async def test_a_key_file_serves_as_well(start: Start, tmp_path: Any) -> None:
    """Static keys, with a claim that limits the session."""
    running = await _static(start, tmp_path, claims={"session_seconds": "max"})
    assert await _status(running, good()) == 401
    socket = await running.connect(PATH, headers={"Authorization": f"Bearer {good(max=1)}"})
    assert (await end_of(socket))[0] == 1008


LIMITED = {"session_seconds": "max", "seconds": "all", "tokens": "words", "money": "budget"}


async def test_claims_say_what_a_token_may_use(start: Start, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all of its sessions, as the limits of a ticket; another token of the same end user has its own."""
    monkeypatch.setattr(warden, "SPEND_S", 0.2)
    running = await _static(start, tmp_path, claims=LIMITED)
    token = good(max=60, all=1, words=1000, budget="0.5")
    socket = await running.connect(PATH, headers={"Authorization": f"Bearer {token}"})
    await socket.send_json({"setup": {}})
    assert await end_of(socket) == (4429, "the budget is used up: seconds of this token")
    again = await running.connect(PATH, headers={"Authorization": f"Bearer {token}"})
    await again.send_json({"setup": {}})
    assert await end_of(again) == (4429, "the budget is used up: seconds of this token")
    fresh = await running.connect(PATH, headers={"Authorization": f"Bearer {good(max=60, all=9, words=1, budget=1)}"})
    await fresh.send_json({"setup": {}})
    async with asyncio.timeout(WAIT_S):
        assert json.loads((await fresh.receive()).data) == {"setupComplete": {}}


@pytest.mark.parametrize("name", ["max", "all", "words", "budget"])
@pytest.mark.parametrize("value", [..., None, 0, -1, True, "x", "-1", [1], 1e300, ""], ids=repr)
async def test_a_limit_that_is_none_refuses_its_token(tmp_path: Any, name: str, value: Any) -> None:
    """What the operator mapped must be there, or a provider's slip would lift the limit."""
    verifier = _verifier(LIMITED)
    whole: dict[str, Any] = {"max": 60, "all": 60, "words": 5, "budget": "0.25"}
    identity = await verifier.verify(Secret(good(**whole)))
    assert identity is not None
    assert identity.grant is not None
    assert (identity.grant.session_s, identity.grant.allotment) == (60.0, Allotment(60.0, 5, 250_000_000))
    assert await verifier.verify(Secret(good(**whole | {name: value}))) is None


async def test_a_claim_says_which_tenant_a_token_is_for(start: Start, tmp_path: Any) -> None:
    """Two tenants share a provider; a token without the claim, or with nobody's name, opens nothing."""
    running = await _static(
        start, tmp_path, {"id": "other", "policy": "under-test", "jwt": ...}, claims={"tenant": "org"}
    )
    with capture_logs() as logs:
        for org in ("acme", "other"):
            assert await _status(running, good(org=org)) == 101
        strange: list[Any] = [..., "nobody", "ACME", ["acme"], None, 1]
        for value in strange:
            assert await _status(running, good(org=value)) == 401
        await gone(running)
    assert [line["tenant"] for line in logs if line["event"] == "usage"] == ["acme", "other"]


def _verifier(claims: dict[str, str]) -> JwtTokens:
    keys = KeySet(Publisher().fetch, lambda: 1000.0)
    named = Claims(
        session_s=claims["session_seconds"], seconds=claims["seconds"], tokens=claims["tokens"], money=claims["money"]
    )
    return JwtTokens(Provider("acme", ISSUER, AUDIENCE, frozenset({"RS256"}), named), keys, time.time)


async def _static(start: Start, tmp_path: Any, *others: dict[str, Any], **more: Any) -> Running:
    """A relay with the key set in a file, and further tenants with the same provider."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(KEYS))
    settings = {"issuer": ISSUER, "audience": AUDIENCE, "keys_file": str(file)} | more
    return await start(tenant={"jwt": settings}, tenants=[other | {"jwt": settings} for other in others])


@pytest.mark.threat("B6")
@pytest.mark.parametrize("alg", ["RS512", "PS256", "ES256", "none", "HS256"])
async def test_a_token_of_an_algorithm_that_is_not_configured_opens_nothing(alg: str) -> None:
    """With a key that is not bound to one, so that nothing but the operator's list stands in the way."""
    publisher = Publisher()
    publisher.keys = [jwk(STRANGER, "free"), jwk(EC, "ec")]
    verifier = JwtTokens(
        Provider("acme", ISSUER, AUDIENCE, frozenset({"RS256"})), KeySet(publisher.fetch, lambda: 1000.0), time.time
    )
    assert await verifier.verify(Secret(good("RS256", "free", STRANGER))) is not None
    token = {
        "RS512": lambda: good("RS512", "free", STRANGER),
        "PS256": lambda: good("PS256", "free", STRANGER),
        "ES256": lambda: good("ES256", "ec", EC),
    }.get(alg, lambda: signed({"alg": alg, "kid": "free"}, claimed(), STRANGER))()
    assert await verifier.verify(Secret(token)) is None


@pytest.mark.threat("B6")
@pytest.mark.parametrize("audience", [[AUDIENCE], [AUDIENCE, "other"], ["other", AUDIENCE], f"{AUDIENCE}-2", "r", ""])
async def test_an_audience_is_one_and_a_text(audience: Any) -> None:
    """A token for somebody else too could be one that they hand on."""
    keys = KeySet(Publisher().fetch, lambda: 1000.0)
    verifier = JwtTokens(Provider("acme", ISSUER, AUDIENCE, frozenset({"RS256"})), keys, time.time)
    assert await verifier.verify(Secret(good())) is not None
    assert await verifier.verify(Secret(good(aud=audience))) is None
