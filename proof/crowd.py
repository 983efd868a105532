"""`python -m proof.crowd URL EACH`: every attack again and again until SIGTERM, `EACH` clients of a kind at once.

The tenant's key is in the environment. In a process of its own, as if it ran on machines of its own.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter

from proof.attacks import ATTACKS, Attack
from proof.client import ProofError
from proof.raw import connected

KEY = "PROOF_HOSTILE_KEY"
PAUSE_S = 0.1
"""Between the end of one attack and the next by the same client, on average."""


def main() -> None:
    """Attack until told to stop; then one line says how often."""
    asyncio.run(_run(sys.argv[1], int(sys.argv[2])))


async def _run(base_url: str, each: int) -> None:
    done: Counter[str] = Counter()
    workers = [asyncio.create_task(_again(base_url, attack, done)) for attack in ATTACKS for _ in range(each)]
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    print(json.dumps(done), flush=True)


async def _again(base_url: str, attack: Attack, done: Counter[str]) -> None:
    while True:
        await asyncio.sleep(random.uniform(0, 2 * PAUSE_S))
        with contextlib.suppress(ProofError, TimeoutError, OSError):
            async with connected(
                base_url, os.environ[KEY], receive_buffer=attack.receive_buffer, headers=attack.headers
            ) as raw:
                await attack.begin(raw)
                done[attack.name] += 1
                await raw.ending()


if __name__ == "__main__":
    main()
