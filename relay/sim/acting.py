"""Carries out an `Action` on a connection: scripted steps and faults from outside end here. Pure."""

from relay.sim.actions import Action
from relay.sim.archive import Archive
from relay.sim.encoding import MAX_REASON_BYTES
from relay.sim.lifecycle import Lifecycle
from relay.sim.line import Line
from relay.sim.mouth import Mouth
from relay.sim.outputs import Close, Cut, Frame, Stall


class Actor:
    """Acts on one connection; before its setup is complete only on the wire."""

    def __init__(self, line: Line, archive: Archive, lifecycle: Lifecycle | None, mouth: Mouth | None) -> None:
        self._line = line
        self._archive = archive
        self._lifecycle = lifecycle
        self._mouth = mouth

    def act(self, action: Action, index: int, now: float) -> None:
        """Do it; `index` is the place of the last message consumed on this connection."""
        if not self._on_the_wire(action) and self._lifecycle is not None and self._mouth is not None:
            self._in_the_conversation(action, self._lifecycle, self._mouth, index, now)

    def _on_the_wire(self, action: Action) -> bool:
        given = action.arguments
        match action.kind:
            case "close":
                self._line.put(Close(given["code"], given["reason"][: MAX_REASON_BYTES * 4]))
            case "cut":
                self._line.put(Cut(given["reset"]))
            case "stall":
                self._line.put(Stall(given["for"], given["deaf"]))
            case "silence":
                self._line.silent = True
            case "send":
                self._line.send_message(given["message"], next(iter(given["message"]), "empty"))
            case "send_text":
                self._line.put(Frame("raw", given["text"].encode(), self._line.next_number(taken=True)))
            case _:
                return False
        return True

    def _in_the_conversation(self, action: Action, lifecycle: Lifecycle, mouth: Mouth, index: int, now: float) -> None:
        given = action.arguments
        match action.kind:
            case "go_away":
                lifecycle.go_away(given["time_left"], now)
            case "say":
                mouth.answer(given["text"], now)
            case "tool_call":
                mouth.call([mouth.new_call(given["name"], given["args"], given["blocking"])], now)
            case "cancel_calls":
                if mouth.open_calls():
                    mouth.cancel(mouth.open_calls())
            case "interrupt":
                mouth.interrupt(now)
            case "handle":
                lifecycle.send_handle(given["resumable"], index, now)
            case "kill_handles":
                if self._line.session is not None:
                    self._archive.expire_handles(self._line.session)
            case _:
                pass
