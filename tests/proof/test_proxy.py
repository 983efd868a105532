"""Every harm the proxy promises really happens, and nothing else does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from proof.proxy import Answer, FaultProxy

WAIT_S = 5.0
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[FaultProxy, Callable[[], Awaitable[Line]], list[str]]]:
    """A proxy before a server that sends back what it gets; how to connect; how the server's connections ended."""
    ends: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
            ends.append("fin")
        except ConnectionError:
            ends.append("reset")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = FaultProxy(("127.0.0.1", server.sockets[0].getsockname()[1]))
    await proxy.start()
    lines: list[Line] = []

    async def connect() -> Line:
        async with asyncio.timeout(WAIT_S):
            lines.append(await asyncio.open_connection("127.0.0.1", proxy.port))
        return lines[-1]

    try:
        yield proxy, connect, ends
    finally:
        for _, writer in lines:
            writer.close()
        await proxy.stop()
        server.close()


async def say(line: Line, words: bytes) -> float:
    """Send something and wait until it came back; how long that took."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    line[1].write(words)
    async with asyncio.timeout(WAIT_S):
        assert await line[0].readexactly(len(words)) == words
    return loop.time() - begun


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for something, within limits."""
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.005)


async def test_it_passes_everything_on() -> None:
    """Without any harm it is a wire, to the last byte and the end."""
    async with echo() as (proxy, connect, ends):
        line = await connect()
        await say(line, bytes(range(256)) * 4000)
        line[1].write_eof()
        await eventually(lambda: ends == ["fin"])
        assert proxy.up.passed == proxy.down.passed == 1_024_000


async def test_it_delays() -> None:
    """A delay in each direction is a round trip of both."""
    async with echo() as (proxy, connect, _):
        line = await connect()
        proxy.up.delay_s = proxy.down.delay_s = 0.05
        assert 0.1 <= await say(line, b"x") < 1.0


async def test_it_delays_without_changing_the_order() -> None:
    """Jitter is lateness, never a swap."""
    async with echo() as (proxy, connect, _):
        line = await connect()
        proxy.down.jitter_s = 0.03
        words = b"".join(number.to_bytes(4, "big") for number in range(2000))
        for at in range(0, len(words), 400):
            line[1].write(words[at : at + 400])
            await asyncio.sleep(0.001)
        async with asyncio.timeout(WAIT_S):
            assert await line[0].readexactly(len(words)) == words


async def test_it_caps_the_rate() -> None:
    """20 kB at 40 kB/s take half a second."""
    async with echo() as (proxy, connect, _):
        line = await connect()
        proxy.up.bytes_per_s = 40_000.0
        assert 0.4 <= await say(line, bytes(20_000)) < 2.0


async def test_it_slices() -> None:
    """One byte at a time."""
    async with echo() as (proxy, connect, _):
        line = await connect()
        proxy.down.slice_bytes = 1
        await say(line, bytes(300))
        assert proxy.down.slices == 300


async def test_it_stalls_and_flows_again() -> None:
    """Nothing moves meanwhile, nothing is lost by it."""
    async with echo() as (proxy, connect, _):
        line = await connect()
        proxy.stall(up=False)
        line[1].write(b"late")
        await eventually(lambda: proxy.up.passed == 4)
        await asyncio.sleep(0.05)
        assert proxy.down.passed == 0
        proxy.flow()
        async with asyncio.timeout(WAIT_S):
            assert await line[0].readexactly(4) == b"late"


async def test_it_resets_both_sides() -> None:
    """A RST for the relay, and one for the simulator."""
    async with echo() as (proxy, connect, ends):
        line = await connect()
        await say(line, b"x")
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(line[0].read(1), WAIT_S)
        await eventually(lambda: ends == ["reset"])


async def test_it_resets_one_side_and_keeps_the_other_in_the_dark() -> None:
    """Until told otherwise, the simulator still believes in its connection."""
    async with echo() as (proxy, connect, ends):
        line = await connect()
        await say(line, b"x")
        old = proxy.half_reset()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(line[0].read(1), WAIT_S)
        await asyncio.sleep(0.05)
        assert ends == []
        old.set()
        await eventually(lambda: len(ends) == 1)


async def test_it_ends_with_a_fin_after_last_words() -> None:
    """The relay reads half a frame and then the end."""
    async with echo() as (proxy, connect, _):
        line = await connect()
        await say(line, b"x")
        assert proxy.fin(b"half") == 1
        assert await asyncio.wait_for(line[0].read(), WAIT_S) == b"half"


async def test_it_refuses_and_takes_up_again() -> None:
    """On the same port; who was connected stays so."""
    async with echo() as (proxy, connect, _):
        line = await connect()
        await say(line, b"x")
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await connect()
        await say(line, b"y")
        await proxy.start()
        await say(await connect(), b"z")


async def test_it_leaves_syns_unanswered() -> None:
    """A dial is neither refused nor accepted."""
    async with echo() as (proxy, connect, _):
        await connect()
        proxy.drop_syns()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection("127.0.0.1", proxy.port), 0.5)


async def test_it_accepts_and_says_nothing() -> None:
    """What a hanging TLS handshake looks like from outside."""
    async with echo() as (proxy, connect, _):
        proxy.answer = Answer.HANG
        line = await connect()
        line[1].write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line[0].read(1), 0.2)


async def test_it_resets_at_once() -> None:
    """A connection that is accepted only to be cut."""
    async with echo() as (proxy, connect, _):
        proxy.answer = Answer.RESET
        line = await connect()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(line[0].read(1), WAIT_S)
