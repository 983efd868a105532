"""The spoken end of a session, in front of the simulator: heard by the client, in nobody's log, and paid for."""

import asyncio
import base64
import contextlib
import json
from array import array
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from relay.sim import Simulator
from relay.sim.actions import Action
from tests.net.conftest import WAIT_S, Start, end_of
from tests.net.continuing import Client, gone, said, simulator

WORDS = "Canary: tell the caller in one short sentence that the time is up."
SPENT = (4429, "the budget is used up: tokens of this day")


def wrapped_up(**quotas: Any) -> dict[str, Any]:
    """A tenant that has these quotas, and words for the end."""
    return {"quotas": {"wrap_up": WORDS, **quotas}}


def anything() -> dict[str, Any]:
    """A policy for any model."""
    return {"model": {"default": "models/gemini-3.8-live", "allow": ["*"]}, "allow": ["*"]}


async def rest(client: Client) -> tuple[list[dict[str, Any]], tuple[int | None, str]]:
    """What the client still gets, and how its socket is closed."""
    got = []
    async with asyncio.timeout(WAIT_S):
        while (message := await client.socket.receive()).type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            got.append(json.loads(message.data))
    return got, (message.data, message.extra or "")


def told(google: Simulator) -> list[str]:
    """What Gemini was told in text, over all sessions."""
    return [entry.text for session in google.archive for entry in session.trail.entries() if entry.text]


@pytest.mark.parametrize(
    "model", ["gemini-3.8-live", "gemini-3.1-flash-live-preview", "gemini-2.5-flash-native-audio-latest"]
)
async def test_the_words_are_answered_and_metered_and_in_no_log(start: Start, model: str) -> None:
    """Every generation of models takes them; the record has all tokens that Gemini reported, those of the end too."""
    async with simulator() as google:
        running = await start(
            tenant=wrapped_up(day={"tokens": 40}), policy=anything(), upstream={"base_url": google.url}
        )
        with capture_logs() as logs:
            client = Client(running, {"model": f"models/{model}", "outputAudioTranscription": {}})
            await client.connect()
            await client.until("setupComplete")
            await client.socket.send_json({"realtimeInput": {"text": "What does it cost to talk to you for an hour?"}})
            first = await client.until("turnComplete")
            last, closed = await rest(client)
            await gone(running)
        assert closed == SPENT
        assert told(google) == ["What does it cost to talk to you for an hour?", WORDS]
        assert said(last)
        assert sum("turnComplete" in message.get("serverContent", {}) for message in last) == 1
        (record,) = [line for line in logs if line["event"] == "usage" and line["final"]]
        reports = [report for session in google.archive for report in session.usage]
        assert len(reports) == record["amounts"]["turns"] == 2
        spent = sum(report["totalTokenCount"] + report.get("thoughtsTokenCount", 0) for report in reports)
        assert record["amounts"]["tokens"] == spent > 40
        assert record["amounts"]["text_characters_up"] == len("What does it cost to talk to you for an hour?")
        # The simulator's answers repeat what they answer, so `last` has the words; that nobody else says them to the
        # client, tests/core/test_leaving.py asserts message by message.
        for place in (repr(logs), json.dumps(first), await running.metrics()):
            assert "Canary" not in place


async def test_the_words_are_heard_by_who_speaks_just_now(start: Start) -> None:
    """In the middle of a sentence, which nobody hears the end of; what is said meanwhile is dropped and counted."""
    async with simulator(first_audio_delay_s=0.3) as google:
        running = await start(
            tenant=wrapped_up(day={"audio": "2s"}), policy=anything(), upstream={"base_url": google.url}
        )
        client = Client(running, {"model": "models/gemini-3.8-live", "outputAudioTranscription": {}})
        await client.connect()
        await client.until("setupComplete")
        speaking = asyncio.create_task(speak_on(client))
        last, closed = await rest(client)
        speaking.cancel()
        assert closed == (4429, "the budget is used up: audio of this day")
        assert said(last)
        assert told(google) == [WORDS]
        await gone(running)
        dropped = 'relay_dropped_frames_total{direction="up",tenant="acme"} '
        (line,) = [line for line in (await running.metrics()).splitlines() if line.startswith(dropped)]
        assert float(line.removeprefix(dropped)) > 0


async def speak_on(client: Client) -> None:
    """Somebody who never stops: a loud tone, a tenth of a second at a time."""
    tone = array("h", [9_000 if number // 40 % 2 else -9_000 for number in range(1_600)]).tobytes()
    audio = {"mimeType": "audio/pcm;rate=16000", "data": base64.b64encode(tone).decode()}
    with contextlib.suppress(ConnectionError):  # when the relay has had enough
        while True:
            await client.socket.send_json({"realtimeInput": {"audio": audio}})
            await asyncio.sleep(0.01)


async def test_the_words_survive_the_loss_of_their_leg(start: Start) -> None:
    """Cut in the middle of the answer, they are said again on the next connection, and answered there."""
    async with simulator(burst=4.0) as google:
        running = await start(
            tenant=wrapped_up(day={"tokens": 40}), policy=anything(), upstream={"base_url": google.url}
        )
        client = Client(running, {"model": "models/gemini-3.8-live", "outputAudioTranscription": {}})
        await client.connect()
        await client.until("setupComplete")
        await client.socket.send_json({"realtimeInput": {"text": "What does it cost to talk to you for an hour?"}})
        await client.until("turnComplete")
        await client.until("outputTranscription")
        google.fault(Action("cut", {"reset": True}))
        cut = await client.until("turnComplete")
        assert any("interrupted" in message.get("serverContent", {}) for message in cut)
        last, closed = await rest(client)
    assert closed == SPENT
    assert said(last)
    assert sum("turnComplete" in message.get("serverContent", {}) for message in last) == 1
    assert told(google).count(WORDS) == 1, "the state that the new connection was resumed from has them once"


async def test_without_an_answer_the_grace_ends_it(start: Start) -> None:
    """Gemini says nothing: the session is over when its time is, with the same code."""
    async with simulator(first_audio_delay_s=60.0) as google:
        running = await start(
            tenant=wrapped_up(session_length="200ms", grace="300ms"), upstream={"base_url": google.url}
        )
        begin = asyncio.get_running_loop().time()
        socket = await running.conversation()
        assert await end_of(socket) == (1008, "session length limit reached")
        assert 0.4 < asyncio.get_running_loop().time() - begin < WAIT_S
        await gone(running)
    assert told(google) == [WORDS]
