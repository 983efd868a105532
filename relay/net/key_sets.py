"""Where key sets come from: a file, or an address that the operator named. Nothing a client sends is ever fetched."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from relay.net.jwt_tokens import Fetch
from relay.net.reach import guarded

FETCH_S = 3.0
MAX_BYTES = 256 * 1024


def from_file(path: Path) -> Fetch:
    """Read the file again each time, so that keys can be exchanged without a restart."""

    async def fetch() -> Any:
        return orjson.loads(await asyncio.get_running_loop().run_in_executor(None, path.read_bytes))

    return fetch


def from_url(url: str, private: bool = False) -> Fetch:
    """Fetch over HTTPS, bounded in time and size; redirects and proxies of the environment are not followed.

    `private` says that the address's name may lead into the operator's own network.
    """

    async def fetch() -> Any:
        timeout = aiohttp.ClientTimeout(total=FETCH_S)
        connector = aiohttp.TCPConnector(socket_factory=guarded(url, private))
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False, connector=connector) as http,
                http.get(url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise ValueError("not 200")
                body = await response.content.read(MAX_BYTES + 1)
                while len(body) <= MAX_BYTES and not response.content.at_eof():
                    body += await response.content.read(MAX_BYTES + 1 - len(body))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(type(error).__name__) from None
        if len(body) > MAX_BYTES:
            raise ValueError("too large")
        return orjson.loads(body)

    return fetch
