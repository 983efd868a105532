"""The way out of a dialogue: messages become numbered frames in a queue that the connection empties."""

from collections import deque

from relay.sim.archive import Session
from relay.sim.encoding import Message, encode
from relay.sim.outputs import Frame, Output

_REMEMBERED_CONTENTS = 20


class Line:
    """The outgoing queue of one connection."""

    def __init__(self) -> None:
        self.waiting: deque[Output] = deque()
        self.session: Session | None = None
        self.silent = False
        """Swallow everything but closes and cuts."""

    def send(self, kind: str, body: object, beside: Message | None = None) -> None:
        """Queue the message `{kind: body}`, with the members of `beside` riding along."""
        beside = beside or {}
        self.send_message({kind: body, **beside}, kind, beside.get("usageMetadata"))

    def send_message(self, message: Message, kind: str, usage: Message | None = None) -> None:
        """Queue a whole message; `kind` names it in the ledger."""
        if self.silent:
            return
        if kind == "serverContent" and self.session is not None:
            self._remember(message)
        self.waiting.append(Frame(kind, encode(message), self.next_number(taken=True), usage))

    def next_number(self, taken: bool = False) -> int:
        """The number the next frame will have; with `taken`, give it away."""
        if self.session is None:
            return 0
        self.session.sent.count += taken
        return self.session.sent.count + (not taken)

    def put(self, output: Output) -> None:
        """Queue something that is not a message."""
        self.waiting.append(output)

    def _remember(self, message: Message) -> None:
        assert self.session is not None
        text = message["serverContent"].get("outputTranscription", {}).get("text")
        if text:
            contents = self.session.last_content
            contents.append({"outputTranscription": {"text": text}})
            del contents[:-_REMEMBERED_CONTENTS]
