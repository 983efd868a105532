"""The inspection endpoint."""

import asyncio
from typing import Any

import pytest

from tests.sim.client import PATIENCE_S, connected, eventually, inspect, simulator, talking
from tests.sim.playing import handles, said, setup, silence, sound


async def test_connections_show_what_google_received() -> None:
    """Headers with the key, path, messages in order, close code."""
    async with simulator() as google:
        async with talking(google) as client:
            await client.turn(said("hello"))
        await eventually(google)
        status, body = await inspect(google, "/sim/connections")

        assert status == 200
        (record,) = body["connections"]
        assert record["headers"]["x-goog-api-key"] == "canary"
        assert [message["raw"][:9] for message in record["messages"]] == ['{"setup":', '{"clientC']
        assert record["close_code"] == 1000
        assert (await inspect(google, "/sim/connections?id=7"))[1] == {"connections": []}


async def test_the_ledger_shows_each_session_across_its_connections() -> None:
    """What its state contains, what each handle stands for, what was sent, what was billed."""
    async with simulator() as google:
        async with talking(google, sessionResumption={}) as client:
            await client.turn(said("one"))
            (handle,) = handles(await client.until("sessionResumptionUpdate"))
            await client.send({"realtimeInput": {"audioStreamEnd": True}})
            await client.turn(said("two"))
        await eventually(google)
        async with talking(google, sessionResumption={"handle": handle}) as client:
            await client.turn(said("three"))
            (session,) = (await inspect(google, "/sim/ledger"))[1]["sessions"]

    assert session["connections"] == [1, 2]
    assert session["open"] == 2
    assert [(entry["connection"], entry.get("text")) for entry in session["consumed"]] == [(1, "one"), (2, "three")]
    assert session["handles"][handle] == {"consumed": 1, "turns": 1, "uses": 1}
    assert len(session["usage"]) == 3
    assert [entry["number"] for entry in session["sent"]] == list(range(1, session["sent_count"] + 1))


async def test_faults_can_be_triggered() -> None:
    """On one connection or on all; the answer says on which."""
    async with simulator() as google, talking(google) as first, talking(google) as second:
        assert await inspect(google, "/sim/fault", {"kind": "go_away", "connection": 2, "time_left": "5s"}) == (
            200,
            {"connections": [2]},
        )
        assert await second.receive() == {"goAway": {"timeLeft": "5s"}}
        assert await inspect(google, "/sim/fault", {"kind": "cut"}) == (200, {"connections": [1, 2]})
        assert (await first.closed())[0] == 1006
        assert (await second.closed())[0] == 1006


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([], "must be an object"),
        ({}, "kind: must be one of"),
        ({"kind": "explode"}, "kind: must be one of"),
        ({"kind": "ignore"}, "kind: must be one of"),
        ({"kind": "cut", "connection": "1"}, "connection: must be the id of a connection"),
        ({"kind": "stall"}, "stall.for: is missing"),
        ({"kind": "stall", "for": "long"}, "stall.for: not a duration"),
    ],
)
async def test_wrong_faults_are_refused_with_their_reason(body: Any, problem: str) -> None:
    """400, and nothing happens to anybody."""
    async with simulator() as google, talking(google) as client:
        status, answer = await inspect(google, "/sim/fault", body)

        assert status == 400
        assert answer["error"].startswith(problem)
        assert await client.turn(said("hello"))


async def test_a_reset_forgets_what_is_over() -> None:
    """Closed connections and their sessions go; live ones stay, without their messages."""
    async with simulator() as google:
        async with talking(google):
            pass
        await eventually(google)
        async with talking(google) as client:
            assert (await inspect(google, "/sim/reset", {}))[0] == 200
            assert [record.id for record in google.connections] == [2]
            assert [session.id for session in google.archive] == ["session-2"]
            assert await client.turn(said("hello"))


async def test_media_bodies_are_shown_only_if_kept() -> None:
    """By default a long body is its size and digest."""
    for keep_media in (False, True):
        async with simulator(keep_media=keep_media) as google, talking(google) as client:
            await client.send(sound(silence(1.0)))
            async with asyncio.timeout(PATIENCE_S):
                while google.connections[0].message_count < 2:
                    await asyncio.sleep(0.005)
            (record,) = (await inspect(google, "/sim/connections"))[1]["connections"]

        assert (len(record["messages"][1]["raw"]) > 10_000) == keep_media
        assert record["messages"][1]["size"] > 10_000


async def test_foreign_pages_can_neither_post_nor_read() -> None:
    """POST wants JSON, which a browser asks about first; a foreign name in Host is refused."""
    async with simulator() as google:
        assert (await inspect(google, "/sim/reset", {}, headers={"Content-Type": "text/plain"}))[0] == 415
        for host, status in (("evil.example", 403), ("localhost:1", 200), ("[::1]:1", 200), ("127.0.0.1", 200)):
            assert (await inspect(google, "/sim/profile", headers={"Host": host}))[0] == status


async def test_unknown_endpoints_name_the_known_ones() -> None:
    """404 with a hint, for the wrong path and the wrong method alike."""
    async with simulator() as google:
        status, body = await inspect(google, "/sim/nothing")

        assert status == 404
        assert "GET /sim/connections" in body["error"]
        assert (await inspect(google, "/sim/fault"))[0] == 404


async def test_the_profile_is_shown() -> None:
    """The knobs in force, for whoever debugs."""
    async with simulator(burst=3.0) as google, connected(google) as client:
        await client.send(setup())
        assert (await inspect(google, "/sim/profile"))[1]["burst"] == 3.0
