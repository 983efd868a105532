"""Nothing is wrong, it only looks so: slow pongs, no pongs, pings of Gemini's own, a relay short of CPU."""

import asyncio
from pathlib import Path

from proof.scene import Expect, NoFaultError, Row, Scene

_QUIET_S = 35.0
_STARVED_S = 12.0
_SHARE = 0.1
_CGROUP = Path("/sys/fs/cgroup/cpu")
_CALM = Expect(handovers=(0, 0), detect_s=None, within_s=1.0)


async def _idle(scene: Scene) -> None:
    """Nobody says anything for longer than any pong takes."""
    scene.client.streaming.clear()
    await asyncio.sleep(0.5)  # what is under way arrives
    scene.mark()
    before = scene.proxy.up.passed
    await asyncio.sleep(_QUIET_S)
    scene.notes["up"] = scene.proxy.up.passed - before


def _pings(scene: Scene) -> str:
    """What went up from an idle relay can only be control frames."""
    profile = scene.stage.simulator.profile
    if profile.answer_pings and not profile.pong_delay_s:
        raise NoFaultError("pongs are neither late nor missing")
    manner = f"pongs after {profile.pong_delay_s:g} s" if profile.answer_pings else "no pongs"
    up = scene.notes["up"]
    sent = f"{up} bytes of pings" if up else "the relay sent no ping that could go unanswered"
    return f"{manner}, {_QUIET_S:g} s idle, {sent}"


def _pongs(scene: Scene) -> str:
    up = scene.notes["up"]
    return f"{up} bytes of pongs answered the simulator's pings" if up else ""


async def _starve(scene: Scene) -> None:
    group = _CGROUP / f"proof-{scene.stage.pid}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text(str(int(_SHARE * 100_000)))
        (group / "cgroup.procs").write_text(str(scene.stage.pid))
    except OSError as error:
        raise NoFaultError(f"no cgroup to starve the relay in (root and cgroup v1 needed): {error.strerror}") from None
    scene.mark()
    try:
        await _busy(scene)
        scene.notes["stat"] = (group / "cpu.stat").read_text()
    finally:
        (_CGROUP / "cgroup.procs").write_text(str(scene.stage.pid))
        group.rmdir()


async def _busy(scene: Scene) -> None:
    """Enough work that a tenth of a core is too little."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_flood(scene))
        await asyncio.sleep(_STARVED_S)


async def _flood(scene: Scene) -> None:
    until = asyncio.get_running_loop().time() + _STARVED_S
    while asyncio.get_running_loop().time() < until:
        for _ in range(20):
            await scene.client.chunk()
        await asyncio.sleep(0.01)


def _throttled(scene: Scene) -> str:
    found = dict(line.split() for line in scene.notes["stat"].splitlines())
    times = int(found["nr_throttled"])
    return f"throttled {times} times of {found['nr_periods']}" if times > 5 else ""


ROWS = (
    Row("pong after 30 s", _idle, _pings, _CALM, {"pong_delay_s": 30.0, "handles": "turn"}, proxied=True),
    Row("no pong at all", _idle, _pings, _CALM, {"answer_pings": False, "handles": "turn"}, proxied=True),
    Row("server pings", _idle, _pongs, _CALM, {"ping_every_s": 0.5, "handles": "turn"}, proxied=True),
    Row("CPU-starved relay (10 % of a core)", _starve, _throttled, _CALM, own_process=True, alone=True, settle_s=20.0),
)
