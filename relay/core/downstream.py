"""The client's side of a session across its sockets: what it was sent, what it missed, and the way back in.

A client that asked for resumption gets handles of the relay's own. Each stands for a place in the sequence of
messages this session sent; what came after it is kept, bounded, for a client that drops and comes back. A handle can
be claimed once: the next attachment has a generation of its own.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from relay.core.commands import Command, Send
from relay.core.events import DOWNSTREAM
from relay.core.handover import Handover
from relay.core.meter import Meter
from relay.core.policy import Behaviour
from relay.core.secret import Secret
from relay.core.server_frames import server_message

INTERRUPTED = server_message({"serverContent": {"interrupted": True}})
TURN_COMPLETE = server_message({"serverContent": {"turnComplete": True}})


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a handle of the relay's says."""

    handle: Secret
    """Gemini's handle; empty when it had issued none."""
    session: str = ""
    """The session it was given to."""
    generation: int = 0
    """Which attachment of that session's client it was given to."""
    place: int = 0
    """The place of the message that brought it."""


class Handles(Protocol):
    """Seals tickets for one tenant, policy and model, and opens them again."""

    def seal(self, ticket: Ticket, model: str) -> str:
        """The relay's own handle."""
        ...

    def unseal(self, handle: str, model: str) -> Ticket | None:
        """What a handle says; None for a string that `seal` did not make for this tenant, policy and model."""
        ...


PRESUMED_S = 30.0
"""A message older than this has reached a client that is still connected: TCP gives a dead one up long before."""
KEPT_OVERHEAD_BYTES = 128
"""What a kept message takes beside its payload: many small ones must not be a way past the bound."""


_Kept = tuple[int, bytes, bool, float]
"""Place, payload, whether its opcode is text, and when. Tuples, because the collector of cycles leaves those of plain
values alone; objects that live for seconds had it look at every session again and again, 60 ms each time."""


