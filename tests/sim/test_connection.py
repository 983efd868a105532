"""One WebSocket on the wire: pings, stalls, cuts, slow lines, closes; with real sockets."""

import asyncio
import base64
import time

import pytest

from relay.sim import Simulator, scenario, speech
from relay.sim.actions import Action
from tests.sim.client import PATH, PATIENCE_S, connected, eventually, simulator, talking
from tests.sim.playing import handles, said, setup


async def raw_socket(google: Simulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection that has done the upgrade by hand."""
    reader, writer = await asyncio.open_connection(google.host, google.port)
    writer.write(
        f"GET {PATH}?key=k HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    assert head.startswith(b"HTTP/1.1 101")
    return reader, writer


def masked(opcode: int, payload: bytes = b"") -> bytes:
    """A short client frame with a mask of zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


async def ponged(google: Simulator, within_s: float) -> float | None:
    """How long a ping took to be answered; None if it was not in time."""
    reader, writer = await raw_socket(google)
    began = time.monotonic()
    writer.write(masked(9, b"hi"))
    try:
        answer = await asyncio.wait_for(reader.readexactly(4), within_s)
    except TimeoutError:
        return None
    finally:
        writer.transport.abort()
    assert answer == b"\x8a\x02hi"
    return time.monotonic() - began


async def test_pings_are_answered_at_once_late_or_never() -> None:
    """By knob: immediately, after a delay, not at all."""
    async with simulator() as prompt, simulator(pong_delay_s=0.3) as slow, simulator(answer_pings=False) as mute:
        quick, late, never = await asyncio.gather(ponged(prompt, 5.0), ponged(slow, 5.0), ponged(mute, 0.5))

    assert quick is not None
    assert quick < 0.2
    assert late is not None
    assert late >= 0.3
    assert never is None


async def test_pings_can_come_from_the_server() -> None:
    """With `ping_every_s` the client is pinged."""
    async with simulator(ping_every_s=0.05) as google:
        reader, writer = await raw_socket(google)

        frames = await asyncio.wait_for(reader.readexactly(4), PATIENCE_S)
        writer.transport.abort()

    assert frames == b"\x89\x00" * 2


@pytest.mark.parametrize(("code", "seen"), [(1000, 1000), (3001, 3001), (None, 1005)])
async def test_the_clients_close_code_is_recorded(code: int | None, seen: int) -> None:
    """The code it sent, or 1005 where it sent none; and the close is answered."""
    async with simulator() as google:
        reader, writer = await raw_socket(google)
        writer.write(masked(8, b"" if code is None else code.to_bytes(2, "big")))
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        await eventually(google)

        assert google.connections[0].close_code == seen
        assert answer[0] == 0x88


async def test_a_client_that_vanishes_is_recorded_as_1006() -> None:
    """No close frame, just an end."""
    async with simulator() as google:
        _, writer = await raw_socket(google)
        writer.transport.abort()
        await eventually(google)

        assert google.connections[0].close_code == 1006


async def test_a_close_of_ours_is_answered_or_given_up() -> None:
    """The simulator waits for the client's close only so long."""
    async with simulator(close_timeout_s=0.2) as google:
        async with connected(google) as client:
            await client.send("garbage")
            assert await client.closed() == (1007, "Invalid JSON payload received. Unexpected token.")
        reader, writer = await raw_socket(google)
        writer.write(masked(1, b"garbage"))
        assert (await asyncio.wait_for(reader.read(), PATIENCE_S))[0] == 0x88
        writer.transport.abort()
        await eventually(google, 2)

        assert [record.close_code for record in google.connections] == [1000, 1006]
        assert google.connections[0].sent_close == (1007, "Invalid JSON payload received. Unexpected token.")


async def test_a_broken_frame_is_refused() -> None:
    """A reserved opcode is a protocol error: the WebSocket engine closes with 1002, and that is on record."""
    async with simulator() as google:
        reader, writer = await raw_socket(google)
        writer.write(masked(3))
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        await eventually(google)

        assert answer[:1] + answer[2:4] == b"\x88\x03\xea"
        assert google.connections[0].sent_close == (1002, "")


@pytest.mark.parametrize("reset", [True, False])
async def test_a_cut_has_no_close_frame(reset: bool) -> None:
    """A reset or a FIN: the client sees 1006 either way, and the session is free to be resumed at once."""
    async with simulator(handles="turn") as google, talking(google, sessionResumption={}) as client:
        await client.turn(said("hello"))
        (handle,) = handles(await client.until("sessionResumptionUpdate"))
        google.fault(Action("cut", {"reset": reset}))

        code, _ = await client.closed()
        assert code == 1006
        async with talking(google, sessionResumption={"handle": handle}):
            assert google.connections[1].session == "session-1"


async def test_a_reset_is_a_reset_and_a_fin_a_fin() -> None:
    """On the socket: ECONNRESET, or an orderly end of file."""
    async with simulator() as google:
        for reset in (True, False):
            reader, writer = await raw_socket(google)
            writer.write(masked(9, b"hi"))
            await asyncio.wait_for(reader.readexactly(4), PATIENCE_S)
            google.fault(Action("cut", {"reset": reset}))
            if reset:
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.read(), PATIENCE_S)
            else:
                assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
            writer.close()


