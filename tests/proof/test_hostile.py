"""Hostile clients against a relay's own process: the same command as `python -m proof hostile`, in seconds."""

import pytest

from proof import hostile
from proof.attacks import ATTACKS
from proof.paced import INTERVAL_S, Lags
from proof.siege import Alone, Options, Result


@pytest.mark.threat("D2", "D3", "D4", "D5", "D7", "C8", "E7")
async def test_every_attack_is_stopped_and_the_others_go_on() -> None:
    """Each with its reason in the log, in time and in bounded memory; sessions beside them neither end nor fail.

    How late the event loop is in so short a run is chance; that is measured by `python -m proof hostile`.
    """
    result = await hostile.run(Options(seconds=4.0, sessions=5, readers=10, stuck_s=2.0, close_s=0.3, apart=False))

    assert [words for words in result.broken() if "late at p99.9" not in words] == []
    assert [one.attack for one in result.alone] == [attack for attack in ATTACKS if not attack.slow]
    assert {attack.row for attack in ATTACKS} >= {"D2", "D3", "D4", "D5", "D7", "C8"}
    assert result.mixed.down_s
    assert result.mixed.answer_s
    assert "frame without a mask" in result.tables()


def test_what_goes_wrong_is_seen() -> None:
    """A wrong end, one that takes too long, memory, a late loop, others that suffer: each by name."""
    attack = next(attack for attack in ATTACKS if attack.name == "ping flood")
    result = Result(Options(readers=2), alone=[Alone(attack, "client_left", 1000, 9.0, 4096, 1.0)])
    result.slow_kib, result.slow_reasons = 2000.0, {"client_left": 2}
    result.attacks = {attack.name: 1 for attack in ATTACKS} | {"deep": 0}
    result.mixed.lag_ms = {"p999": 30.0, "own_p999": 25.0}
    result.ended, result.crashes = 3, 1

    assert result.broken() == [
        "ping flood: ended as client_left with 1000",
        "ping flood: the socket was there for 9.0 s",
        "ping flood: memory grew by 4096 KiB",
        "a client that does not read costs 2000 KiB",
        "2 clients that do not read were ended as {'client_left': 2}",
        "never made in the mix: deep",
        "the event loop was 25.0 ms late at p99.9 by its own work, promised 20",
        "3 sessions that behaved were ended",
        "1 sessions met a bug of the relay",
    ]
    result.apart = True
    assert "the event loop was 30.0 ms late at p99.9, promised 20" in result.broken()


def test_a_loop_that_was_held_up_counts_for_all_that_it_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred looks on time and one that is fifty intervals late: a third of all that was due then was late."""
    lags = Lags()
    for _ in range(100):
        lags.take(0.0)
    lags.take(50 * INTERVAL_S)
    lags.tell()

    printed = capsys.readouterr().out
    assert '"looks": 150' in printed
    assert '"p50": 0.0' in printed
    assert '"max": 100.0' in printed
