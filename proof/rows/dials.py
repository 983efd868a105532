"""The line is cut, and the next dial meets something: once, or always, and then the session ends with 1013."""

import asyncio
from collections.abc import Awaitable, Callable

from proof.proxy import Answer
from proof.scene import Expect, Row, Scene

_PHASE_S = 5.0
"""How long the relay gives TCP, TLS and upgrade together."""
_BACK = Expect(recover_s=_PHASE_S + 3.0, within_s=14.0)
_GIVEN_UP = Expect(codes=frozenset({1013}), handovers=(0, 1), within_s=25.0, detect_s=None)
_EITHER = frozenset({1011, 1013})

Act = Callable[[Scene], Awaitable[None]]
"""What a row does."""


async def _cut(scene: Scene) -> None:
    scene.notes["failures"] = scene.dial_failures()
    scene.mark()
    scene.proxy.reset()


def _failed(scene: Scene) -> str:
    count = scene.dial_failures() - scene.notes["failures"]
    return f"the relay reports {count} failed dials" if count else ""


async def _refuse_once(scene: Scene) -> None:
    scene.proxy.refuse()
    await _cut(scene)
    await scene.until("a refused dial", lambda: scene.dial_failures() > scene.notes["failures"])
    await scene.proxy.start()


async def _refuse(scene: Scene) -> None:
    scene.proxy.refuse()
    await _cut(scene)


async def _drop_syns_once(scene: Scene) -> None:
    scene.proxy.drop_syns()
    await _cut(scene)
    begun = asyncio.get_running_loop().time()
    await scene.until("a dial without an answer", lambda: scene.dial_failures() > scene.notes["failures"])
    scene.notes["unanswered_s"] = asyncio.get_running_loop().time() - begun
    scene.proxy.refuse()
    await scene.proxy.start()


def _unanswered(scene: Scene) -> str:
    failed, took = _failed(scene), scene.notes.get("unanswered_s", _PHASE_S)
    return f"{failed}, the first after {took:.1f} s" if failed and took > 1.0 else ""


async def _drop_syns(scene: Scene) -> None:
    scene.proxy.drop_syns()
    await _cut(scene)


async def _hang_once(scene: Scene) -> None:
    scene.proxy.answer = Answer.HANG
    accepted = scene.proxy.accepted
    await _cut(scene)
    await scene.until("a dial", lambda: scene.proxy.accepted > accepted)
    scene.notes["hung"] = scene.proxy.accepted - accepted
    scene.proxy.answer = Answer.SERVE


async def _hang(scene: Scene) -> None:
    scene.notes["accepted"] = scene.proxy.accepted
    scene.proxy.answer = Answer.HANG
    await _cut(scene)


def _hung(scene: Scene) -> str:
    hung = scene.notes.get("hung") or scene.proxy.accepted - scene.notes["accepted"]
    return f"{hung} connections accepted and not answered" if hung else ""


def _upgrades(answer: str, failures: int) -> Act:
    async def act(scene: Scene) -> None:
        scene.notes["seen"] = len(scene.connections)
        scene.next_upgrades(answer, failures)
        await _cut(scene)

    return act


def _answered(answer: str) -> Callable[[Scene], str]:
    def proof(scene: Scene) -> str:
        met = scene.connections[scene.notes["seen"] :]
        if answer.isdigit():
            met = [record for record in met if record.status == int(answer)]
        return f"{len(met)} dials came, the first met {answer}" if met else ""

    return proof


async def _just_cut(scene: Scene) -> None:
    scene.notes["seen"] = len(scene.connections)
    await _cut(scene)


def _silent_setup(scene: Scene) -> str:
    met = scene.connections[scene.notes["seen"] :]
    return f"{len(met)} dials, the first got {met[0].frames_sent} frames" if met else ""


def _script(what: str, always: bool = False) -> str:
    where = "count: 2, repeat: true" if always else "connection: 2"
    return f"steps: [{{when: {{event: setup, {where}}}, do: [{what}]}}]"


def _meets(answer: str, once: Expect, for_ever: Expect) -> tuple[Row, Row]:
    return (
        Row(f"upgrade {answer} once", _upgrades(answer, 1), _answered(answer), once, proxied=True),
        Row(f"upgrade {answer} for ever", _upgrades(answer, 0), _answered(answer), for_ever, proxied=True),
    )


_QUICK = Expect(recover_s=5.0)
_REFUSED = Expect(codes=_EITHER, handovers=(0, 1), within_s=25.0, detect_s=None)
_MAPPED = Expect(may_end=_EITHER, recover_s=5.0, detect_s=None, within_s=20.0)

ROWS = (
    Row("refused once", _refuse_once, _failed, _BACK, proxied=True),
    Row("refused for ever", _refuse, _failed, _GIVEN_UP, proxied=True),
    Row("SYN dropped once", _drop_syns_once, _unanswered, _BACK, proxied=True),
    Row("SYN dropped for ever", _drop_syns, _unanswered, _GIVEN_UP, proxied=True),
    Row("TLS hangs once", _hang_once, _hung, _BACK, proxied=True, tls=True, own_process=True),
    Row("TLS hangs for ever", _hang, _hung, _GIVEN_UP, proxied=True, tls=True, own_process=True),
    Row("upgrade never answered once", _upgrades("hang", 1), _answered("hang"), _BACK, proxied=True),
    Row("upgrade never answered for ever", _upgrades("hang", 0), _answered("hang"), _GIVEN_UP, proxied=True),
    Row(
        "101 but no setupComplete once",
        _just_cut,
        _silent_setup,
        Expect(recover_s=12.0, within_s=20.0),
        script=_script("{silence: }"),
        proxied=True,
    ),
    Row(
        "101 but no setupComplete for ever",
        _just_cut,
        _silent_setup,
        _GIVEN_UP,
        script=_script("{silence: }", always=True),
        proxied=True,
    ),
    Row(
        "setupComplete after 20 s",
        _just_cut,
        _silent_setup,
        Expect(may_end=_EITHER, recover_s=21.0, detect_s=None, within_s=30.0),
        script=_script("{stall: {for: 20s}}"),
        proxied=True,
    ),
    *_meets("403", _MAPPED, _REFUSED),
    *_meets("429", _MAPPED, _REFUSED),
    *_meets("500", _QUICK, _GIVEN_UP),
    *_meets("503", _QUICK, _GIVEN_UP),
    *_meets("redirect", _MAPPED, _REFUSED),
    *_meets("bad-accept", _MAPPED, _REFUSED),
    *_meets("bad-subprotocol", _MAPPED, _MAPPED),
)
