"""The line between relay and Gemini: cut, silent, slow, lossy, jittery, chopped."""

import asyncio
from collections.abc import Awaitable, Callable

from proof.scene import Expect, NoFaultError, Row, Scene

_LATE_S = 0.2
_NO_HANDOVER = (0, 0)


async def _reset(scene: Scene) -> None:
    scene.mark()
    scene.notes["cut"] = scene.proxy.reset()


async def _fin(scene: Scene) -> None:
    scene.mark()
    scene.notes["cut"] = scene.proxy.fin()


def _cut(scene: Scene) -> str:
    return f"{scene.notes['cut']} connection ended" if scene.notes["cut"] else ""


async def _reset_in_a_turn(scene: Scene) -> None:
    before = len(scene.client.identities)
    await scene.client.say("tell me a long story about foxes and dogs and everything that is between the two of them")
    await scene.until("an answer", lambda: len(scene.client.identities) > before + 3)
    await _reset(scene)


async def _reset_in_a_call(scene: Scene) -> None:
    await scene.call()
    await _reset(scene)


def _drop(*hooks: str, idle: bool = False) -> Callable[[Scene], Awaitable[None]]:
    """Drop what belongs to the connection in use, in these directions."""

    async def act(scene: Scene) -> None:
        through = scene.proxy.connections[-1]
        port = through.near.get_extra_info("peername")[1]
        if idle:
            scene.client.streaming.clear()
            await asyncio.sleep(_LATE_S)  # what is under way arrives
        scene.mark()
        for hook in hooks:
            await scene.cable.drop(hook, f"tcp {'sport' if hook == 'input' else 'dport'} {port}")

    return act


async def _dropped(scene: Scene) -> str:
    packets = await scene.cable.dropped()
    return f"{packets} packets dropped" if packets else ""


def _stall(seconds: float) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        scene.notes["down"] = scene.proxy.down.passed
        scene.mark()
        scene.proxy.stall()
        await scene.client.say("are you still there")
        before = scene.proxy.down.passed
        await asyncio.sleep(seconds)
        scene.notes["passed"] = scene.proxy.down.passed - before
        scene.proxy.flow()

    return act


def _stalled(scene: Scene) -> str:
    passed, dialled = scene.notes["passed"], scene.dials - scene.dials_before
    if passed and not dialled:
        raise NoFaultError(f"{passed} bytes passed while nothing should")
    return "nothing passed, an answer was due"


async def _deaf(scene: Scene) -> None:
    scene.mark()
    scene.fault("stall", **{"for": 5.0, "deaf": True})
    before = scene.session.trail.mark
    await asyncio.sleep(4.0)
    scene.notes["read"] = scene.session.trail.mark - before


def _was_deaf(scene: Scene) -> str:
    return "the simulator read nothing for 4 s" if scene.notes["read"] <= 1 else ""


async def _slow(scene: Scene) -> None:
    scene.mark()
    scene.proxy.up.bytes_per_s = scene.proxy.down.bytes_per_s = 20_000.0
    scene.notes["up"], scene.notes["at"] = scene.proxy.up.passed, scene.faulted_at
    await asyncio.sleep(3.0)
    passed = scene.proxy.up.passed - scene.notes["up"]
    scene.notes["rate"] = passed / (asyncio.get_running_loop().time() - scene.faulted_at)
    scene.client.streaming.clear()


def _was_slow(scene: Scene) -> str:
    rate = scene.notes["rate"]
    return f"{rate / 1000:.0f} kB/s of 43 went up" if rate < 25_000 else ""


async def _lossy(scene: Scene) -> None:
    scene.mark()
    for hook in ("input", "output"):
        await scene.cable.drop(hook, "numgen random mod 100 < 2")
    await scene.client.turn("are you still there")
    await asyncio.sleep(5.0)


async def _jitter(scene: Scene) -> None:
    scene.mark()
    scene.proxy.up.jitter_s = scene.proxy.down.jitter_s = 0.3
    begun = asyncio.get_running_loop().time()
    await scene.client.turn("are you still there")
    scene.notes["took"] = asyncio.get_running_loop().time() - begun
    await asyncio.sleep(3.0)


def _was_late(scene: Scene) -> str:
    return f"a turn took {scene.notes['took']:.2f} s" if scene.notes["took"] > 0.1 else ""


async def _slices(scene: Scene) -> None:
    scene.mark()
    up, down = scene.proxy.up, scene.proxy.down
    up.slice_bytes = down.slice_bytes = 1
    before = up.slices, down.slices
    for _ in range(8):
        await scene.client.chunk()
    await scene.client.turn("hi", 60.0)
    scene.notes["slices"] = (up.slices - before[0], down.slices - before[1])
    up.slice_bytes = down.slice_bytes = 0


def _were_slices(scene: Scene) -> str:
    up, down = scene.notes["slices"]
    return f"{up} writes of one byte up, {down} down" if up > 1000 and down > 1000 else ""


def _hole(name: str, act: Callable[[Scene], Awaitable[None]], detect_s: float, **more: object) -> Row:
    # Gemini can't be told that its connection is lost; it may take the new one while the old one seems open.
    expect = Expect(detect_s=detect_s, within_s=detect_s + 10.0)
    return Row(name, act, _dropped, expect, {"resume_while_open": "allow"}, cable=True, **more)  # type: ignore[arg-type]


_STEADY = Expect(handovers=_NO_HANDOVER, within_s=1.0, detect_s=None)

ROWS = (
    Row("RST", _reset, _cut, proxied=True),
    Row("RST, transparent", _reset, _cut, proxied=True, transparent=True),
    Row("RST in a model turn", _reset_in_a_turn, _cut, Expect(turn_cut=True), {"burst": 2.0}, proxied=True),
    Row(
        "RST in a tool call",
        _reset_in_a_call,
        _cut,
        Expect(turn_cut=True),
        setup={"tools": [{"functionDeclarations": [{"name": "get_weather"}]}]},
        proxied=True,
    ),
    Row("FIN without close frame", _fin, _cut, proxied=True),
    _hole("black hole while sending", _drop("input", "output"), 4.5),
    _hole("black hole while sending, transparent", _drop("input", "output"), 4.5, transparent=True),
    _hole("black hole, idle", _drop("input", "output", idle=True), 25.0, streaming=False),
    _hole("one-way loss, relay to Gemini", _drop("input"), 4.5),
    _hole("one-way loss, Gemini to relay", _drop("output"), 4.5),
    Row("stall 1 s", _stall(1.0), _stalled, _STEADY, proxied=True),
    Row("stall 5 s", _stall(5.0), _stalled, _STEADY, proxied=True),
    Row(
        "stall 30 s",
        _stall(30.0),
        _stalled,
        Expect(handovers=(0, 1), detect_s=None, recover_s=None, within_s=31.0),
        {"resume_while_open": "allow"},
        proxied=True,
    ),
    Row("Gemini deaf and silent for 5 s", _deaf, _was_deaf, _STEADY),
    Row("20 kB/s", _slow, _was_slow, _STEADY, proxied=True, settle_s=40.0),
    Row("2 % packet loss", _lossy, _dropped, _STEADY, cable=True),
    Row("300 ms jitter", _jitter, _was_late, _STEADY, proxied=True),
    Row("1-byte slices", _slices, _were_slices, _STEADY, proxied=True, streaming=False, alone=True),
)
