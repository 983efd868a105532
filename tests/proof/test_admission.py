"""One limit for three relays, and a Redis that fails: the same command as `python -m proof admission`, in seconds."""

from collections import Counter

import pytest

from proof import admission
from proof.outage import Options, Phase, Result
from tests.support import require_tool


@pytest.mark.threat("E2")
async def test_the_limit_holds_and_sessions_go_on_without_redis() -> None:
    """Exactly as many admitted as may; frames wait for nothing, usage is kept, all is as before within two seconds."""
    require_tool("redis-server")
    result = await admission.run(Options(crowd=54, limit=18, sessions=6, phase_s=2.5))

    assert result.broken() == []
    assert result.crowd == {101: 18, 429: 36}
    assert [phase.name.split()[0] for phase in result.phases] == ["well", "stopped", "paused", "killed,"]
    assert "429" in result.tables()


def test_what_goes_wrong_is_seen() -> None:
    """One session too many, late frames, a relay that answers wrongly, usage that is gone: each by name."""
    before = Phase("well", up_s=[0.001], down_s=[0.001])
    phase = Phase(
        "stopped", [0.3], [0.001], Counter({101: 1, 503: 3}), Counter({101: 5}), room=4, reports=1, recovered_s=2.5
    )
    result = Result(Options(crowd=3, limit=1), Counter({101: 2, 429: 1}), hinted=2, phases=[before, phase])
    result.simulator.update({"reports": 3})
    result.ledger.update({"reports": 2})

    assert result.broken() == [
        "the crowd was answered {101: 2, 429: 1}",
        "reports: 1 not in the ledger",
        "stopped: closed relays answered 1 × 101, 3 × 503",
        "stopped: the open relay answered 5 × 101, its share has room for 4",
        "stopped: recovered after 2.5 s",
        "stopped: frames up 299 ms later at 0.5",
        "stopped: frames up 299 ms later at 0.95",
    ]
