"""A pytest plugin that looks, while any test runs, for every secret in every place where none may be.

A secret is whatever the code under test holds as `relay.core.secret.Secret`, each handle a client is given, and what a
policy enforces: nobody has to name them. They are looked for as they are, percent-coded, in hex, in base64 and
JSON-escaped, and by their first 12 characters. Places of one process: what it printed and logged at DEBUG, `/metrics`
and the operator's pages, webhooks, databases and record files in a test's folder. Of a relay in a process of its own
(`environment`, `look_in_process`): all it wrote.

A client may hold its own credential and handle, so in frames, close reasons, headers and bodies that clients get only
Google's are looked for: the operator's credentials, Gemini's handles, enforced prompts.
"""

import base64
import functools
import json
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from relay.core import policy, secret, server_frames
from relay.net import credentials, handles

PREFIX_CHARACTERS = 12
_MIN_DISTINCT = 6
"""A beginning with fewer different characters (a test's `aaaa…`) would be found in anything."""
_MANY = 500
"""So many forms take as long to search for, one by one, as every place in a text takes to look up."""
_PUBLIC = ("auth_tokens/", "Bearer ", "sha256:")
"""Beginnings that are no secret."""
_DATABASE = b"SQLite format 3\x00"
_WRITTEN = {".jsonl", ".log", ".out", ".err"}


class Canary:
    """What is secret in the test under way, and where it was found."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._noted: set[tuple[str, bool]] = set()
        self._all: set[str] = set()
        self._googles: set[str] = set()

    def begin(self) -> None:
        """Forget the test before."""
        self.found.clear()
        self._noted.clear()
        self._all.clear()
        self._googles.clear()

    def note(self, text: str, *, googles: bool = False) -> None:
        """Something is secret from now on."""
        for beginning in _PUBLIC:
            text = text.removeprefix(beginning)
        if (text, googles) in self._noted or "://" in text[:8]:
            return  # an account's name begins with its address, and holds a key that is noted by itself
        self._noted.add((text, googles))
        if len(text) < PREFIX_CHARACTERS or len(set(text[:PREFIX_CHARACTERS])) < _MIN_DISTINCT:
            return
        forms = {form[:PREFIX_CHARACTERS] for form in forms_of(text)}
        self._all |= forms
        if googles:
            self._googles |= forms

    def look(self, place: str, content: str | bytes | bytearray, *, client: bool = False) -> None:
        """Look in one place; `client` says that it is a client that gets to see it."""
        text = content.decode("latin-1") if isinstance(content, bytes | bytearray) else content
        forms = self._googles if client else self._all
        if len(forms) > _MANY:
            places = (at for at in range(len(text)) if text[at : at + PREFIX_CHARACTERS] in forms)
        else:
            places = (at for form in forms if (at := text.find(form)) >= 0)
        for at in places:
            around = text[max(at - 80, 0) : at + 40]
            self.found.append(f"{place} holds {text[at : at + PREFIX_CHARACTERS]!r}: …{around!r}…")
            return

    def look_in_folder(self, folder: Path) -> None:
        """Look in what a relay may have written there; configurations and key files are the test's own."""
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_symlink():
                content = file.read_bytes()
                if content.startswith(_DATABASE) or file.name.endswith("-wal") or file.suffix in _WRITTEN:
                    self.look(file.name, content)


def forms_of(text: str) -> set[str]:
    """A secret as it is, and in every spelling that is looked for."""
    raw = text.encode("utf-8", "replace")
    return {
        text,
        raw.decode("latin-1"),
        quote(raw, safe=""),
        raw.hex(),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        json.dumps(text)[1:-1],
    }


CANARY = Canary()


def look(place: str, content: str | bytes) -> None:
    """Look for every secret of the test in something a relay has written."""
    CANARY.look(place, content)


