"""Gemini announces the end of a connection, in all the ways it has been seen to do that."""

import asyncio
from collections.abc import Awaitable, Callable

from proof.client import TOOL_RESPONSE
from proof.scene import TOOLS, Expect, NoFaultError, Row, Scene
from proof.stage import consumed_by

_LONG = (
    "tell me a long story about foxes and dogs and everything that is between the two of them, and about the weather"
)
_PLANNED = Expect(planned=True, detect_s=None, recover_s=None, within_s=15.0)
_FORCED = Expect(planned=True, detect_s=None, recover_s=None, within_s=15.0, turn_cut=True)
_MARGIN_S = 5.0

Act = Callable[[Scene], Awaitable[None]]
"""What a row does."""


def _go_away(*time_left: float | None, then: str = "") -> Act:
    async def act(scene: Scene) -> None:
        scene.mark()
        scene.notes["connection"] = scene.session.open_connection
        for left in time_left:
            scene.fault("go_away", time_left=left)
        scene.notes["left"] = time_left[0]
        if then:
            scene.fault(then)

    return act


def _announced(scene: Scene) -> str:
    kinds = [s.kind for s in scene.session.sent.entries if s.connection == scene.notes["connection"]]
    count = kinds.count("goAway")
    return f"{count} goAway sent" if count else ""


def _in_time(scene: Scene) -> str:
    """Beside the proof of the fault: the old connection was left before Gemini would have cut it."""
    left = scene.notes["left"]
    record = next(r for r in scene.connections if r.id == scene.notes["connection"])
    if left and record.closed_at is not None and record.closed_at > scene.faulted_at + left - _MARGIN_S + 0.5:
        raise NoFaultError(f"left {record.closed_at - scene.faulted_at:.1f} s after a goAway with {left:g} s left")
    return _announced(scene)


def _in_a_turn(act: Act) -> Act:
    async def during(scene: Scene) -> None:
        before = len(scene.client.identities)
        await scene.client.say(_LONG)
        await scene.until("an answer", lambda: len(scene.client.identities) > before + 3)
        await act(scene)

    return during


async def _in_a_call(scene: Scene) -> None:
    call = await scene.call()
    await _go_away(12.0)(scene)
    await asyncio.sleep(1.0)
    scene.notes["early"] = len(scene.stage.journal.handovers)
    await scene.client.answer(call)


def _answered(scene: Scene) -> str:
    if scene.notes["early"]:
        raise NoFaultError("handed over while the call was open")
    answers = consumed_by(scene.session).count(TOOL_RESPONSE)
    if answers != 1:
        raise NoFaultError(f"Gemini's state holds {answers} answers to its call")
    return f"{_announced(scene)} during a call, which was answered before the handover"


async def _in_an_open_call(scene: Scene) -> None:
    await scene.call()
    await _go_away(12.0)(scene)


def _resumed_twice(scene: Scene) -> str:
    sent = [s.connection for s in scene.session.sent.entries if s.kind == "goAway"]
    return f"goAway on connections {sent}" if len(set(sent)) > 1 else ""


_ON_RESUME = "steps: [{when: {event: resumed, connection: 2}, do: [{go_away: {time_left: 10s}}]}]"
_BEFORE_SETUP = 'steps: [{when: {event: setup, connection: 2}, do: [{send: {message: {goAway: {timeLeft: "10s"}}}}]}]'

ROWS = (
    Row("goAway", _go_away(10.0), _in_time, _PLANNED),
    Row("goAway, transparent", _go_away(10.0), _in_time, _PLANNED, transparent=True),
    Row("goAway then silence", _go_away(10.0, then="silence"), _in_time, _PLANNED),
    Row(
        "goAway then silence in a model turn",
        _in_a_turn(_go_away(12.0, then="silence")),
        _in_time,
        _FORCED,
        {"burst": 2.0},
    ),
    Row("goAway 0s", _go_away(0.0), _announced, _PLANNED),
    Row("goAway without timeLeft", _go_away(None), _announced, _PLANNED),
    Row("two goAways", _go_away(10.0, 10.0), _announced, _PLANNED),
    Row("goAway in a tool call", _in_a_call, _answered, _PLANNED, setup={"tools": TOOLS}),
    Row("goAway in a tool call never answered", _in_an_open_call, _in_time, _FORCED, setup={"tools": TOOLS}),
    Row("goAway in a model turn", _in_a_turn(_go_away(15.0)), _announced, _PLANNED, {"burst": 3.0}),
    Row("goAway in a turn longer than timeLeft", _in_a_turn(_go_away(11.0)), _in_time, _FORCED, {"burst": 0.8}),
    Row(
        "goAway while resuming",
        _go_away(10.0),
        _resumed_twice,
        Expect(planned=True, detect_s=None, recover_s=None, handovers=(2, 2)),
        script=_ON_RESUME,
    ),
    Row(
        "goAway before the second setupComplete",
        _go_away(10.0),
        _announced,
        Expect(planned=True, detect_s=None, recover_s=None, handovers=(1, 2)),
        script=_BEFORE_SETUP,
    ),
)
