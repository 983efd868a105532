"""Budgets, rates and idle microphones in live sessions: a real relay in front of a scripted origin."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.net.conftest import TENANT_KEY, WAIT_S, Origin, OriginScript, Start, end_of

RELAY_ENDED = 4429


def report(prompt: int, **content: Any) -> dict[str, Any]:
    """A message of Gemini's that reports usage."""
    return {"serverContent": content, "usageMetadata": {"promptTokenCount": prompt, "totalTokenCount": prompt}}


def says(*messages: dict[str, Any]) -> OriginScript:
    """An origin that answers each message of the client's with the next of these, and then only listens."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive_str()
        await socket.send_bytes(b'{\n  "setupComplete": {}\n}\n')
        for message in messages:
            await socket.receive()
            await socket.send_bytes(json.dumps(message).encode())
        async for _ in socket:
            pass

    return script


async def speak(socket: aiohttp.ClientWebSocketResponse, text: str = "hello") -> None:
    """Say something in text."""
    await socket.send_json({"realtimeInput": {"text": text}})


async def heard(socket: aiohttp.ClientWebSocketResponse) -> Any:
    """The next message."""
    async with asyncio.timeout(WAIT_S):
        return json.loads((await socket.receive()).data)


async def refusal(running: Any) -> tuple[int, int]:
    """Status and Retry-After of a handshake that is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
        await running.connect()
    assert raised.value.headers is not None
    return raised.value.status, int(raised.value.headers["Retry-After"])


def quotas(**limits: Any) -> dict[str, Any]:
    """A tenant with these quotas."""
    return {"quotas": limits}


@pytest.mark.threat("E3")
async def test_a_spent_budget_ends_the_session_with_its_turn(start: Start, origin: Origin) -> None:
    """The client gets the turn whole, then a code and words of its own; the three levels are told, once each."""
    origin.script = says(*(report(tokens, turnComplete=True) for tokens in (50, 31, 15, 9)))
    running = await start(tenant=quotas(day={"tokens": 100}))
    with capture_logs() as logs:
        socket = await running.conversation()
        for _ in range(3):
            await speak(socket)
            assert "usageMetadata" in await heard(socket)
        await speak(socket)
        assert (await heard(socket))["usageMetadata"]["promptTokenCount"] == 9
        assert await end_of(socket) == (RELAY_ENDED, "the budget is used up: tokens of this day")
    told = [(line["window"], line["measure"], line["level_percent"]) for line in logs if line["event"] == "budget"]
    assert told == [("day", "tokens", 80), ("day", "tokens", 95), ("day", "tokens", 100)]

    status, retry_after_s = await refusal(running)
    assert status == 429
    assert 0 < retry_after_s <= 86_400
    metrics = await running.metrics()
    for level in (80, 95, 100):
        labels = f'level="{level}",measure="tokens",tenant="acme",window="day"'
        assert f"relay_budget_events_total{{{labels}}} 1.0" in metrics
    assert 'relay_budget_used_ratio{measure="tokens",tenant="acme",window="day"} 1.05' in metrics
    assert 'relay_handshakes_refused_total{cause="budget",status="429"} 1.0' in metrics


async def test_a_turn_that_jumps_over_levels_tells_each_of_them(start: Start, origin: Origin) -> None:
    """In order and once, in the log and in the metrics, although one report crossed all three."""
    origin.script = says(report(150, turnComplete=True))
    running = await start(tenant=quotas(day={"tokens": 100}))
    with capture_logs() as logs:
        socket = await running.conversation()
        await speak(socket)
        await heard(socket)
        assert await end_of(socket) == (RELAY_ENDED, "the budget is used up: tokens of this day")
    told = [(line["level_percent"], line["used"], line["limit"]) for line in logs if line["event"] == "budget"]
    assert told == [(80, 150, 100), (95, 150, 100), (100, 150, 100)]
    metrics = await running.metrics()
    for level in (80, 95, 100):
        labels = f'level="{level}",measure="tokens",tenant="acme",window="day"'
        assert f"relay_budget_events_total{{{labels}}} 1.0" in metrics


