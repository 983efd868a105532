"""Conversations written down: `>>` an event for the session, `<<` a command it must answer with.

    assert (
        Playbook(connecting())
        >> Received(1, setup_complete(), text=False)
        << CancelTimer(Timer.CONNECT)
        << Send(DOWNSTREAM, setup_complete(), text=False)
    )

The whole script is played before it is judged; where the session did otherwise, the two transcripts are shown as a
diff. Commands nobody wrote down are a difference too. `<< None` says that an event leads to nothing.
"""

import difflib
import json
from dataclasses import dataclass
from typing import Any, Self

from relay.core.commands import Command
from relay.core.events import DOWNSTREAM, Event, Opened, Received
from relay.core.policy import Behaviour, Messages, Models, Policy, SetupRules
from relay.core.session import Limits, Session

MODEL = "models/gemini-3.8-live"
SETUP_REQUEST = b'{"setup":{}}'
SETUP = b'{"setup":{"model":"models/gemini-3.8-live"}}'
"""What Gemini gets for `SETUP_REQUEST` under `policy()`."""


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
        wanted = [f"{arrow} {step}" for arrow, step in self._script]
        found: list[str] = []
        for arrow, step in self._script:
            if arrow == "<<":
                continue
            found.append(f">> {step}")
            if isinstance(step, Wait):
                self._now += step.seconds
            else:
                found.extend(f"<< {command}" for command in self._session.handle(step, self._now))
        if wanted != found:
            diff = difflib.unified_diff(wanted, found, "the playbook", "the session", lineterm="", n=100)
            raise AssertionError("the session left the playbook\n" + "\n".join(diff))
        return True


class FakeHandles:
    """Seals handles so that anyone can read them."""

    def seal(self, handle: str, model: str) -> str:
        """`ours:<model>:<handle>`."""
        return f"ours:{model}:{handle}"

    def unseal(self, handle: str, model: str) -> str | None:
        """The handle behind one of ours."""
        prefix = f"ours:{model}:"
        return handle.removeprefix(prefix) if handle.startswith(prefix) else None


def policy(
    *allow: str, messages: Messages | None = None, enforce: dict[str, Any] | None = None, **behaviour: bool
) -> Policy:
    """A policy with one model that allows these setup paths."""
    return Policy(
        "test",
        Models(MODEL, frozenset()),
        setup=SetupRules(allow=frozenset(allow), enforce=enforce or {}),
        messages=messages or Messages(),
        behaviour=Behaviour(**behaviour),
    )


def awaiting(under: Policy | None = None, limits: Limits | None = None, jitter: float = 0.5) -> Session:
    """A session that has just begun; `jitter` is what its random source draws, always."""
    session = Session(under or policy(), limits or Limits(), FakeHandles(), lambda: jitter, 0.0)
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