async def test_nothing_is_consumed_after_a_cut() -> None:
    """What arrives on a connection that Google has left is not in the session's state."""
    async with simulator(close_timeout_s=0.5) as google, talking(google) as client:
        google.fault(Action("cut", {"reset": False}))
        await client.send({"realtimeInput": {"text": "too late"}})
        await client.closed()
        await eventually(google)

        (session,) = google.archive
        assert session.trail.entries() == []


async def test_a_stall_delays_and_loses_nothing() -> None:
    """Frames wait for its end; a deaf stall delays what the client sent, too."""
    for deaf in (False, True):
        async with simulator() as google, talking(google, outputAudioTranscription={}) as client:
            google.fault(Action("stall", {"for": 0.3, "deaf": deaf}))
            await asyncio.sleep(0.05)  # the stall begins when the connection gets to it
            began = time.monotonic()

            frames = await client.turn(said("hello"))

            assert time.monotonic() - began >= 0.2
            assert len(frames) > 20


async def test_silence_keeps_the_connection_open() -> None:
    """No frame, but pongs; and the socket stays."""
    async with simulator() as google, talking(google) as client:
        google.fault(Action("silence", {}))
        await client.send(said("hello"))

        with pytest.raises(TimeoutError):
            await client.ws.receive(0.2)
        assert not client.ws.closed
        assert google.connections[0].closed_at is None


async def test_frames_can_come_in_slices() -> None:
    """Written in small pieces, a frame is still the same frame, and so is the close after it."""
    async with simulator(slice_bytes=50) as google, talking(google) as client:
        await client.turn(said("hi"))
        await client.send("garbage")

        assert (await client.closed())[0] == 1007


async def test_a_slow_line_is_slow() -> None:
    """400 kB/s: a turn takes about as long as its bytes say."""
    async with simulator(line_bytes_per_second=400_000) as google, talking(google) as client:
        began = time.monotonic()

        frames = await client.turn(said("so"))

        bulk = sum(len(str(frame)) for frame in frames)
        assert time.monotonic() - began > 0.7 * bulk / 400_000


async def test_a_slow_reader_is_waited_for_in_bounded_memory() -> None:
    """Unsent frames of an answer are not made before they can be sent."""
    async with simulator() as google, connected(google) as client:
        await client.send(setup())
        await client.receive()
        for _ in range(40):
            await client.send({"realtimeInput": {"text": "tell me a very long story " * 20}})
        await asyncio.sleep(0.3)

        made = next(iter(google.archive)).sent.count
        assert made * 10_448 < 16 * 1024 * 1024
        client.ws._response.close()


async def test_an_oversized_message_is_refused() -> None:
    """The WebSocket engine closes with 1009."""
    async with simulator(max_message_bytes=1_000) as google, talking(google) as client:
        await client.send({"realtimeInput": {"text": "x" * 2_000}})

        assert (await client.closed())[0] in (1006, 1009)
        await eventually(google)


async def test_the_answer_is_audible() -> None:
    """PCM16 at 24 kHz, several seconds of it, and not silence."""
    async with simulator() as google, talking(google) as client:
        frames = await client.turn(said("hello"))

    parts = [part for frame in frames for part in frame.get("serverContent", {}).get("modelTurn", {}).get("parts", [])]
    assert {part["inlineData"]["mimeType"] for part in parts} == {"audio/pcm;rate=24000"}
    pcm = b"".join(base64.b64decode(part["inlineData"]["data"]) for part in parts)
    assert len(pcm) / speech.BYTES_PER_S > 3.0
    samples = memoryview(pcm).cast("h")
    assert (sum(sample * sample for sample in samples) / len(samples)) ** 0.5 > 1_000


async def test_scripts_run_against_real_sockets() -> None:
    """A scenario cuts the first connection in the middle of an answer; the second is left alone."""
    script = scenario.load("steps: [{when: {event: frame, connection: 1, frame: 5}, do: [{cut: {reset: true}}]}]")
    async with simulator(script) as google:
        async with talking(google) as client:
            await client.send(said("hello"))
            assert (await client.closed())[0] == 1006
        async with talking(google) as client:
            assert len(await client.turn(said("hello"))) > 5


async def test_go_away_on_the_wire() -> None:
    """Announced, ignored, closed with Google's words."""
    async with simulator(go_away_after_s=0.1, go_away_patience_s=0.2) as google, talking(google) as client:
        assert await client.receive() == {"goAway": {"timeLeft": "50s"}}
        code, reason = await client.closed()

    assert code == 1008
    assert reason == (
        "Connection aborted because the client failed to close the connection after receiving a GoAway signal once the "
        "session durat"
    )


async def test_a_bill_counts_once_it_is_told() -> None:
    """While it waits, which may be until its connection is over, nobody was charged by it."""
    async with simulator(burst=1.0) as google, talking(google) as client:
        await client.send(said("tell me a long story"))
        await client.until("serverContent")
        google.fault(Action("interrupt", {}))  # which ends the turn, with its bill
        (session,) = google.archive
        assert (session.bills, session.usage) == (1, [])
        told = await client.until("usageMetadata")
        assert session.usage == [told[-1]["usageMetadata"]]
