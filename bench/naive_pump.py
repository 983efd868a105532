"""The pump everybody writes first: one aiohttp handler, two tasks, `async for message: await other.send(...)`.

It puts the operator's key into a header and forwards the rest unread: no policy, no metering, no deadlines. What the
relay costs is told as a multiple of this. Run as `python -m bench.naive_pump --upstream ws://… [--uvloop]`, with the
key in BENCH_UPSTREAM_KEY; prints one JSON line with its port.
"""

import argparse
import asyncio
import json
import os

import aiohttp
import uvloop
from aiohttp import web

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def pump(source: Socket, sink: Socket) -> None:
    """Forward messages until the source is closed."""
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)


async def serve(upstream: str, key: str) -> None:
    """Relay every WebSocket to the same path of `upstream`, until the process is ended."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:

        async def handle(request: web.Request) -> web.WebSocketResponse:
            downstream = web.WebSocketResponse(compress=False)
            await downstream.prepare(request)
            async with client.ws_connect(upstream + request.path, headers={"x-goog-api-key": key}) as gemini:
                tasks = [asyncio.create_task(pump(downstream, gemini)), asyncio.create_task(pump(gemini, downstream))]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
            await downstream.close()
            return downstream

        application = web.Application()
        application.router.add_get("/{tail:.*}", handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m bench.naive_pump")
    parser.add_argument("--upstream", required=True, help="ws://HOST:PORT")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    work = serve(options.upstream, os.environ["BENCH_UPSTREAM_KEY"])
    if options.uvloop:
        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
