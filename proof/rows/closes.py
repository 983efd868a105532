"""Gemini closes: passing reasons that a session survives, final ones that must end it at once."""

from collections.abc import Awaitable, Callable

from proof.scene import Expect, Row, Scene

_IGNORED = (
    "Connection aborted because the client failed to close the connection after receiving a GoAway signal once the "
    "session durat"
)
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_HALF_A_FRAME = b"\x82\x7e\x10\x00half"


def _close(code: int, reason: str) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        scene.notes["connection"] = scene.session.open_connection
        scene.mark()
        scene.fault("close", code=code, reason=reason)

    return act


def _sent_close(scene: Scene) -> str:
    record = next(r for r in scene.connections if r.id == scene.notes["connection"])
    return f"simulator closed {record.sent_close[0]}" if record.sent_close else ""


def _passing(name: str, code: int, reason: str = "", **more: object) -> Row:
    return Row(name, _close(code, reason), _sent_close, **more)  # type: ignore[arg-type]


def _final(name: str, code: int, reason: str, *codes: int) -> Row:
    expect = Expect(codes=frozenset(codes), handovers=(0, 1), redials=False, within_s=3.0)
    return Row(name, _close(code, reason), _sent_close, expect)


async def _cut_a_turn(scene: Scene) -> None:
    scene.notes["connection"] = scene.session.open_connection
    before = len(scene.client.all("modelTurn")) + len(scene.client.identities)
    await scene.client.say("tell me a long story about foxes and dogs and everything that is between the two of them")
    await scene.until("an answer", lambda: len(scene.client.identities) > before + 3)
    scene.mark()
    scene.fault("close", code=1011, reason="Internal error encountered.")


async def _half_a_frame(scene: Scene) -> None:
    scene.mark()
    scene.notes["cut"] = scene.proxy.fin(_HALF_A_FRAME)


def _was_cut(scene: Scene) -> str:
    return f"{scene.notes['cut']} connection cut inside a frame" if scene.notes["cut"] else ""


ROWS = (
    _passing("close 1000", 1000),
    _passing("close 1001", 1001),
    Row("close 1006 (cut inside a frame)", _half_a_frame, _was_cut, proxied=True),
    _passing("close 1011 deadline", 1011, "Deadline expired before operation could complete."),
    _passing("close 1011 internal", 1011, "Internal error encountered."),
    _passing("close 1011 overloaded", 1011, "The service is currently unavailable."),
    _passing("close 1008 goAway ignored", 1008, _IGNORED),
    _passing("close 1008 aborted", 1008, "The operation was aborted."),
    _passing(
        "close 1011 deadline, transparent", 1011, "Deadline expired before operation could complete.", transparent=True
    ),
    Row("close 1011 in a model turn", _cut_a_turn, _sent_close, Expect(turn_cut=True), knobs={"burst": 2.0}),
    _final("close 1011 quota", 1011, _QUOTA, 1013),
    _final("close 1011 resource exhausted", 1011, "Resource has been exhausted (e.g. check quota).", 1013),
    _final("close 1011 billing", 1011, "Your prepayment credits are depleted.", 1011),
    _final("close 1007 invalid argument", 1007, "Request contains an invalid argument.", 1007),
    _final("close 1007 key refused", 1007, "API key not valid. Please pass a valid API key.", 1011),
)
