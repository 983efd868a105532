"""A client as the model of a session sees it: what is under way to it, what it got, and its way back in."""

import json
from dataclasses import dataclass, field


@dataclass
class Caller:
    """One client over all its sockets."""

    here: bool = True
    """Its socket is open, as far as it knows."""
    pipe: list[bytes] = field(default_factory=list)
    """Under way on its present socket."""
    got: list[str] = field(default_factory=list)
    """What it heard the model say."""
    handle: str = ""
    got_at_handle: int = 0
    """How much of `got` came before the handle."""
    since: int = 0
    """Messages since the handle."""
    ready: bool = False
    """It has a handle of its present socket, which comes right behind the answer to its setup."""
    answers: int = 0
    """Answers to its setup that were sent on its present socket."""
    calls: list[str] = field(default_factory=list)
    """Functions it was asked to call, and did not answer yet."""

    def sent(self, payload: bytes) -> None:
        """The relay writes to it."""
        tree = json.loads(payload)
        if "setupComplete" in tree:
            self.answers += 1
            assert self.answers == 1, "one setupComplete for each socket"
        else:
            assert self.answers == 1, "the answer to the setup comes first"
        assert "goAway" not in tree
        update = tree.get("sessionResumptionUpdate")
        assert update is None or update["newHandle"].startswith("ours:")
        if self.here:  # else its socket is dead, and the relay does not know
            self.pipe.append(payload)

    def receive(self, count: int) -> None:
        """Some of what is under way has arrived."""
        for payload in self.pipe[:count]:
            self._read(json.loads(payload))
        del self.pipe[:count]

    def drop(self, received: int) -> None:
        """Its socket is cut after it got some of what was under way."""
        self.receive(received)
        self.pipe.clear()
        self.here = self.ready = False

    def come_back(self, *, counted: bool) -> str:
        """Open another socket; the handle to set up with, with the count of what came since or without."""
        self.here, self.answers = True, 0
        if counted:
            return f"{self.handle}.{self.since}"
        del self.got[self.got_at_handle :]  # it will get all of that once more
        return self.handle

    def heard(self) -> list[str]:
        """What it heard, or will have heard when everything has arrived."""
        return self.got + [word for payload in self.pipe if (word := _word(json.loads(payload)))]

    def _read(self, tree: dict[str, object]) -> None:
        update = tree.get("sessionResumptionUpdate")
        if isinstance(update, dict):
            self.handle, self.since, self.got_at_handle = update["newHandle"], 0, len(self.got)
            self.ready = True
            return
        self.since += 1
        word = _word(tree)
        if word:
            self.got.append(word)
        call = tree.get("toolCall")
        if isinstance(call, dict):
            self.calls += [function["id"] for function in call["functionCalls"]]


def _word(tree: dict[str, object]) -> str:
    content = tree.get("serverContent")
    said = content.get("outputTranscription") if isinstance(content, dict) else None
    return str(said["text"]) if isinstance(said, dict) else ""
