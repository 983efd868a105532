"""The benchmark itself runs: the smallest plan against the real relay and the pump it is compared with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="!! NOT TESTED: the benchmark needs two cores")
def test_a_short_run_accounts_for_every_frame(tmp_path: Path) -> None:
    """Frames at both ends, the relay's own counters and the pinning are checked by the run; it exits 0 only then."""
    saved = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench", "--quick", "--repetitions", "1", "--subjects", "relay,naive"]
    ran = subprocess.run(
        [*command, "--only", "up,down,setup", "--json", str(saved)],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    (repetition,) = json.loads(saved.read_text())["repetitions"]
    for measurement in ("up", "down"):
        for subject in ("relay", "naive"):
            assert repetition[measurement][subject]["frames"] > 100
            assert repetition[measurement][subject]["frame_us"] > 0
    assert repetition["setup"]["relay"]["setups_per_s"] > 1
    assert "aiohttp pump" in ran.stdout
