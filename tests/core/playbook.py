"""Conversations written down: `>>` an event for the session, `<<` a command it must answer with.

    assert (
        Playbook(connecting())
        >> Received(1, setup_complete(), text=False)
        << CancelTimer(Timer.CONNECT)
        << Send(DOWNSTREAM, setup_complete(), text=False)
    )

The whole script is played before it is judged; where the session did otherwise, the two transcripts are shown as a
diff. Commands nobody wrote down are a difference too, but for those in `HOUSEKEEPING` that the script does not
mention at all. `<< None` says that an event leads to nothing.
"""

import base64
import difflib
import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self

from relay.core.commands import CancelTimer, Command, HandedOver, Ping, SetTimer
from relay.core.downstream import Downstream, Ticket
from relay.core.events import DOWNSTREAM, Event, Opened, Received, Timer, TimerFired
from relay.core.handover import Cause, Continuity, Handover, Outcome
from relay.core.holding import Holding
from relay.core.limits import Limits
from relay.core.memory import Shared
from relay.core.meter import Meter
from relay.core.policy import Behaviour, Conversation, Messages, Models, Policy, SetupRules
from relay.core.secret import Secret
from relay.core.session import Session
from relay.core.turns import Turns

MODEL = "models/gemini-3.8-live"
SETUP_REQUEST = b'{"setup":{}}'
SETUP = b'{"setup":{"model":"models/gemini-3.8-live","sessionResumption":{}}}'
"""What Gemini gets for `SETUP_REQUEST` under `policy()`."""
CALM = Limits(continuity=Continuity(rotate_after_s=None))
"""Everything at its default, and no rotation."""
HOUSEKEEPING = frozenset(
    {Timer.ANSWER, Timer.CLOSING, Timer.DEADLINE, Timer.QUIET, Timer.ROTATE, Timer.SAFE_POINT, Timer.STALL, Ping}
)
"""Timers, and pings, that a script may leave out: they come all the time, and are of interest to few tests."""


@dataclass(frozen=True)
class Wait:
    """Let time pass, in seconds."""

    seconds: float


class Playbook:
    """A script for one session; true when the session did as it says, else an AssertionError with the diff."""

    def __init__(self, session: Session, now: float = 0.0) -> None:
        self._session = session
        self._now = now
        self._script: list[tuple[str, Any]] = []

    def __rshift__(self, event: Event | Wait) -> Self:
        self._script.append((">>", event))
        return self

    def __lshift__(self, command: Command | None) -> Self:
        if command is not None:
            self._script.append(("<<", command))
        return self

    def __bool__(self) -> bool:
        wanted = [f"{arrow} {_shown(step)}" for arrow, step in self._script]
        unmentioned = HOUSEKEEPING - {_chore(step) for _, step in self._script}
        found: list[str] = []
        for arrow, step in self._script:
            if arrow == "<<":
                continue
            found.append(f">> {_shown(step)}")
            if isinstance(step, Wait):
                self._now += step.seconds
            else:
                commands = self._session.handle(step, self._now)
                found.extend(f"<< {_shown(command)}" for command in commands if _chore(command) not in unmentioned)
        if wanted != found:
            diff = difflib.unified_diff(wanted, found, "the playbook", "the session", lineterm="", n=100)
            raise AssertionError("the session left the playbook\n" + "\n".join(diff))
        return True


def _shown(step: Any) -> str:
    """A step with all it holds: what its own `repr` leaves out counts here."""
    if isinstance(step, Secret):
        return f"Secret({step.reveal()!r})"
    if not is_dataclass(step) or isinstance(step, type):
        return repr(step)
    held = (f"{each.name}={_shown(getattr(step, each.name))}" for each in fields(step))
    return f"{type(step).__name__}({', '.join(held)})"


def _chore(step: Any) -> Timer | type[Ping] | None:
    """The timer a step is about, or that it is a ping."""
    if isinstance(step, Ping):
        return Ping
    return step.timer if isinstance(step, SetTimer | CancelTimer | TimerFired) else None


class FakeHandles:
    """Seals handles so that anyone can read them."""

    def seal(self, ticket: Ticket, model: str) -> str:
        """`ours:<model>:<session>:<generation>:<place>:<handle>`; the model has no dot, which ends a handle."""
        model = model.replace(".", "_")
        return f"ours:{model}:{ticket.session}:{ticket.generation}:{ticket.place}:{ticket.handle.reveal()}"

    def unseal(self, handle: str, model: str) -> Ticket | None:
        """The ticket behind one of ours."""
        ours, _, rest = handle.partition(":")
        if ours != "ours":
            return None
        sealed_model, session, generation, place, theirs = rest.split(":", 4)
        if sealed_model != model.replace(".", "_"):
            return None
        return Ticket(Secret(theirs), session, int(generation), int(place))


def policy(
    *allow: str, messages: Messages | None = None, enforce: dict[str, Any] | None = None, **behaviour: Any
) -> Policy:
    """A policy with one model that allows these setup paths; handovers are announced only where a test asks for it."""
    return Policy(
        "test",
        Models(MODEL, frozenset()),
        setup=SetupRules(allow=frozenset(allow), enforce=enforce or {}),
        messages=messages or Messages(),
        behaviour=Behaviour(**{"announce": "never", **behaviour}),
    )


def awaiting(under: Policy | None = None, limits: Limits | None = None, jitter: float = 0.5) -> Session:
    """A session that has just begun; `jitter` is what its random source draws, always."""
    session = Session("s1", under or policy(), limits or CALM, FakeHandles(), lambda: jitter)
    session.start(0.0)
    return session


