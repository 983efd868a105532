"""`relay sessions` and `relay usage` against a real relay with a live session in it."""

import asyncio
import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import aiohttp
import pytest

from relay.console import Column, amount, duration, printable, table
from tests.support import ROOT, relay_process

TOKEN = "operator-token-0123456789"
WAIT_S = 20.0

Done = subprocess.CompletedProcess[str]


@dataclass
class Scene:
    """A relay and how to ask it."""

    ready: dict[str, Any]
    token_file: Path

    async def run(self, *arguments: str, token: str | None = TOKEN) -> Done:
        """Run the command to its end."""
        return await asyncio.to_thread(run, *arguments, "--url", self.ready["admin"], token=token)


def run(*arguments: str, token: str | None = TOKEN) -> Done:
    """Run `relay …` to its end."""
    environment = {name: value for name, value in os.environ.items() if name != "RELAY_ADMIN_TOKEN"}
    if token is not None:
        environment["RELAY_ADMIN_TOKEN"] = token
    command = [sys.executable, "-m", "relay", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WAIT_S, check=False
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A demo relay on its simulator."""
    folder = tmp_path_factory.mktemp("console")
    token_file = folder / "token"
    token_file.write_text(TOKEN + "\n")
    sets = ("listen.port=0", "admin.port=0", f"admin.token_file={token_file}")
    arguments = [word for one in sets for word in ("--set", one)]
    with relay_process(folder / "stderr.log", "demo", *arguments) as ready:
        yield Scene(ready, token_file)


@pytest.fixture
async def talking(scene: Scene) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A client that has had one answer."""
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{scene.ready['listen']}/demo/config.json") as answer:
            settings = await answer.json()
        key = {"x-goog-api-key": settings["key"], "x-relay-end-user": "user 17", "x-relay-labels": '{"plan": "gold"}'}
        async with http.ws_connect(scene.ready["listen"] + settings["path"], headers=key) as socket:
            await socket.send_json({"setup": {}})
            await socket.send_json({"realtimeInput": {"text": "hello"}})
            async with asyncio.timeout(WAIT_S):
                async for message in socket:
                    if "turnComplete" in json.loads(message.data).get("serverContent", {}):
                        break
            yield socket


async def test_a_live_session_in_all_three_forms(scene: Scene, talking: aiohttp.ClientWebSocketResponse) -> None:
    """A table to read, JSON as the API has it, CSV with every number."""
    shown = await scene.run("sessions")
    title, rule, line = shown.stdout.splitlines()[:3]
    told = json.loads((await scene.run("sessions", "--json")).stdout)
    (row,) = csv.DictReader((await scene.run("sessions", "--csv")).stdout.splitlines())

    assert (shown.returncode, shown.stderr) == (0, "")
    assert title.split()[:7] == ["SESSION", "TENANT", "USER", "MODEL", "STATE", "AGE", "TOKENS"]
    assert set(rule) == {"─"}
    (session,) = told["sessions"]
    assert re.split(" {2,}", line)[:5] == [session["id"], "demo", "user 17 plan=gold", "gemini-3.8-live", "relaying"]
    assert (row["end_user"], row["labels.plan"]) == ("user 17", "gold")
    assert f"{session['tokens']:,}" in line
    assert row["id"] == session["id"]
    assert row["cost"] == session["cost"]
    assert int(row["tokens_by_kind.prompt.text"]) == session["tokens_by_kind"]["prompt.text"]


async def test_a_session_is_ended(scene: Scene, talking: aiohttp.ClientWebSocketResponse) -> None:
    """By its id; a second time there is none, which is said, with another exit code."""
    session = json.loads((await scene.run("sessions", "--json")).stdout)["sessions"][0]["id"]
    done = await scene.run("sessions", "--end", session)
    async with asyncio.timeout(WAIT_S):
        while (await talking.receive()).type is not aiohttp.WSMsgType.CLOSE:
            pass
    again = await scene.run("sessions", "--end", session)
    assert (done.returncode, done.stdout) == (0, f"session {session} has ended\n")
    assert talking.close_code == 1008
    assert (again.returncode, again.stdout) == (64, "")
    assert "there is no such session" in again.stderr


async def test_usage_in_all_three_forms(scene: Scene, talking: aiohttp.ClientWebSocketResponse) -> None:
    """By day, by model and by session; the rows of the CSV add up to those of the table."""
    async with asyncio.timeout(WAIT_S):
        while not json.loads((await scene.run("usage", "--json")).stdout)["rows"]:
            await asyncio.sleep(0.1)
    by_model = (await scene.run("usage", "--by", "model")).stdout
    by_session = (await scene.run("usage", "--by", "session", "--csv", "--tenant", "demo")).stdout
    (day,) = json.loads((await scene.run("usage", "--json")).stdout)["rows"]
    rows = list(csv.DictReader(by_session.splitlines()))
    assert "gemini-3.8-live" in by_model
    assert "prices of" in by_model
    assert sum(int(row["tokens"]) for row in rows) == day["tokens"]
    assert {row["currency"] for row in rows} == {"USD"}
    assert "nothing was used" in (await scene.run("usage", "--from", "2020-01-01", "--to", "2020-01-02")).stdout


async def test_the_token_may_be_in_a_file(scene: Scene) -> None:
    """With a newline at its end, as files have."""
    done = await scene.run("sessions", "--token-file", str(scene.token_file), token=None)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("token", "exit_code", "words"),
    [
        (None, 78, "relay sessions: set RELAY_ADMIN_TOKEN, or name a --token-file"),
        ("wrong", 77, "relay: the relay refused the token: is it the one of admin.token?"),
    ],
)
async def test_a_token_that_does_not_open(scene: Scene, token: str | None, exit_code: int, words: str) -> None:
    """Missing or wrong: one line that says what to do, and never the token."""
    done = await scene.run("sessions", token=token)
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, "", words + "\n")


