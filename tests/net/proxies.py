"""Real reverse proxies in front of a relay, each its own process on loopback with a configuration of its own."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from tests.net.conftest import WAIT_S
from tests.support import require_tool

_NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{relay};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_read_timeout 60s;
        }}
        keepalive_timeout 50ms;
    }}
}}
"""

_HAPROXY = """
defaults
    mode http
    option forwardfor
    timeout connect 5s
    timeout client 2s
    timeout server 60s
    timeout tunnel 60s
    timeout http-keep-alive 50ms
frontend front
    bind 127.0.0.1:{port}
    default_backend relay
backend relay
    server relay 127.0.0.1:{relay}
"""


def nginx(folder: Path, relay: int) -> contextlib.AbstractAsyncContextManager[int]:
    """Nginx with the configuration of docs/deploy.md; its port."""
    return _front("nginx", _NGINX, lambda file: ["-p", str(folder), "-c", str(file)], folder, relay)


def haproxy(folder: Path, relay: int) -> contextlib.AbstractAsyncContextManager[int]:
    """HAProxy as it comes; its port."""
    return _front("haproxy", _HAPROXY, lambda file: ["-db", "-f", str(file)], folder, relay)


@contextlib.asynccontextmanager
async def _front(
    name: str, text: str, arguments: Callable[[Path], list[str]], folder: Path, relay: int
) -> AsyncIterator[int]:
    tool = require_tool(name, f"/usr/sbin/{name}")  # Debian's place, which is not on everybody's path
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    file = folder / f"{name}.conf"
    file.write_text(text.format(folder=folder, port=port, relay=relay))
    log = (folder / f"{name}.log").open("wb")
    process = subprocess.Popen([str(tool), *arguments(file)], stdout=log, stderr=log)
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                assert process.poll() is None, (folder / f"{name}.log").read_text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                break
        yield port
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)
        log.close()