def connecting(session: Session | None = None, setup: bytes = SETUP_REQUEST) -> Session:
    """A session whose setup was accepted and sent on leg 1; Gemini has not answered it."""
    session = session or awaiting()
    session.handle(Received(DOWNSTREAM, setup, text=True), 0.0)
    session.handle(Opened(1), 0.0)
    return session


def relaying(session: Session | None = None, setup: bytes = SETUP_REQUEST) -> Session:
    """A session in full conversation on leg 1."""
    session = connecting(session, setup)
    session.handle(Received(1, setup_complete(), text=False), 0.0)
    return session


# Messages ------------------------------------------------------------------------------------------------------------


def spoken(text: str) -> bytes:
    """A client's message, as the relay would write it."""
    return compact({"realtimeInput": {"text": text}})


def compact(tree: Any) -> bytes:
    """JSON as the relay writes it to Gemini."""
    return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()


def pretty(tree: Any) -> bytes:
    """JSON as Gemini writes it."""
    return json.dumps(tree, indent=2, ensure_ascii=False).encode() + b"\n"


def setup_complete() -> bytes:
    """Gemini's answer to a setup."""
    return pretty({"setupComplete": {}})


def content(text: str) -> bytes:
    """A piece of what the model says."""
    return pretty({"serverContent": {"outputTranscription": {"text": text}}})


def client(payload: bytes, *, text: bool = True) -> Received:
    """The client sends a message."""
    return Received(DOWNSTREAM, payload, text)


def gemini(payload: bytes, *, leg: int = 1, text: bool = False) -> Received:
    """Gemini sends a message, in a binary frame as it does."""
    return Received(leg, payload, text)


def turn_complete() -> bytes:
    """The end of a turn of the model's."""
    return pretty({"serverContent": {"turnComplete": True}})


def generated() -> bytes:
    """The model's answer is complete; its turn is not, until it has presumably been played."""
    return pretty({"serverContent": {"generationComplete": True}})


def interrupted() -> bytes:
    """The user spoke into the model's turn."""
    return pretty({"serverContent": {"interrupted": True}})


def audio_out(seconds: float) -> bytes:
    """Speech of the model, of this length."""
    data = base64.b64encode(bytes(int(seconds * 48_000))).decode()
    blob = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}
    return pretty({"serverContent": {"modelTurn": {"parts": [blob]}}})


def tool_call(*ids: str) -> bytes:
    """Gemini wants functions called."""
    return pretty({"toolCall": {"functionCalls": [{"id": call_id, "name": "f", "args": {}} for call_id in ids]}})


def tool_answer(*ids: str) -> bytes:
    """The client's answers of functions, as the relay would write them."""
    return compact({"toolResponse": {"functionResponses": [{"id": call_id, "response": {}} for call_id in ids]}})


def issued(handle: str, consumed: int = 0) -> bytes:
    """Gemini issues a usable handle; `consumed` is the index it tells in transparent mode."""
    index = {"lastConsumedClientMessageIndex": str(consumed)} if consumed else {}
    return pretty({"sessionResumptionUpdate": {"newHandle": handle, "resumable": True, **index}})


def go_away(time_left: str | None = "50s") -> bytes:
    """Gemini announces the end of its connection."""
    return pretty({"goAway": {} if time_left is None else {"timeLeft": time_left}})


def microphone(mark: int, seconds: float = 0.1) -> bytes:
    """Audio from the client's microphone, as the relay would write it; `mark` tells pieces apart.

    30 Hz, so that a second of it is a short line in a playbook.
    """
    data = base64.b64encode(mark.to_bytes(2) * round(seconds * 30)).decode()
    return compact({"realtimeInput": {"audio": {"data": data, "mimeType": "audio/pcm;rate=30"}}})


# Handovers -----------------------------------------------------------------------------------------------------------

AT_REST = 5.0
"""When `at_rest` has come to rest."""


def at_rest(session: Session | None = None, setup: bytes = SETUP_REQUEST) -> Session:
    """A session after one question and its answer, with the handle `h1` that covers both: a safe point."""
    session = relaying(session, setup)
    session.handle(client(spoken("question")), 1.0)
    session.handle(gemini(content("answer")), 2.0)
    session.handle(gemini(turn_complete()), 3.0)
    session.handle(gemini(issued("h1", consumed=1)), 4.0)
    return session


def resume(handle: str = "", **fields: Any) -> bytes:
    """The setup of a leg that resumes, under `policy()`; with more fields than the model if the client gave them."""
    wanted = {"handle": handle} if handle else {}
    return compact({"setup": {"model": MODEL, **fields, "sessionResumption": wanted}})


def handed_over(cause: Cause, outcome: Outcome = Outcome.RESTORED, **fields: Any) -> HandedOver:
    """The record of a handover, unplanned unless `planned` is among the fields; what is not given is nothing."""
    plain: dict[str, Any] = {
        "planned": False,
        "stall_s": 0.0,
        "frames_held": 0,
        "replayed": 0,
        "dropped": 0,
        "uncertain": 0,
        "turn_cut": False,
        "dials": 1,
    }
    return HandedOver(Handover(cause, outcome=outcome, **{**plain, **fields}))


def shared() -> Shared:
    """What a session and its line both work with, for tests of the line's parts alone."""
    meter = Meter()
    downstream = Downstream("s1", FakeHandles(), 0, Behaviour(announce="never"), meter)
    return Shared(downstream, Conversation(), Turns(), Holding(1000), meter, lambda: 0.0)
