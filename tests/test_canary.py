"""The watch over secrets can fail: a leak in any place it looks at makes its test fail, and nothing else does."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import canary
from tests.support import ROOT

pytestmark = pytest.mark.threat("A1")

LEAKS = '''
import base64, json, logging, sqlite3, sys
from urllib.parse import quote
import aiohttp, pytest
from aiohttp import web
from relay.core.policy import Models, Policy, SetupRules
from relay.core.secret import Secret
from relay.core.server_frames import server_frame
from relay.net.credentials import ApiKey
from tests import canary

KEY = "AIzaLeakedKey/0123456789+\\u00e9"
HANDLE = "95e91930-b35b-482b-8880-17efc49ec2f2"
PROMPT = "You are our confidential assistant."

async def served(answer, path="/"):
    application = web.Application()
    application.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
            if path == "/socket":
                async with http.ws_connect(url) as socket:
                    await socket.receive()
            else:
                async with http.get(url) as response:
                    await response.read()
    finally:
        await runner.cleanup()

def socket(payload, reason=b""):
    async def answer(request):
        made = web.WebSocketResponse()
        await made.prepare(request)
        if payload:
            await made.send_bytes(payload)
        await made.close(code=1011, message=reason)
        return made
    return answer

RAW = KEY.encode()
FORMS = [KEY, KEY[:12], RAW.hex(), quote(KEY, safe=""), base64.b64encode(RAW).decode(), json.dumps(KEY)]

@pytest.mark.parametrize("form", FORMS)
def test_leaks_when_printed(form):
    Secret(KEY)
    print("x", form)

def test_leaks_on_standard_error():
    Secret(KEY)
    print(KEY, file=sys.stderr)

def test_leaks_in_a_debug_line():
    Secret("auth_tokens/" + "Tabcdefghijklmnop")
    logging.getLogger("aiohttp").debug("a ticket %s", "Tabcdefghijklmnop")

@pytest.fixture
def leaky():
    yield
    print(KEY)

def test_leaks_afterwards(leaky):
    Secret(KEY)

@pytest.mark.parametrize("name", ["ledger.db", "usage.jsonl", "relay.log"])
def test_leaks_in_a_file(tmp_path, name):
    Secret(KEY)
    if name == "ledger.db":
        with sqlite3.connect(tmp_path / name) as ledger:
            ledger.execute("CREATE TABLE t (x TEXT)")
            ledger.execute("INSERT INTO t VALUES (?)", [KEY[:20]])
    else:
        (tmp_path / name).write_text(KEY)

def test_leaks_in_a_webhook():
    Secret(KEY)
    canary.look_for_all_in("a webhook", {"x": "y"}, b'{"key":"' + KEY.encode() + b'"}')

async def test_leaks_googles_handle_in_a_frame():
    server_frame(b'{"sessionResumptionUpdate":{"newHandle":"%s","resumable":true}}' % HANDLE.encode())
    await served(socket(b"handle " + HANDLE.encode()), "/socket")

async def test_leaks_the_key_in_a_close_reason():
    ApiKey(Secret(KEY))
    await served(socket(b"", KEY.encode()), "/socket")

async def test_leaks_the_prompt_in_a_body():
    Policy("p", Models("m", frozenset()), setup=SetupRules({"systemInstruction": {"parts": [{"text": PROMPT}]}}))
    await served(lambda request: answered(PROMPT))

async def test_leaks_the_key_in_a_header():
    ApiKey(Secret(KEY))
    await served(lambda request: answered("", {"x-key": KEY.encode().hex()}))

async def test_leaks_a_tenants_key_in_metrics():
    Secret(KEY)
    await served(lambda request: answered('x{key="' + KEY + '"} 1'), "/metrics")

async def answered(text, headers=None):
    return web.Response(text=text, headers=headers)

async def test_harmless(tmp_path):
    """A client may get its own credential back, a test's own files may hold what they like, and so may its words."""
    Secret(KEY)
    print("nothing", Secret(KEY), "auth_tokens/")
    (tmp_path / "relay.yaml").write_text(KEY)
    await served(lambda request: answered(KEY))

def test_harmless_without_a_secret():
    print(KEY)
'''


def test_a_leak_in_any_place_fails_its_test(tmp_path: Path) -> None:
    """Every test that leaks fails and says where; the others pass."""
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-rA",
                "-p",
                "tests.canary",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:xdist",
            ),
            *("-o", "asyncio_mode=auto", "-o", "log_level=DEBUG", "--tb=line", "--show-capture=no"),
            *("--rootdir", str(tmp_path), str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    outcomes = re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE)
    leaking = set(re.findall(r"def (test_leaks\w+)", LEAKS))

    assert len(leaking) == 11, done.stdout
    assert {name for outcome, name in outcomes if outcome != "PASSED"} == leaking
    assert {"test_harmless", "test_harmless_without_a_secret"} <= {name for outcome, name in outcomes}
    assert done.stdout.count("a secret was where none may be") >= len(leaking)


def test_a_leak_of_another_process_is_found(tmp_path: Path) -> None:
    """It notes what it holds by itself; what it wrote is looked through with that."""
    code = "from relay.core.secret import Secret; print(Secret('relay_ABCdefghijkl').reveal() * {})"
    for times, leaks in ((1, True), (0, False)):
        notes = tmp_path / f"{times}.secrets"
        done = subprocess.run(
            [sys.executable, "-c", code.format(times)],
            cwd=ROOT,
            env=canary.environment(notes, {}),
            capture_output=True,
            timeout=30,
            check=True,
        )
        assert notes.exists(), "it was watched"
        with pytest.raises(AssertionError) if leaks else contextlib.nullcontext():
            canary.look_in_process(notes, {"standard output": done.stdout})
