"""The programs in examples/, run as their README says, against a relay and the simulator."""

import array
import json
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.sdk.director import Stage
from tests.e2e.sdk.driving import client_environment
from tests.e2e.sdk.scenarios import ASSISTANT, GOOGLE_KEY, MODEL, check_google, silence, tenant_key, tone
from tests.support import JS, ROOT, require_node_packages, require_tool, run_node

pytestmark = pytest.mark.timeout(60)

EXAMPLES = ROOT / "examples"
KEY = tenant_key("guided")
OVER_WITHIN_S = 30.0


def run(command: list[str], folder: Path, stage: Stage, url: str) -> str:
    """Run an example in `folder` and return what it printed."""
    environment = client_environment(stage.authority, RELAY_URL=url, RELAY_KEY=KEY)
    before = stage.newest()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=OVER_WITHIN_S, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert GOOGLE_KEY not in done.stdout + done.stderr
    found = stage.connections(before)
    check_google(found, {"model": MODEL, **ASSISTANT})
    assert KEY not in json.dumps(found)
    return done.stdout


def check_recording(path: Path) -> None:
    """A WAV file of 24 kHz with audible sound of some seconds."""
    with wave.open(str(path), "rb") as recording:
        assert (recording.getnchannels(), recording.getsampwidth(), recording.getframerate()) == (1, 2, 24_000)
        samples = array.array("h", recording.readframes(recording.getnframes()))
    assert len(samples) > 24_000
    assert max(samples) > 3_000


def test_python_text(stage: Stage, tmp_path: Path) -> None:
    """The Python example prints the answer to a text and saves its sound."""
    printed = run([sys.executable, str(EXAMPLES / "python" / "talk.py"), "hello"], tmp_path, stage, stage.secure_url)
    assert "Hello! I am the simulator" in printed
    check_recording(tmp_path / "reply.wav")


def test_python_recording(stage: Stage, tmp_path: Path) -> None:
    """The Python example streams a WAV file, which is heard as speech, and saves the answer."""
    question = tmp_path / "question.wav"
    with wave.open(str(question), "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16_000)
        recording.writeframes(tone(0.8) + silence(0.1))
    command = [sys.executable, str(EXAMPLES / "python" / "talk.py"), str(question)]
    printed = run(command, tmp_path, stage, stage.secure_url)
    assert "You:   (0.8 seconds of speech)" in printed
    assert "I heard 0.8 seconds of speech." in printed
    check_recording(tmp_path / "reply.wav")


def test_javascript(stage: Stage, tmp_path: Path) -> None:
    """The JavaScript example prints the answer to a text and saves its sound."""
    node = require_node_packages("@google/genai")
    package = json.loads((EXAMPLES / "javascript" / "package.json").read_text())
    tested = json.loads((JS / "package.json").read_text())["dependencies"]["@google/genai"]
    assert package["dependencies"]["@google/genai"] == f"^{tested}", "the example runs on what is tested"
    (tmp_path / "package.json").write_text(json.dumps(package))
    (tmp_path / "talk.js").write_text((EXAMPLES / "javascript" / "talk.js").read_text())
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    printed = run([str(node), "talk.js", "hello"], tmp_path, stage, stage.plain_url)
    assert "Hello! I am the simulator" in printed
    check_recording(tmp_path / "reply.wav")


def test_browser(stage: Stage, tmp_path: Path) -> None:
    """The page is answered in words and sound, typed to and spoken to, and can connect again."""
    node = require_node_packages("playwright-core")
    before = stage.newest()
    options = {
        "url": stage.page_url,
        "key": KEY,
        "relay": stage.plain_url.replace("http://", "ws://") + "/v1/live",
        "chromium": str(require_tool("chromium", "chromium-browser", "google-chrome")),
        "screenshot": str(tmp_path / "page.png"),
    }
    seen: dict[str, Any] = run_node(node, "browser_example.mjs", options)
    assert seen["problems"] == []
    assert seen["sockets"] == [options["relay"]] * 2, "the key is in no address"
    assert seen["typed"]["seconds"] > 1
    assert seen["typed"]["peak"] > 0.1
    assert seen["chunks"] >= 50
    kinds = [kind for kind, _ in seen["transcript"]]
    assert kinds[:5] == ["note", "user", "model", "user", "model"]
    assert seen["transcript"][-1] == ["note", "Connected."]
    assert seen["transcript"][1][1] == "hello"
    assert seen["transcript"][2][1].startswith("Hello! I am the simulator")
    assert GOOGLE_KEY not in json.dumps(seen)
    connections = stage.connections(before)
    assert len(connections) == 2
    for connection in connections:
        check_google([connection], {"model": MODEL, **ASSISTANT})
    assert KEY not in json.dumps(connections)