@pytest.mark.threat("E3")
async def test_a_turn_in_progress_may_end(start: Start, origin: Origin) -> None:
    """The budget is spent in the middle of an answer: what is left of it still comes, then the session is over."""
    middle = {**report(150, modelTurn={"parts": [{"text": "one"}]})}
    origin.script = says(
        middle, {"serverContent": {"modelTurn": {"parts": [{"text": "two"}]}}}, report(1, turnComplete=True)
    )
    running = await start(tenant=quotas(day={"tokens": 100}))
    socket = await running.conversation()
    for _ in range(3):
        await speak(socket)
        await heard(socket)
    assert await end_of(socket) == (RELAY_ENDED, "the budget is used up: tokens of this day")


@pytest.mark.threat("E3")
async def test_a_turn_that_never_ends_is_cut_after_the_grace(start: Start, origin: Origin) -> None:
    """Nobody talks on for ever because nobody lets the other finish."""
    origin.script = says(report(150, modelTurn={"parts": [{"text": "one"}]}))
    running = await start(tenant=quotas(day={"tokens": 100}, grace="200ms"))
    socket = await running.conversation()
    await speak(socket)
    await heard(socket)
    begin = asyncio.get_running_loop().time()
    assert await end_of(socket) == (RELAY_ENDED, "the budget is used up: tokens of this day")
    assert 0.1 < asyncio.get_running_loop().time() - begin < 5


@pytest.mark.threat("E3")
async def test_every_session_of_the_tenant_ends_and_no_other(start: Start, origin: Origin) -> None:
    """One session spends what all of them have."""
    other = {"id": "other", "keys": ["another-tenant-key-0123"], "policy": "under-test"}
    running = await start(tenant=quotas(month={"money": "0.001"}), tenants=[other])
    quiet = await running.conversation()
    stranger = await running.conversation(key="another-tenant-key-0123")
    # 1,000 tokens of text at 0.75 for a million are 0.00075; 1,334 are the first to reach 0.001
    origin.script = says(report(1000, turnComplete=True), report(333, turnComplete=True), report(1, turnComplete=True))
    spender = await running.conversation()
    for _ in range(3):
        assert not quiet.closed
        await speak(spender)
        await heard(spender)
    words = (RELAY_ENDED, "the budget is used up: money of this month")
    assert [await end_of(spender), await end_of(quiet)] == [words, words]
    await stranger.ping()
    assert not stranger.closed


@pytest.mark.threat("E3")
async def test_speech_has_a_budget_too(start: Start, origin: Origin) -> None:
    """In seconds of decoded bytes, noticed without any report of Gemini's."""
    running = await start(tenant=quotas(day={"audio": "2s"}), store={"settle_every": "50ms"})
    socket = await running.conversation()
    for _ in range(21):
        await socket.send_json(microphone(0.1))
    assert await end_of(socket) == (RELAY_ENDED, "the budget is used up: audio of this day")


def microphone(seconds: float) -> dict[str, Any]:
    """A message of silence."""
    return {
        "realtimeInput": {"audio": {"mimeType": "audio/pcm;rate=16000", "data": "AAAA" * int(seconds * 32_000 / 3)}}
    }


@pytest.mark.threat("E1")
@pytest.mark.parametrize(
    ("limits", "sent", "words"),
    [
        ({"messages_per_second": 2, "burst": "2s"}, [microphone(0.01)] * 5, "messages_per_second"),
        ({"bytes_per_second": "1KiB", "burst": "2s"}, [microphone(0.05)] * 5, "bytes_per_second"),
        ({"audio_speed": 1.5, "burst": "1s"}, [microphone(0.4)] * 5, "audio_speed"),
    ],
)
async def test_a_client_that_sends_too_much_is_closed(
    start: Start, limits: dict[str, Any], sent: Sequence[dict[str, Any]], words: str
) -> None:
    """With a code of its own and the name of the limit."""
    running = await start(tenant=quotas(**limits))
    socket = await running.conversation()
    for message in sent:
        await socket.send_json(message)
    assert await end_of(socket) == (RELAY_ENDED, f"the client sends more than it may: {words}")


async def test_a_forgotten_microphone_is_hung_up(start: Start) -> None:
    """A client that only sends sound is gone after `idle_after`, with the code of a normal end."""
    running = await start(tenant=quotas(idle_after="300ms"))
    socket = await running.conversation()
    begin = asyncio.get_running_loop().time()
    sending = asyncio.create_task(keep_sending(socket))
    assert await end_of(socket) == (1000, "nobody spoke or wrote for too long")
    assert asyncio.get_running_loop().time() - begin > 0.25
    sending.cancel()