async def test_a_bad_parameter_is_explained(scene: Scene) -> None:
    """In the words of the API."""
    done = await scene.run("usage", "--from", "yesterday")
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("relay: from: must be a day")


class _Stranger(BaseHTTPRequestHandler):
    """A web server that is no relay: each path gets another answer that could confuse a client."""

    seen: list[str | None] = []  # noqa: RUF012 - the base class makes one instance for each request

    def do_GET(self) -> None:
        """Answer."""
        self.seen.append(self.headers["Authorization"])
        status, body = {"/html": (200, b"<html>"), "/list": (200, b"[]"), "/moved": (302, b""), "/gone": (404, b"")}[
            "/" + self.path.split("/")[1]
        ]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it that
        """Say nothing."""


@pytest.mark.threat("A6")
@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("html", "is not a relay's admin listener"),
        ("list", "is not a relay's admin listener"),
        ("moved", "the relay answered 302"),
        ("gone", "there is no admin API at"),
    ],
)
def test_somebody_else_answers(path: str, words: str) -> None:
    """Another server, or a relay without an admin token; a redirect is not followed, because it would get the token."""
    server = HTTPServer(("127.0.0.1", 0), _Stranger)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _Stranger.seen.clear()
    try:
        done = run("sessions", "--url", f"http://127.0.0.1:{server.server_port}/{path}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=WAIT_S)
    assert done.returncode == 69
    assert words in done.stderr
    assert len(_Stranger.seen) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nobody.invalid:9090", "nonsense", "http://[bad"])
def test_nobody_answers(url: str) -> None:
    """One line with the address and what to look at."""
    done = run("usage", "--url", url)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"relay: {url} can't be reached: ")
    assert len(done.stderr.splitlines()) == 1


# Words and numbers ---------------------------------------------------------------------------------------------------


def test_columns_line_up_and_are_added_up() -> None:
    """Numbers to the right; one row needs no total."""
    columns = [
        Column("NAME", lambda row: str(row["name"]), total=lambda rows: f"{len(rows)} rows"),
        Column("N", lambda row: f"{row['n']:,}", right=True, total=lambda rows: f"{sum(row['n'] for row in rows):,}"),
    ]
    rows = [{"name": "a", "n": 5}, {"name": "long name", "n": 12_345}]
    assert table(columns, rows).splitlines() == [
        "NAME            N",
        "─────────────────",
        "a               5",
        "long name  12,345",
        "─────────────────",
        "2 rows     12,350",
    ]
    assert table(columns, rows[:1]).splitlines()[-1] == "a     5"


def test_a_client_s_words_do_nothing_to_a_terminal() -> None:
    """A model's name may have come from anybody."""
    assert printable("models/\x1b[31mred\n\u202egnp.") == "models/?[31mred??gnp."


def test_durations_and_amounts() -> None:
    """As people write them."""
    assert [duration(value) for value in (0, 7.9, 754, 18_367)] == ["0:00", "0:07", "12:34", "5:06:07"]
    assert [amount(value) for value in ("0", "0.00005", "1234.56789")] == ["0.0000", "0.0000", "1,234.5679"]
