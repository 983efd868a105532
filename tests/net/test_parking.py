"""Clients that drop and come back: on real sockets, before the simulator."""

import asyncio
from typing import Any

import pytest

from relay.sim.actions import Action
from tests.net.conftest import WAIT_S, Start, end_of
from tests.net.continuing import MODEL, Client, gone, parked, said, simulator, told

POLICY = {"model": MODEL, "allow": ["*"]}


async def test_a_client_that_comes_back_finds_its_session_as_it_left_it(start: Start) -> None:
    """The very same connection to Gemini goes on; the client gets setupComplete, how it came back, and a new handle."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin_parked("my colour is green")
        first = client.handle
        client.got.clear()
        await client.come_back()
        answer = await client.turn("what did I say?")

        assert client.got[0] == {"setupComplete": {}}
        assert sum("setupComplete" in message for message in client.got) == 1
        assert told(client.got, "resumed") == {"via": "parked", "replayed": 0, "missed": 0, "gap": False}
        assert client.handle != first
        assert "my colour is green" in said(answer)
        assert len(google.connections) == 1
        assert len(running.relay.registry) == 1


@pytest.mark.parametrize("exact", [True, False], ids=["counting", "by the handle alone"])
async def test_what_was_missed_is_sent_again_in_order(start: Start, exact: bool) -> None:
    """A client that counts gets each message exactly once; one that can't gets all since its handle again."""
    async with simulator(numbered=True) as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin()
        before = len(client.got)
        await client.say("tell me something that is long enough to be cut in its middle")
        for _ in range(8):
            await client.receive()
        client.vanish()
        await parked(running)
        async with asyncio.timeout(WAIT_S):
            while not any(entry.kind == "serverContent" for entry in next(iter(google.archive)).sent.entries):
                await asyncio.sleep(0.005)
        at = len(client.got)
        await client.come_back(exact=exact)
        await client.until("turnComplete")

        (session,) = google.archive
        spoken = [entry for entry in session.sent.entries if entry.kind == "serverContent"]
        heard = [message for message in client.got if message.get("serverContent")]
        again = [message for message in client.got[at:] if message.get("serverContent")]
        resumed = told(client.got, "resumed")
        if exact:
            assert len(heard) == len(spoken)
            assert resumed["gap"] is False
        else:
            assert again == heard[:8] + again[8:]
            assert len(again) == len(spoken)
        assert client.got[before:at] == [message for message in client.got[before:at] if "serverContent" in message]


async def test_what_does_not_fit_the_buffer_is_counted_as_a_gap(start: Start) -> None:
    """Bounded memory: the oldest goes, and the client is told how much."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url}, parking={"buffer": "16KiB"})
        client = Client(running)
        await client.begin()
        await client.say("a long answer please, of many words, so that it does not fit")
        await client.receive()
        client.vanish()
        await parked(running)
        (session,) = google.archive
        async with asyncio.timeout(WAIT_S):
            while not session.usage:
                await asyncio.sleep(0.005)
        await client.come_back()
        await client.until("turnComplete")
        resumed = told(client.got, "resumed")
        page = await running.metrics()

        assert resumed["gap"]
        assert resumed["missed"] > 0
        assert f'relay_dropped_frames_total{{direction="down",tenant="acme"}} {resumed["missed"]}.0' in page
        assert 'relay_client_resumes_total{outcome="gap",tenant="acme"} 1.0' in page


async def test_after_the_window_the_session_is_resumed_from_gemini_s_memory(start: Start) -> None:
    """The parked session ends, its log says the client was lost; Gemini's handle inside ours brings it back."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url}, parking={"window": "50ms"})
        client = Client(running)
        await client.begin()
        await client.turn("my colour is green")
        client.vanish()
        await gone(running)
        client.got.clear()
        await client.come_back()
        answer = await client.turn("what did I say?")

        assert client.got[0] == {"setupComplete": {}}
        assert told(client.got, "resumed") == {"via": "handle", "replayed": 0, "missed": None, "gap": True}
        assert "my colour is green" in said(answer)
        assert len(google.connections) == 2
        assert (
            'relay_sessions_total{blame="downstream",reason="client_lost",tenant="acme"} 1.0' in await running.metrics()
        )


async def test_any_replica_with_the_same_secret_resumes_it(start: Start) -> None:
    """Where the session itself is not, Gemini's handle still is."""
    secret: dict[str, Any] = {"handles": {"secret": "a secret of sixteen and more"}}
    async with simulator() as google:
        here = await start(policy=POLICY, upstream={"base_url": google.url}, parking={"window": "0s"}, **secret)
        there = await start(policy=POLICY, upstream={"base_url": google.url}, **secret)
        stranger = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(here)
        await client.begin()
        await client.turn("my colour is green")
        await client.socket.close()
        await gone(here)
        elsewhere = Client(there)
        elsewhere.handle = client.handle
        await elsewhere.come_back()
        answer = await elsewhere.turn("what did I say?")
        refused = Client(stranger)
        await refused.connect(client.handle)

        assert "my colour is green" in said(answer)
        assert (await end_of(refused.socket))[0] == 1008


