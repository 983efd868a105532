"""Credentials in addresses, which proxies and browsers keep: tickets only, and never in a log of ours."""

import json
import re
from pathlib import Path

import aiohttp
import pytest

from relay.core.secret import Secret
from relay.net.tickets import id_of
from tests.net.conftest import PATH, TENANT_KEY, Start
from tests.net.hostile_tokens import AUDIENCE, ISSUER, KEYS, good
from tests.net.test_tickets import _mint

pytestmark = pytest.mark.threat("A3")

PLACES = ["?key={}", "?access_token={}", "?alt=json&key={}&x=y"]


async def status(start: Start, credential: str, place: str, keys: Path, *, lenient: bool) -> tuple[int, str]:
    """The answer to a handshake that has a credential in its address."""
    keys.write_text(json.dumps(KEYS))
    jwt = {"issuer": ISSUER, "audience": AUDIENCE, "keys_file": str(keys)}
    running = await start(tenant={"jwt": jwt, "keys_in_url": lenient})
    credential = credential or await _mint(running)
    path = PATH + place.format(credential)
    try:
        socket = await running.connect(path, headers={})
    except aiohttp.WSServerHandshakeError as refused:
        async with running.http.get(running.addresses["listen"] + path, headers={"Upgrade": "websocket"}) as answer:
            assert credential not in await answer.text()
        return refused.status, credential
    await socket.send_json({"setup": {}})
    await socket.receive()
    await socket.close()
    return 101, credential


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("kind", "strict", "lenient"), [("key", 401, 101), ("token", 401, 101), ("ticket", 101, 101), ("wrong", 401, 401)]
)
async def test_only_a_ticket_may_stand_in_an_address(
    start: Start,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    place: str,
    kind: str,
    strict: int,
    lenient: int,
) -> None:
    """A key or token only where its tenant was told to allow it; none of them, nor the address, is in the log."""
    credential = {"key": TENANT_KEY, "token": good(), "ticket": "", "wrong": "relay_nobody's-key"}[kind]
    for wanted in (strict, lenient):
        answered, used = await status(start, credential, place, tmp_path / "jwks", lenient=wanted is not strict)
        assert answered == wanted
        printed = capsys.readouterr().out
        assert printed
        assert used.removeprefix("auth_tokens/")[:12] not in printed
        assert "key=" not in printed
        assert "access_token" not in printed


async def test_a_ticket_is_for_one_session_within_a_minute_unless_asked_otherwise(start: Start) -> None:
    """What may stand in an address is worth little to whoever finds it there later."""
    running = await start()
    name = await _mint(running)
    stub = await running.relay._parts.desk.store.find(id_of(Secret(name)))
    assert stub is not None
    assert stub.uses == 1
    assert 0 < stub.new_until - stub.issued_at <= 60.0 + 1.0
    assert re.fullmatch(r"auth_tokens/[\w-]{43}", name)
