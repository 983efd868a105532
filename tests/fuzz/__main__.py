"""`make fuzz`: the targets under atheris, each in a process of its own, guided by the coverage of the relay's code.

Inputs that broke a promise stay in `build/fuzz/TARGET`, to be run again with `--reproduce`; what was found worth
keeping on the way stays there too, and later runs begin with it.
"""

import argparse
import copy
import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.target import Target
from tests.support import ROOT

FOLDER = ROOT / "build" / "fuzz"
MAX_BYTES = 8192
SLOWEST_S = 5


def main() -> int:
    """Run what was asked for; 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of them unless given")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--reproduce", type=Path, metavar="FILE", help="run one input on one target, and stop")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _fuzz(options.targets[0], options.seconds)
    from tests.fuzz.targets import TARGETS

    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if options.reproduce is not None:
        TARGETS[options.targets[0]].run(options.reproduce.read_bytes())
        return 0
    return max([_run(name, options.seconds) for name in options.targets or TARGETS])


def _run(name: str, seconds: int) -> int:
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.fuzz", "--here", "--seconds", str(seconds), name]
        code = subprocess.run(command, cwd=ROOT, stdout=output, stderr=output, check=False).returncode
    text = log.read_text("utf-8", "replace")
    runs = re.findall(r"stat::number_of_executed_units:\s+(\d+)", text)
    rate = re.findall(r"stat::average_exec_per_sec:\s+(\d+)", text)
    covered = re.findall(r"cov: (\d+)", text)
    figures = f"{runs[-1]:>9} runs, {rate[-1]:>6}/s, {covered[-1]:>5} edges" if runs and rate and covered else "no run"
    print(f"{name:20} {figures}{'' if code == 0 else f'  BROKEN, see {log}'}", flush=True)
    return 1 if code else 0


def _fuzz(name: str, seconds: int) -> None:
    """In a process of its own, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["relay"]):
        from tests.fuzz.targets import TARGETS
    target, folder = TARGETS[name], FOLDER / name
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    words = folder.with_suffix(".dict")
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
    flags = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-timeout={SLOWEST_S}", "-rss_limit_mb=2048"]
    flags += ["-print_final_stats=1", f"-artifact_prefix={folder}/", f"-dict={words}"]
    rewrite = functools.partial(_rewritten, target, lambda data, size: atheris.Mutate(data, size))  # replaced by Setup
    # The names that libFuzzer looks for are those of the parameters.
    atheris.Setup(
        [sys.argv[0], *flags, str(folder)],
        target.run,
        custom_mutator=lambda data, max_size, seed: rewrite(data, max_size, seed),
    )
    atheris.Fuzz()


def _rewritten(target: Target, mutate: Callable[[bytes, int], bytes], data: bytes, max_size: int, seed: int) -> bytes:
    """Another input made of one: bytes changed anywhere, or, where it is JSON, mostly a member or two of it."""
    random = Random(seed)
    begin = data.rfind(b"\n") + 1 if random.random() < 0.5 else 0  # several targets take lines
    try:
        tree = json.loads(data[begin:])
    except (ValueError, RecursionError):
        return mutate(data, max_size)
    if random.random() < 0.25 or not (places := list(_places(tree))):
        return mutate(data, max_size)
    for _ in range(random.randint(1, 3)):
        holder, key = random.choice(places)
        match random.choice(["rename", "move", "copy", "scalar", "drop"]):
            case "rename" | "copy" if isinstance(holder, dict) and target.words:
                name = random.choice(target.words).decode("utf-8", "replace").strip('"')
                holder[name] = holder.get(key)
            case "move":
                other, place = random.choice(places)
                holder[key] = copy.deepcopy(other[place]) if _has(other, place) else {}
            case "scalar":
                holder[key] = random.choice([0, -1, 1.5, 2**31, 2**63, "", "x", None, True, [], {}, "1", "9.5s"])
            case _ if _has(holder, key):
                del holder[key]
        places = list(_places(tree))
        if not places:
            break
    return (data[:begin] + json.dumps(tree, ensure_ascii=False).encode("utf-8", "replace"))[:max_size]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every member and element: what holds it, and where."""
    for key, value in (
        list(tree.items()) if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    ):
        yield tree, key
        yield from _places(value)


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _escaped(word: bytes) -> str:
    """As libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
