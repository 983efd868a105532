"""Plays conversations with the official Python SDK, unmodified, and says what the application saw.

Runs inside the environment of the SDK under test, so it imports nothing but that SDK. Reads one request per line
from standard input, `{"url", "key", "model", "config", "steps"}`, and answers each with one line of JSON. Knows
nothing of the relay; the assertions are elsewhere.
"""

import array
import asyncio
import base64
import json
import logging
import sys
from typing import Any

from google import genai
from google.genai import types

WHOLE_S = 15.0
"""A conversation that takes longer is given up and reported as it stands."""
CHUNK_BYTES = 1280
"""40 ms of PCM16 at 16 kHz."""


class Requests(logging.Handler):
    """Notes the request line the SDK's WebSocket library sends, which it tells its logger."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.target = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the target of `> GET /path?query HTTP/1.1`."""
        line = record.getMessage()
        if line.startswith("> GET "):
            self.target = line.split(" ")[2]


class Conversation:
    """One session: its steps in order, and every message that came meanwhile."""

    def __init__(self, session: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self._session = session
        self._more = asyncio.Condition()
        self._seen = 0
        self._failure: Exception | None = None

    async def play(self, steps: list[dict[str, Any]]) -> None:
        """Take the steps one after the other; raises what the SDK raises."""
        reading = asyncio.create_task(self._read())
        try:
            for step in steps:
                await getattr(self, f"_{step['do']}")(**{name: value for name, value in step.items() if name != "do"})
        finally:
            reading.cancel()

    async def _text(self, text: str) -> None:
        turn = types.Content(role="user", parts=[types.Part(text=text)])
        await self._session.send_client_content(turns=turn, turn_complete=True)

    async def _type(self, text: str) -> None:
        await self._session.send_realtime_input(text=text)

    async def _audio(self, pcm: str) -> None:
        sound = base64.b64decode(pcm)
        for start in range(0, len(sound), CHUNK_BYTES):
            blob = types.Blob(data=sound[start : start + CHUNK_BYTES], mime_type="audio/pcm;rate=16000")
            await self._session.send_realtime_input(audio=blob)

    async def _video(self, jpeg: str) -> None:
        await self._session.send_realtime_input(video=types.Blob(data=base64.b64decode(jpeg), mime_type="image/jpeg"))

    async def _answer(self, response: dict[str, Any]) -> None:
        call = next(event["calls"][0] for event in reversed(self.events) if "calls" in event)
        answer = types.FunctionResponse(id=call["id"], name=call["name"], response=response)
        await self._session.send_tool_response(function_responses=[answer])

    async def _until(self, event: str) -> None:
        """Wait for the next message that has this in it; those before it are passed over for good."""
        async with self._more:
            while True:
                while self._seen < len(self.events):
                    self._seen += 1
                    if event in self.events[self._seen - 1]:
                        return
                if self._failure is not None:
                    raise self._failure
                await self._more.wait()

    async def _read(self) -> None:
        try:
            while True:  # receive() ends with every turn
                async for message in self._session.receive():
                    await self._note(message)
        except Exception as error:
            async with self._more:
                self._failure = error
                self._more.notify_all()

    async def _note(self, message: types.LiveServerMessage) -> None:
        async with self._more:
            self.events.append(event_of(message))
            self._more.notify_all()


def event_of(message: types.LiveServerMessage) -> dict[str, Any]:
    """What is in a message, in the words that the clients of all SDKs use."""
    content = message.server_content or types.LiveServerContent()
    parts = (content.model_turn.parts if content.model_turn else None) or []
    pcm = b"".join(part.inline_data.data or b"" for part in parts if part.inline_data)
    calls = (message.tool_call.function_calls if message.tool_call else None) or []
    update = message.session_resumption_update
    event = {
        "audio": len(pcm),
        "peak": max(map(abs, array.array("h", pcm)), default=0),
        "said": content.output_transcription.text if content.output_transcription else None,
        "heard": content.input_transcription.text if content.input_transcription else None,
        "calls": [{"id": call.id, "name": call.name, "args": call.args} for call in calls],
        "interrupted": content.interrupted,
        "generationComplete": content.generation_complete,
        "turnComplete": content.turn_complete,
        "tokens": message.usage_metadata.total_token_count if message.usage_metadata else None,
        "handle": update.new_handle if update else None,
    }
    return {name: value for name, value in event.items() if value}


def failure_of(error: Exception) -> dict[str, Any]:
    """An exception as the application sees it."""
    return {"type": type(error).__name__, "code": getattr(error, "code", None), "message": str(error)}


async def converse(request: dict[str, Any]) -> dict[str, Any]:
    """Hold one conversation and report it."""
    client = genai.Client(api_key=request["key"], http_options=types.HttpOptions(base_url=request["url"]))
    config = types.LiveConnectConfig.model_validate(request["config"])
    events: list[dict[str, Any]] = []
    failure = None
    try:
        async with asyncio.timeout(WHOLE_S):
            async with client.aio.live.connect(model=request["model"], config=config) as session:
                conversation = Conversation(session)
                events = conversation.events
                await conversation.play(request["steps"])
    except Exception as error:
        failure = failure_of(error)
    return {"sdk": genai.version.__version__, "events": events, "failure": failure}


def main() -> None:
    """Answer requests until standard input ends."""
    requests = Requests()
    logger = logging.getLogger("websockets.client")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(requests)
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            requests.target = ""
            answer = runner.run(converse(json.loads(line)))
            sys.stdout.write(json.dumps({**answer, "target": requests.target}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