@pytest.mark.threat("E6")
async def test_a_handle_leads_back_once(start: Start) -> None:
    """Of two that come with the same one, the first is let in; the second is told so, and disturbs nobody."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin_parked("hello")
        handle = client.handle
        await client.come_back()
        await client.turn("still here")
        thief = Client(running)
        await thief.connect(handle)
        code, reason = await end_of(thief.socket)
        await client.turn("and now?")

        assert code == 1008
        assert "was used already" in reason


@pytest.mark.threat("E6")
async def test_another_tenant_can_do_nothing_with_a_stolen_handle(start: Start) -> None:
    """It is refused as if it had never been given out, and the parked session waits on for its owner."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        other = await start(
            policy=POLICY, upstream={"base_url": google.url}, tenant={"id": "other"}, handles={"secret": "x" * 20}
        )
        client = Client(running)
        await client.begin_parked()
        thief = Client(other)
        await thief.connect(client.handle)
        code, reason = await end_of(thief.socket)
        await client.come_back()

        assert (code, "was not given out by this relay" in reason) == (1008, True)
        assert told(client.got, "resumed")["via"] == "parked"


async def test_a_half_dead_socket_is_taken_over(start: Start) -> None:
    """A client that changed its network is back before the relay noticed that it was gone."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin()
        await client.turn("hello")
        old = client.socket
        await client.come_back()
        answer = await client.turn("what did I say?")

        assert await end_of(old) == (1000, "taken over by a newer connection")
        assert "hello" in said(answer)
        assert len(running.relay.registry) == 1


async def test_a_goodbye_ends_the_session_and_parks_nothing(start: Start) -> None:
    """A client that closes wants no more of it, whether it gives a code or none; neither does one that never asked."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin()
        await client.socket.close()
        await gone(running)
        never_asked = await running.conversation()
        connection = never_asked._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()
        await gone(running)

        assert 'relay_sessions_parked{tenant="acme"} 0.0' in await running.metrics()


async def test_a_parked_session_yields_its_place(start: Start) -> None:
    """A tenant at its limit is not locked out by sessions whose clients are gone: neither its owner nor another."""
    async with simulator() as google:
        running = await start(
            policy=POLICY, upstream={"base_url": google.url}, tenant={"quotas": {"concurrent_sessions": 1}}
        )
        client = Client(running)
        await client.begin_parked()
        await client.come_back()
        assert len(running.relay.registry) == 1
        client.vanish()
        await parked(running)
        newcomer = Client(running)
        await newcomer.begin()
        await gone(running, 1)

        assert running.relay.registry.parked() == 0
        await newcomer.turn("hello")


async def test_a_handover_goes_on_while_the_client_is_away(start: Start) -> None:
    """Google's cut and the client's meet: what the client missed is there when it is back, and so is the memory."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin_parked("my colour is green")
        google.fault(Action("cut", {"reset": True}))
        async with asyncio.timeout(WAIT_S):
            while (
                'relay_handovers_total{cause="lost",outcome="restored",tenant="acme"} 1.0'
                not in await running.metrics()
            ):
                await asyncio.sleep(0.01)
        await client.come_back()
        answer = await client.turn("what did I say?")

        assert "my colour is green" in said(answer)


async def test_a_page_that_is_loaded_again_is_parked(start: Start) -> None:
    """A browser says 1001 when a page goes: it may be back in a moment."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin()
        await client.socket.close(code=1001)
        await parked(running)
        page = await running.metrics()
        await client.come_back()

        assert 'relay_sessions_parked{tenant="acme"} 1.0' in page
        assert 'relay_sessions_parked{tenant="acme"} 0.0' in await running.metrics()


async def test_another_setup_is_not_the_parked_session(start: Start) -> None:
    """Who comes back asking for another voice gets it: the parked session ends, Gemini's memory goes on."""
    async with simulator() as google:
        running = await start(policy=POLICY, upstream={"base_url": google.url})
        client = Client(running)
        await client.begin_parked("my colour is green")
        voice = {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}}
        client.setup = {**client.setup, "generationConfig": voice}
        await client.come_back()
        answer = await client.turn("what did I say?")

        assert told(client.got, "resumed")["via"] == "handle"
        assert "my colour is green" in said(answer)
        await gone(running, 1)