class Downstream:
    """What goes to the client, whether it is there or not."""

    def __init__(self, session_id: str, handles: Handles, max_bytes: int, behaviour: Behaviour, meter: Meter) -> None:
        self.attached = True
        """The client is there; while it is not, what comes for it is kept."""
        self.resumable = False
        """The client asked for handles, so it may come back."""
        self.now = 0.0
        """The clock's reading, in seconds; whoever hands an event in sets it."""
        self.generation = 0
        self.kept_bytes = 0
        self.setup_complete = b""
        """Gemini's answer to the setup, as the client got it."""
        self.missed = 0
        """Messages that are lost to the client."""
        self._session_id = session_id
        self._handles = handles
        self._max_bytes = max_bytes
        self._always_text = behaviour.server_text
        self._announce = behaviour.announce
        self._meter = meter
        self._place = 0
        self._kept: deque[_Kept] = deque()
        self._lost_place = 0
        """The newest place whose message is not kept any more."""
        self._last_places = (0, 0)
        """Of the two newest handles."""
        self._attached_place = 0
        """Of the handle that began the present attachment."""
        self._attached_missed = 0
        """How many messages the present attachment was told to be lost to it."""
        self._confirmed = 0
        """The newest attachment that said something, so that it got our side of it."""

    def send(self, payload: bytes, text: bool = False) -> list[Command]:
        """One message for the client: sent if it is there, kept if it may come back."""
        self._place += 1
        self._meter.count_down(len(payload))
        text = text or self._always_text
        if self.resumable:
            self._keep((self._place, payload, text, self.now))
        return [Send(DOWNSTREAM, payload, text)] if self.attached else []

    def heard(self) -> None:
        """The client said something on its present socket."""
        self._confirmed = self.generation

    def send_handle(self, gemini_handle: Secret, model: str) -> list[Command]:
        """Give the client a handle that leads back to this place."""
        if not self.resumable or not self.attached:
            return []  # while it is away it has no use for one; it gets one when it comes back
        self._place += 1
        ticket = Ticket(gemini_handle, self._session_id, self.generation, self._place)
        update = {"newHandle": self._handles.seal(ticket, model), "resumable": True}
        self._last_places = (self._last_places[1], self._place)
        # The client may have missed this one, and what came shortly before; of an attachment that never said anything
        # nobody knows what it got.
        while self._confirmed == self.generation and self._kept and self._is_settled(self._kept[0]):
            self._release()
        payload = server_message({"sessionResumptionUpdate": update})
        self._meter.count_down(len(payload))
        return [Send(DOWNSTREAM, payload, self._always_text)]

    def end_turn(self, *, interrupted: bool, cancelled: list[str]) -> list[Command]:
        """The end that Gemini will never send of a turn or of calls: players and state machines wait for it."""
        commands = []
        if cancelled:
            commands += self.send(server_message({"toolCallCancellation": {"ids": cancelled}}))
        if interrupted:
            commands += self.send(INTERRUPTED)
        return commands + self.send(TURN_COMPLETE)

    def announce(self, handover: Handover) -> list[Command]:
        """Tell the client of a handover, as far as its policy wants that."""
        if self._announce == "never" or (self._announce == "loss" and handover.lossless):
            return []
        return self._tell(
            "handover",
            {
                "cause": handover.cause.value,
                "planned": handover.planned,
                "outcome": handover.outcome.value,
                "stallMs": round(handover.stall_s * 1000, 1),
                "framesHeld": handover.frames_held,
                "replayed": handover.replayed,
                "dropped": handover.dropped,
                "uncertain": handover.uncertain,
                "turnCut": handover.turn_cut,
                "restored": handover.restored,
            },
        )

    def announce_resumed(self, via: str, replayed: int, missed: int | None) -> list[Command]:
        """Tell the client how it came back: `missed` messages are lost to it, None when nobody can say."""
        if self._announce == "never":
            return []
        return self._tell("resumed", {"via": via, "replayed": replayed, "missed": missed, "gap": missed != 0})

    def go_away(self, time_left_s: float) -> list[Command]:
        """Ask the client to go elsewhere by itself."""
        return self.send(server_message({"goAway": {"timeLeft": f"{max(time_left_s, 0.0):.3f}s"}}))

    # Dropping and coming back -----------------------------------------------------------------------------------------

    def may_claim(self, ticket: Ticket) -> bool:
        """Whether a ticket still leads here: each can be claimed once, again only when its claimer never got here."""
        return self._confirmed <= ticket.generation <= self.generation

    def place_of(self, ticket: Ticket, received_since: int) -> int:
        """How far the claimer of a ticket got, when it counts `received_since` messages after the one with the handle.

        With a ticket of an earlier attachment, it got nothing of what the present one was sent, not even its handle.
        """
        current = ticket.generation == self.generation
        return min(ticket.place + received_since, self._place) if current else self._attached_place - 1

    def attach(self, received: int, gemini_handle: Secret, model: str) -> tuple[list[Command], int, int]:
        """The client is back, with everything up to the place `received`.

        Returns what it gets first, how many messages were sent again, and how many, at most, are lost to it.
        """
        missed = max(self._lost_place - received, 0)
        self.missed += missed
        if received < self._attached_place:  # it never heard of what was lost before
            missed += self._attached_missed
        missing = [(payload, text) for place, payload, text, _ in self._kept if place > received]
        self._kept.clear()
        self.kept_bytes = 0
        self.attached = True
        self.generation += 1
        self._place += 1
        self._meter.count_down(len(self.setup_complete))
        commands: list[Command] = [Send(DOWNSTREAM, self.setup_complete, self._always_text)]
        commands += self.announce_resumed("parked", len(missing), missed)
        commands += self.send_handle(gemini_handle, model)
        self._attached_place, self._attached_missed = self._place, missed
        for payload, text in missing:
            commands += self.send(payload, text)
        return commands, len(missing), missed

    def forget(self) -> None:
        """The session is over: keep nothing any more."""
        self._kept.clear()
        self.kept_bytes = 0

    def _tell(self, what: str, body: dict[str, Any]) -> list[Command]:
        """A message of the relay's own rides on an empty serverContent: a name no SDK knows must not stand alone."""
        return self.send(server_message({"serverContent": {}, "relay": {what: body}}))

    def _keep(self, kept: _Kept) -> None:
        self._kept.append(kept)
        self.kept_bytes += len(kept[1])
        while self.kept_bytes + len(self._kept) * KEPT_OVERHEAD_BYTES > self._max_bytes:
            self._release()

    def _is_settled(self, kept: _Kept) -> bool:
        place, _, _, at = kept
        return place <= self._last_places[0] and at < self.now - PRESUMED_S

    def _release(self) -> None:
        self._lost_place, payload, _, _ = self._kept.popleft()
        self.kept_bytes -= len(payload)
