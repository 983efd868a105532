"""Handles that are missing, useless, dead or misleading, found out when the line is cut."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from proof.scene import Expect, NoFaultError, Row, Scene

_FRESH = Expect(outcomes=frozenset({"fresh"}), exact=False, recover_s=3.0)
_ANY = frozenset({"restored", "replayed", "fresh"})

Act = Callable[[Scene], Awaitable[None]]
"""What a row does."""


async def _cut(scene: Scene) -> None:
    scene.notes["handles"] = len(scene.session.handles)
    scene.notes["first"] = scene.session.open_connection
    scene.mark()
    scene.fault("cut", reset=True)


async def _cut_in_silence(scene: Scene) -> None:
    """Nobody says anything before the repeated contents have come: with an answer due they could be that answer."""
    await scene.client.turn("hello")
    await scene.covered()
    await _cut(scene)
    await scene.until("the contents came again", lambda: _contents_after(scene) >= _REPEATS)


def _contents_after(scene: Scene) -> int:
    entries = scene.session.sent.entries
    return sum(s.kind == "serverContent" and s.connection != scene.notes["first"] for s in entries)


def _resumes(scene: Scene) -> list[Any]:
    """The handles of the setups after the cut; None where there was none."""
    later = [r for r in scene.connections if r.id > scene.notes["first"] and r.setup is not None]
    return [(r.setup or {}).get("sessionResumption", {}).get("handle") for r in later]


def _no_handles(scene: Scene) -> str:
    return "" if scene.notes["handles"] else "no handle was ever issued"


def _issued(scene: Scene) -> str:
    count = scene.notes["handles"]
    return f"{count} handles before the cut" if count else ""


def _updates(message: dict[str, Any]) -> Act:
    """Let Gemini send an update that must not replace the good handle, then cut."""

    async def act(scene: Scene) -> None:
        before = scene.session.sent.count
        scene.fault("send", message={"sessionResumptionUpdate": message})
        await scene.until("the update", lambda: scene.session.sent.count > before)
        await scene.covered()
        await _cut(scene)

    return act


def _updated(scene: Scene) -> str:
    resumes = _resumes(scene)
    return f"an update came after {scene.notes['handles']} handles; resumed with one: {bool(resumes and resumes[0])}"


async def _kill(scene: Scene) -> None:
    await _note_handles(scene)
    scene.fault("kill_handles")
    scene.mark()
    scene.fault("cut", reset=True)


async def _note_handles(scene: Scene) -> None:
    scene.notes["handles"] = len(scene.session.handles)
    scene.notes["first"] = scene.session.open_connection


def _tried_the_dead(scene: Scene) -> str:
    tried = [handle for handle in _resumes(scene) if handle]
    return f"{len(tried)} resumes with a dead handle" if tried else ""


async def _half_open(scene: Scene) -> None:
    """The relay's side ends, the simulator's stays open for a while: a resume is refused meanwhile."""
    await _note_handles(scene)
    scene.mark()
    old = scene.proxy.half_reset()
    await asyncio.sleep(2.0)
    old.set()


def _was_refused(scene: Scene) -> str:
    refused = [r.sent_close for r in scene.connections if r.sent_close and r.sent_close[0] == 1011]
    return f"{len(refused)} resumes refused while the old connection was open" if refused else ""


async def _cut_after_answers(scene: Scene) -> None:
    await scene.client.turn("hello")
    await scene.client.turn("go on")
    await _cut(scene)


async def _cut_with_nothing_kept(scene: Scene) -> None:
    """More was said than the journal holds, and all of it was answered."""
    for _ in range(30):
        await scene.client.say("x" * 2000)
    await scene.client.turn("go on")
    await _cut(scene)


_REPEATS = 3


def _repeated(scene: Scene) -> str:
    """The contents repeated are transcripts: none may come to the client twice."""
    sent = [s for s in scene.session.sent.entries if s.connection != scene.notes["first"]]
    if [s.kind for s in sent[1 : _REPEATS + 1]] != ["serverContent"] * _REPEATS:
        return ""
    again = {(s.size, s.crc) for s in sent[1 : _REPEATS + 1]}
    written = sum((s.size, s.crc) in again for s in scene.session.sent.entries)
    shown = sum(identity in again for identity in scene.client.identities) - (written - _REPEATS)
    if shown > 0:
        raise NoFaultError(f"{shown} of {_REPEATS} repeated contents came to the client again")
    return f"{_REPEATS} contents repeated, none shown again"


ROWS = (
    Row(
        "handle never, nothing answered yet",
        _cut,
        _no_handles,
        Expect(outcomes=frozenset({"replayed"})),
        {"handles": "never"},
        handle=False,
    ),
    Row(
        "handle never, after answers",
        _cut_after_answers,
        _no_handles,
        Expect(outcomes=frozenset({"replayed", "fresh"}), exact=False),
        {"handles": "never"},
        handle=False,
    ),
    Row(
        "handle never, journal too small",
        _cut_with_nothing_kept,
        _no_handles,
        _FRESH,
        {"handles": "never"},
        sections={"handover": {"journal": "16KiB"}},
        handle=False,
    ),
    Row("handle rotated each frame", _cut, _issued, Expect(), {"handles": "frame"}),
    Row("handle resumable:false", _updates({}), _updated, Expect(), {"handles": "turn"}),
    Row("handle empty", _updates({"newHandle": "", "resumable": True}), _updated, Expect(), {"handles": "turn"}),
    Row("handle expired (1007)", _kill, _tried_the_dead, _FRESH, {"handles": "turn"}),
    Row("handle expired (1008)", _kill, _tried_the_dead, _FRESH, {"handles": "turn", "dead_handle": "1008-not-found"}),
    Row(
        "handle accepted but amnesic",
        _kill,
        _tried_the_dead,
        Expect(outcomes=_ANY, exact=False),
        {"handles": "turn", "dead_handle": "amnesia"},
    ),
    Row(
        "handle rejected while the old socket is open",
        _half_open,
        _was_refused,
        Expect(recover_s=6.0),
        {"resume_grace_s": 0.05},
        proxied=True,
    ),
    Row(
        "deltas replayed after resume",
        _cut_in_silence,
        _repeated,
        Expect(),
        {"replay_deltas": _REPEATS},
        replays=_REPEATS,
    ),
)
