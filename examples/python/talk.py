"""Talk to Gemini through the relay with Google's own Python SDK; the spoken reply is saved as reply.wav.

    python talk.py "Tell me something about Lisbon"
    python talk.py question.wav

The environment says where the relay is: RELAY_URL (https://…) and RELAY_KEY. A WAV file must be 16-bit mono.
"""

import asyncio
import os
import sys
import wave
from pathlib import Path

from google import genai
from google.genai import types
from google.genai.live import AsyncSession

MODEL = "gemini-3.8-live"
REPLY = Path("reply.wav")
CHUNK_S = 0.04


async def ask_by_text(session: AsyncSession, words: str) -> None:
    """Send a complete turn."""
    turn = types.Content(role="user", parts=[types.Part(text=words)])
    await session.send_client_content(turns=turn, turn_complete=True)


async def ask_by_voice(session: AsyncSession, path: Path) -> None:
    """Stream a WAV file as a microphone would: small chunks, no faster than they are spoken."""
    with wave.open(str(path), "rb") as recording:
        if (recording.getnchannels(), recording.getsampwidth()) != (1, 2):
            sys.exit(f"{path} is not 16-bit mono")
        rate = recording.getframerate()
        while pcm := recording.readframes(int(rate * CHUNK_S)):
            await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type=f"audio/pcm;rate={rate}"))
            await asyncio.sleep(CHUNK_S)
    await session.send_realtime_input(audio_stream_end=True)


async def receive_reply(session: AsyncSession) -> bytes:
    """Print the words of one turn as they come; returns its sound, 16-bit mono of 24 kHz."""
    sound = bytearray()
    async for message in session.receive():
        if message.data:
            sound += message.data
        content = message.server_content
        if content and content.input_transcription:
            print(f"You:   {(content.input_transcription.text or '').strip()}")
        if content and content.output_transcription:
            print(content.output_transcription.text or "", end="", flush=True)
    print()
    return bytes(sound)


async def main(question: str) -> None:
    """Ask one question and save the reply."""
    # The only two lines that differ from talking to Google directly: the relay's key, and its address.
    client = genai.Client(
        api_key=os.environ["RELAY_KEY"],
        http_options=types.HttpOptions(base_url=os.environ["RELAY_URL"]),
    )
    config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
    async with client.aio.live.connect(model=MODEL, config=config) as session:
        if question.endswith(".wav"):
            await ask_by_voice(session, Path(question))
        else:
            await ask_by_text(session, question)
        sound = await receive_reply(session)
    with wave.open(str(REPLY), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(24_000)
        recording.writeframes(sound)
    print(f"{len(sound) / 48_000:.1f} s of speech in {REPLY}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
