"""Gemini on a bad network, as the model of a session sees it: legs, states behind handles, and a ledger in each.

A client message is under way until it is consumed; what is consumed is in the leg's state. A handle is a name for the
state of that moment, and a leg that is resumed from it begins there.
"""

import json
from dataclasses import dataclass, field
from enum import Enum

IN_FLIGHT_S = 0.22
"""No message is longer under way: what the relay concludes from the round trip time in `events.Opened`."""


class At(Enum):
    """How far a leg is, as Gemini and the network know it."""

    DIALLED = "dialled"
    OPEN = "open"
    SET_UP = "set up"
    """It has its setup, and has not answered it."""
    READY = "ready"
    CLOSING = "closing"
    """The relay has closed it, and does not know yet that Gemini has closed it too."""
    GONE = "gone"


@dataclass
class GeminiLeg:
    """One connection."""

    at: At = At.DIALLED
    handle: str = ""
    """What its setup asked to resume from."""
    state: list[bytes] = field(default_factory=list)
    """Every client message that was consumed, in this session and those it was resumed from."""
    under_way: list[tuple[bytes, float]] = field(default_factory=list)
    """Client messages and when they were sent."""
    consumed: int = 0
    """Messages consumed on this connection, not counting the setup."""
    was_ready: bool = False
    awaited: bool = False
    """The relay waits for its close before it sets up another one."""


class Gemini:
    """All legs of one session, and the states behind its handles."""

    def __init__(self) -> None:
        self.legs: dict[int, GeminiLeg] = {}
        self.states: dict[str, list[bytes]] = {}

    def find(self, *at: At) -> int | None:
        """The newest leg that is that far."""
        return next((number for number in reversed(self.legs) if self.legs[number].at in at), None)

    def written(self, number: int, payload: bytes, now: float) -> None:
        """The relay writes on a leg: only one that is open, a setup first, and nothing else before the answer."""
        leg = self.legs[number]
        if payload.startswith(b'{"setup"'):
            assert leg.at is At.OPEN, f"a setup on a leg that is {leg.at.value}"
            leg.at = At.SET_UP
            leg.handle = json.loads(payload)["setup"]["sessionResumption"].get("handle", "")
        else:
            assert leg.at is At.READY, f"a message on a leg that is {leg.at.value}"
            leg.under_way.append((payload, now))

    def answer(self, number: int) -> None:
        """The setup is answered: the leg goes on from the state behind the handle."""
        leg = self.legs[number]
        leg.at, leg.was_ready = At.READY, True
        leg.state = list(self.states.get(leg.handle, []))

    def consume(self, number: int, count: int) -> None:
        """Some of what is under way has arrived."""
        leg = self.legs[number]
        for payload, _ in leg.under_way[:count]:
            leg.state.append(payload)
            leg.consumed += 1
        del leg.under_way[:count]

    def issue(self, number: int, now: float) -> str:
        """A handle for the state of now, with all in it that can't be under way any more."""
        leg = self.legs[number]
        self.consume(number, sum(sent_at < now - IN_FLIGHT_S + 1e-9 for _, sent_at in leg.under_way))
        handle = f"h{len(self.states) + 1}"
        self.states[handle] = list(leg.state)
        return handle

    def told(self, number: int) -> list[bytes]:
        """What a leg's state has, or will have when everything has arrived."""
        leg = self.legs[number]
        return leg.state + [payload for payload, _ in leg.under_way]