async def keep_sending(socket: aiohttp.ClientWebSocketResponse) -> None:
    """An open microphone."""
    while not socket.closed:
        await socket.send_json(microphone(0.02))
        await asyncio.sleep(0.02)


@pytest.mark.threat("E1")
async def test_a_tenants_sessions_may_be_shorter_than_others(start: Start) -> None:
    """The shorter of the two limits counts."""
    running = await start(tenant=quotas(session_length="200ms"), limits={"session_length": "1h"})
    assert await end_of(await running.conversation()) == (1008, "session length limit reached")


@pytest.mark.threat("E1")
async def test_starts_per_minute_are_limited(start: Start) -> None:
    """Exactly; the one too many is told when to come back."""
    running = await start(tenant=quotas(starts_per_minute=2))
    for _ in range(2):
        socket = await running.conversation()
        await socket.close()
    status, retry_after_s = await refusal(running)
    assert status == 429
    assert 50 <= retry_after_s <= 60
    assert 'relay_handshakes_refused_total{cause="starts_per_minute",status="429"} 1.0' in await running.metrics()


@pytest.mark.threat("E1")
async def test_a_budget_outlives_the_process(start: Start, origin: Origin, tmp_path: Any) -> None:
    """What was used before a restart counts after it."""
    store = {"path": str(tmp_path / "usage.db")}
    origin.script = says(report(150, turnComplete=True))
    first = await start(tenant=quotas(day={"tokens": 100}), store=store)
    socket = await first.conversation()
    await speak(socket)
    await heard(socket)
    await end_of(socket)
    await first.relay.stop()
    second = await start(tenant=quotas(day={"tokens": 100}), store=store)
    assert (await refusal(second))[0] == 429


async def test_a_usage_record_is_written_at_the_end(start: Start, origin: Origin) -> None:
    """Totals under their names, and the cost to the last digit."""
    usage = {
        "promptTokenCount": 522,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 332}, {"modality": "AUDIO", "tokenCount": 165}],
        "responseTokenCount": 57,
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
        "totalTokenCount": 579,
        "thoughtsTokenCount": 17,
    }
    origin.script = says({"serverContent": {"turnComplete": True}, "usageMetadata": usage})
    running = await start()
    with capture_logs() as logs:
        socket = await running.conversation()
        await speak(socket)
        await heard(socket)
        await socket.close()
        async with asyncio.timeout(WAIT_S):
            while len(running.relay.registry):
                await asyncio.sleep(0.01)
    (record,) = [line for line in logs if line["event"] == "usage"]
    assert record["final"] is True
    assert (record["tenant"], record["model"], record["priced_as"]) == (
        "acme",
        "models/gemini-3.8-live",
        "gemini-3.8-live",
    )
    assert (record["cost"], record["currency"], record["prices_as_of"]) == ("0.00147075", "USD", "2026-10-09")
    assert record["reason"] == "client_left"
    assert record["flags"] == {}
    tokens = {name: amount for name, amount in record["amounts"].items() if "." in name}
    assert tokens == {
        "prompt.text": 332,
        "prompt.audio": 165,
        "prompt.unattributed": 25,
        "response.audio": 50,
        "response.unattributed": 7,
        "thoughts.text": 17,
    }
    assert record["amounts"]["turns"] == 1


async def test_a_long_session_is_recorded_meanwhile(start: Start, origin: Origin) -> None:
    """Every `flush_every`, with totals and an id of its own; the key of the tenant is nowhere in it."""
    origin.script = says(report(10, turnComplete=True))
    running = await start(usage={"flush_every": "1s"}, store={"settle_every": "50ms"})
    with capture_logs() as logs:
        socket = await running.conversation()
        await speak(socket)
        await heard(socket)
        async with asyncio.timeout(WAIT_S):
            while sum(line["event"] == "usage" for line in logs) < 2:
                await asyncio.sleep(0.02)
        await socket.close()
    records = [line for line in logs if line["event"] == "usage" and not line["final"]]
    assert all(record["amounts"]["tokens"] == 10 for record in records)
    assert len({record["id"] for record in records}) == len(records)
    assert TENANT_KEY not in repr(records)