def look_for_all_in(place: str, headers: Mapping[str, str], body: bytes) -> None:
    """The same, in a request that a relay has sent."""
    CANARY.look(place, f"{dict(headers)}")
    CANARY.look(place, body)


def environment(notes: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a relay in a process of its own, which notes its secrets in a file."""
    here = Path(__file__).parent
    # The tree comes first: it may be a copy of the one that is installed.
    path = os.pathsep.join(map(str, (here.parent, here / "recording")))
    return {**given, "CANARY_FILE": str(notes), "PYTHONPATH": path}


def look_in_process(notes: Path, outputs: Mapping[str, str | bytes]) -> None:
    """Look for what a relay's process noted in what it wrote.

    Raises:
        AssertionError: something was found.
    """
    watched = Canary()
    for line in notes.read_text().split() if notes.exists() else ():
        watched.note(bytes.fromhex(line).decode())
    for name, output in outputs.items():
        watched.look(name, output)
    assert not watched.found, watched.found[0]


# How secrets get noted, and clients watched ---------------------------------------------------------------------------


def _after(owner: Any, name: str, do: Callable[..., None]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        done = original(self, *args, **kwargs)
        do(self, *args, **kwargs)
        return done

    setattr(owner, name, wrapped)


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            yield from _texts(inner)


def _note_prompts(_policy: policy.Policy, *_args: Any, setup: policy.SetupRules | None = None, **_kwargs: Any) -> None:
    for text in _texts({} if setup is None else dict(setup.enforce).get("systemInstruction", {})):
        CANARY.note(text, googles=True)


class _Googles(secret.Secret):
    """A secret that Google gave us, or that is for Google alone."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        super().__init__(text)
        CANARY.note(text, googles=True)


def pytest_configure() -> None:
    """Begin to watch."""
    _after(secret.Secret, "__init__", lambda _self, text: CANARY.note(text))
    _after(credentials.ApiKey, "__init__", lambda _self, key: CANARY.note(key.reveal(), googles=True))
    _after(policy.Policy, "__init__", _note_prompts)
    for module in (server_frames, credentials):
        vars(module)["Secret"] = _Googles

    seal = handles.HandleSealer.seal

    def watched_seal(self: handles.HandleSealer, handle: str, owner: bytes) -> str:
        sealed = seal(self, handle, owner)
        CANARY.note(sealed)
        return sealed

    handles.HandleSealer.seal = watched_seal  # type: ignore[method-assign]

    receive = aiohttp.ClientWebSocketResponse.receive
    read = aiohttp.ClientResponse.read

    async def watched_receive(self: Any, timeout: float | None = None) -> Any:
        message = await receive(self, timeout)
        for what, content in (("a frame", message.data), ("a close reason", message.extra)):
            if isinstance(content, str | bytes | bytearray):
                CANARY.look(f"{what} to a client", content, client=True)
        return message

    async def watched_read(self: aiohttp.ClientResponse) -> bytes:
        body = await read(self)
        operators = self.url.path.startswith(("/metrics", "/admin", "/healthz", "/readyz"))
        CANARY.look(f"{self.url.path} to a client", f"{self.headers}", client=not operators)
        CANARY.look(f"{self.url.path} to a client", body, client=not operators)
        return body

    aiohttp.ClientWebSocketResponse.receive = watched_receive  # type: ignore[method-assign]
    aiohttp.ClientResponse.read = watched_read  # type: ignore[method-assign]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """A new test."""
    CANARY.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a phase of a test that would have passed, had it not printed a secret."""
    report = yield
    if report.when == "teardown":
        for name, text in report.sections:
            CANARY.look(name, text)
        if isinstance(folder := getattr(item, "funcargs", {}).get("tmp_path"), Path):
            CANARY.look_in_folder(folder)
    if CANARY.found and report.passed:
        report.outcome = "failed"
        report.longrepr = f"a secret was where none may be: {CANARY.found[0]}"
    if report.when == "teardown":
        CANARY.found.clear()
    return report
