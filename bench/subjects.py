"""What is measured: the relay, two aiohttp pumps, nginx, and nothing at all between the two ends (`direct`)."""

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import payloads
from bench.ends import UPSTREAM_KEY
from bench.process import Process
from bench.session import BenchError

_CLIENT_KEY = "bench-client-key-0123456789"
_NGINX_PATHS = "/usr/sbin:/usr/local/sbin:/sbin"

_RELAY_YAML = """\
listen: {{host: 127.0.0.1, port: 0, max_sessions: 8000}}
admin: {{host: 127.0.0.1, port: 0}}
upstream: {{base_url: "ws://127.0.0.1:{upstream}", api_key: "${{BENCH_UPSTREAM_KEY}}"}}
policies:
  guided:
    model: {{default: {model}}}
    enforce:
      systemInstruction: {{parts: [{{text: "You answer in one sentence."}}]}}
      generationConfig: {{responseModalities: [AUDIO]}}
    defaults: {{inputAudioTranscription: {{}}, outputAudioTranscription: {{}}}}
    allow: [generationConfig.speechConfig.voiceConfig, generationConfig.speechConfig.languageCode]
    on_violation: reject
tenants:
  - id: bench
    keys: ["${{BENCH_CLIENT_KEY}}"]
    policy: guided
    quotas: {{messages_per_second: 1000000000, bytes_per_second: 1000GiB}}  # counted, and never reached
log: {{level: info, format: json}}
"""

_NGINX_CONF = """\
daemon off;
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/nginx-error.log;
worker_rlimit_nofile 16384;
events {{ worker_connections 16000; }}
http {{
  access_log off;
  client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
  uwsgi_temp_path {place}; scgi_temp_path {place};
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_set_header x-goog-api-key {key};
      proxy_read_timeout 1h;
      proxy_send_timeout 1h;
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A subject that accepts connections."""

    name: str
    port: int
    key: str = UPSTREAM_KEY
    """The credential its clients show."""
    process: Process | None = None
    """None where there is nothing between the two ends."""
    enforces: bool = False
    """Whether it applies a policy to the setup."""
    admin_port: int | None = None
    """Where its metrics are."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a subject is started."""

    upstream_port: int
    core: int
    folder: Path
    """Empty, its own, removed afterwards."""

    def start(self, command: list[str]) -> Process:
        """Start a process pinned to the core."""
        return Process(command, self.core, _ENVIRONMENT, self.folder / "output")


_ENVIRONMENT: Mapping[str, str] = {
    **os.environ,
    "BENCH_UPSTREAM_KEY": UPSTREAM_KEY,
    "BENCH_CLIENT_KEY": _CLIENT_KEY,
    "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
}


async def _direct(place: Place) -> Running:
    return Running("direct", place.upstream_port)


async def _relay(place: Place) -> Running:
    config = place.folder / "relay.yaml"
    config.write_text(_RELAY_YAML.format(upstream=place.upstream_port, model=payloads.MODEL))
    process = place.start([sys.executable, "-m", "relay", "serve", "--config", str(config)])
    ready = json.loads(await _first_line(process))
    ports = {name: int(ready[name].rpartition(":")[2]) for name in ("listen", "admin")}
    return Running("relay", ports["listen"], _CLIENT_KEY, process, enforces=True, admin_port=ports["admin"])


def _pump(name: str, *options: str) -> "Start":
    async def start(place: Place) -> Running:
        upstream = f"ws://127.0.0.1:{place.upstream_port}"
        process = place.start([sys.executable, "-m", "bench.naive_pump", "--upstream", upstream, *options])
        ready = json.loads(await _first_line(process))
        return Running(name, ready["port"], _CLIENT_KEY, process)

    return start


async def _nginx(place: Place) -> Running:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = place.folder / "nginx.conf"
    config.write_text(_NGINX_CONF.format(place=place.folder, port=port, upstream=place.upstream_port, key=UPSTREAM_KEY))
    program = nginx()
    assert program is not None, "the plan leaves nginx out where there is none"
    process = place.start([program, "-c", str(config), "-p", str(place.folder), "-e", "stderr"])
    try:
        await process.listening(port)
    except BaseException:
        await process.stop()
        raise
    return Running("nginx", port, _CLIENT_KEY, process)


async def _first_line(process: Process) -> str:
    try:
        return await process.first_line()
    except BaseException:
        await process.stop()
        raise


def nginx() -> str | None:
    """The nginx binary, which Debian keeps out of ordinary users' PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path=_NGINX_PATHS)


Start = Callable[[Place], Awaitable[Running]]
SUBJECTS: dict[str, Start] = {
    "direct": _direct,
    "relay": _relay,
    "naive": _pump("naive"),
    "naive-uvloop": _pump("naive-uvloop", "--uvloop"),
    "nginx": _nginx,
}
"""By name; `direct` is what latencies are compared with."""


async def forwarded(running: Running) -> dict[str, int]:
    """The relay's own count of forwarded messages, by direction. Raises BenchError when it does not tell."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.admin_port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    page = (await reader.read(-1)).decode()
    writer.close()
    counts = {
        direction: int(float(line.rpartition(" ")[2]))
        for line in page.splitlines()
        for direction in ("up", "down")
        if line.startswith("relay_frames_total{") and f'direction="{direction}"' in line
    }
    if counts.keys() != {"up", "down"}:
        raise BenchError("the relay's metrics do not count frames")
    return counts
