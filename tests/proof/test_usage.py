"""Every token counted once, on a small scale: the same command as `python -m proof usage`, in seconds."""

from collections import Counter

import pytest

from proof import usage
from proof.tally import counted
from tests.support import require_tool


@pytest.mark.parametrize(("store", "vertex"), [("sqlite", True), ("redis", False)])
async def test_every_token_is_counted_once(store: str, vertex: bool) -> None:
    """Over cuts, goAways, drops and a kill of the relay's process; what the kill cost is within a second's usage."""
    if store == "redis":
        require_tool("redis-server")
    result = await usage.run(usage.Options(turns=150, sessions=10, store=store, kills=1, vertex=vertex))

    assert result.broken() == []
    assert result.simulator["reports"] >= 150
    assert result.ledger["prompt.audio"] > 0
    assert "| reports" in result.tables()


def test_what_is_missing_is_seen() -> None:
    """A ledger that has one token too few or too many breaks the promise, and so does a kill that cost too much."""
    result = usage.Result(usage.Options(turns=1, kills=0), turns=1)
    result.handovers.update(["lost restored"])
    result.simulator.update({"prompt.text": 10, "thoughts.text": 5})
    result.ledger.update({"prompt.text": 9, "thoughts.text": 6})

    assert result.broken() == ["prompt.text: 1 unexplained", "thoughts.text: -1 unexplained"]

    result.options = usage.Options(turns=1, kills=1)
    result.ledger.update({"thoughts.text": -1})
    result.kills.append(usage.Kill(Counter({"prompt.text": 1}), Counter()))

    assert result.broken() == ["kill 1 cost 1 of prompt.text, at most 0 promised"]


def test_both_spellings_are_counted() -> None:
    """The tally reads a report as the documents of either service say, without the relay's help."""
    details = [{"modality": "AUDIO", "tokenCount": 30}]

    assert counted(
        {"promptTokenCount": 50, "promptTokensDetails": details, "responseTokenCount": 30, "thoughtsTokenCount": 7}
    ) == {"prompt.audio": 30, "prompt.unattributed": 20, "response.unattributed": 30, "thoughts.text": 7, "reports": 1}
    assert counted({"candidatesTokenCount": 30, "candidatesTokensDetails": details}) == {
        "response.audio": 30,
        "reports": 1,
    }
