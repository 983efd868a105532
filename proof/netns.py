"""A network namespace with one end of a cable in it: packets can be dropped there, which no proxy can do.

Needs root, `ip` and `nft`. Whoever can't have it is told so by `unavailable`.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import AsyncIterator
from pathlib import Path

_CLONE_NEWNET = 0x4000_0000
_NET = "10.231"
_serial = 0


def unavailable() -> str:
    """Why there can be no namespace here; empty when there can."""
    if os.geteuid() != 0:
        return "not root"
    lacking = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if lacking:
        return f"no {' and no '.join(lacking)} (Debian: iproute2, nftables)"
    name = f"proof-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces: {tried.stderr.strip()}"
    rules = subprocess.run(
        ["ip", "netns", "exec", name, "nft", "add", "table", "inet", "proof"],
        capture_output=True,
        text=True,
        check=False,
    )
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return f"nft does not work: {rules.stderr.strip()}" if rules.returncode else ""


class Cable:
    """A veth pair: one end here, the other in a namespace of its own where something listens."""

    def __init__(self, number: int) -> None:
        self._name = f"proof-{os.getpid()}-{number}"
        self._near = f"prf{os.getpid() % 100_000}x{number}"
        self.here = f"{_NET}.{number}.1"
        self.there = f"{_NET}.{number}.2"
        """The address to dial."""

    async def lay(self) -> None:
        """Create it. Raises RuntimeError with the tool's own words when that fails."""
        far = f"{self._near}f"
        await _run("ip", "netns", "add", self._name)
        await _run("ip", "link", "add", self._near, "type", "veth", "peer", "name", far)
        await _run("ip", "link", "set", far, "netns", self._name)
        await _run("ip", "addr", "add", f"{self.here}/30", "dev", self._near)
        await _run("ip", "link", "set", self._near, "up")
        await self._inside("ip", "addr", "add", f"{self.there}/30", "dev", far)
        await self._inside("ip", "link", "set", far, "up")
        await self._inside("nft", "add", "table", "inet", "proof")
        for hook in ("input", "output"):
            await self._inside(
                *("nft", "add", "chain", "inet", "proof", hook),
                f"{{ type filter hook {hook} priority 0; policy accept; }}",
            )

    async def remove(self) -> None:
        """Take it away; what is already gone is no error."""
        with contextlib.suppress(RuntimeError):
            await _run("ip", "link", "del", self._near)
        with contextlib.suppress(RuntimeError):
            await _run("ip", "netns", "del", self._name)

    def listener(self) -> socket.socket:
        """A listening TCP socket at the far end; what it accepts lives there too."""
        listening = self.socket()
        listening.bind((self.there, 0))
        listening.listen(64)
        listening.setblocking(False)
        return listening

    def socket(self) -> socket.socket:
        """A TCP socket of the far end. Raises RuntimeError when it can't be had."""
        made: list[socket.socket] = []

        def inside() -> None:  # a thread has a namespace of its own to leave; a socket stays where it was made
            with (Path("/run/netns") / self._name).open() as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    return
            made.append(socket.socket())

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if not made:
            raise RuntimeError("could not enter the namespace")
        return made[0]

    async def drop(self, hook: str, when: str = "") -> None:
        """Drop what arrives at the far end (`input`) or what it sends (`output`), if nft's words `when` fit it."""
        words = f"{when} counter drop".split()
        await self._inside("nft", "add", "rule", "inet", "proof", hook, "meta", "l4proto", "tcp", *words)

    async def mend(self) -> None:
        """Drop nothing any more."""
        for hook in ("input", "output"):
            await self._inside("nft", "flush", "chain", "inet", "proof", hook)

    async def dropped(self) -> int:
        """Packets dropped by the rules that stand now."""
        listed = json.loads(await self._inside("nft", "-j", "list", "table", "inet", "proof"))
        return sum(
            part["counter"]["packets"]
            for item in listed["nftables"]
            for part in item.get("rule", {}).get("expr", ())
            if "counter" in part
        )

    async def _inside(self, *command: str) -> str:
        return await _run("ip", "netns", "exec", self._name, *command)


@contextlib.asynccontextmanager
async def cable() -> AsyncIterator[Cable]:
    """A cable for as long as the block lasts. Raises RuntimeError when it can't be laid."""
    global _serial
    _serial += 1
    made = Cable(_serial)
    try:
        await made.lay()
        yield made
    finally:
        await made.remove()


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {errors.decode().strip()}")
    return output.decode()
