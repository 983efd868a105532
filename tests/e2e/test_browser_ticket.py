"""The whole way of a ticket: minted by the official Python SDK, used by the JavaScript SDK in a real browser."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from google import genai
from google.genai import types

from tests.e2e.sdk import page
from tests.e2e.sdk.director import Stage
from tests.e2e.sdk.scenarios import ASSISTANT, MODEL, check_google, tenant_key
from tests.support import require_node_packages, require_tool, run_node

pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore::Warning")]

USED_UP = "the ticket admits no new session: it was used as often as it may be"


@pytest.mark.threat("B8", "B9")
def test_a_ticket_lets_a_page_talk_once_and_until_it_is_taken_back(stage: Stage) -> None:
    """Two turns; the second use closes with 4401 and says why; revocation closes the live session with 4401."""
    node = require_node_packages("@google/genai", "playwright-core")
    chromium = require_tool("chromium", "chromium-browser", "google-chrome")
    options = types.HttpOptions(base_url=stage.plain_url, client_args={"trust_env": False})
    client = genai.Client(api_key=tenant_key("guided"), http_options=options)
    extra = types.HttpOptions(extra_body={"relay": {"endUser": "eva", "limits": {"seconds": 600, "tokens": 50_000}}})
    ticket = client.auth_tokens.create(config={"uses": 1, "http_options": extra}).name
    assert ticket is not None
    before = stage.newest()
    address = stage.page_url.rstrip("/") + page.PATH
    seen: dict[str, Any] = run_node(
        node,
        "sdk_in_page.mjs",
        {
            "page": address,
            "relay": stage.plain_url,
            "model": MODEL,
            "ticket": ticket,
            "key": tenant_key("guided"),
            "chromium": str(chromium),
        },
    )
    assert seen["origin"] == stage.page_url.rstrip("/")
    assert set(seen["sockets"]) == {urlsplit(stage.plain_url).netloc}
    assert seen["talked"]["turns"] == 2
    assert "Hello! I am the simulator" in seen["talked"]["said"]
    assert "This is turn 2" in seen["talked"]["said"]
    assert seen["second"]["closed"] == {"code": 4401, "reason": USED_UP, "wasClean": True}
    assert seen["second"]["said"] == ""
    assert seen["untouched"]["closed"] is None
    assert seen["revoked"]["closed"] == {"code": 4401, "reason": "access was revoked", "wasClean": True}
    assert seen["revoked"]["order"] == {"sessionsEndedHere": 1}
    assert seen["revoked"]["afterMs"] < 10_000
    assert seen["third"]["closed"] == {"code": 1006, "reason": "", "wasClean": False}, "a 401, of which pages see this"
    connections = stage.connections(before)
    assert len(connections) == 1, "Gemini was dialled for the first use only"
    check_google(connections, {"model": MODEL, **ASSISTANT})
