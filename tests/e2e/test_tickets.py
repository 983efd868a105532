"""The official SDKs, unmodified: each mints tickets through the relay, and each talks with them."""

import asyncio
import ssl
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from tests.e2e.sdk.director import Director, Stage
from tests.e2e.sdk.driving import JAVASCRIPT, PYTHON_1, PYTHON_3, Request, Sdk
from tests.e2e.sdk.scenarios import MODEL, tenant_key, text, until
from tests.support import require_node_packages, run_node

pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore::Warning")]

VOICE = {"voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}}}
USED_UP = "the ticket admits no new session: it was used as often as it may be"


def _mint(stage: Stage, config: dict[str, Any], policy: str = "guided") -> str:
    """A ticket by the Python SDK."""
    context = ssl.create_default_context(cafile=str(stage.authority))
    options = types.HttpOptions(base_url=stage.secure_url, client_args={"verify": context, "trust_env": False})
    client = genai.Client(api_key=tenant_key(policy), http_options=options)  # without a name it would be gone too early
    name: str | None = client.auth_tokens.create(config=config).name
    assert name is not None
    return name


def _play(director: Director, sdk: Sdk, ticket: str, url: str) -> Any:
    steps = (text("hello"), until("turnComplete"))
    return director.play(sdk, Request(url, ticket, MODEL, {"responseModalities": ["AUDIO"]}, steps))


@pytest.mark.parametrize("sdk", [PYTHON_3, PYTHON_1, JAVASCRIPT], ids=str)
def test_a_ticket_of_the_python_sdk_opens_one_conversation(director: Director, sdk: Sdk) -> None:
    """Every SDK takes it for its key; what it fixes is at Google; the second use is refused with the reason."""
    constraints = {"model": MODEL, "config": {"response_modalities": ["AUDIO"], "speech_config": VOICE}}
    ticket = _mint(director.stage, {"uses": 1, "live_connect_constraints": constraints, "lock_additional_fields": []})
    played = _play(director, sdk, ticket, director.stage.secure_url)
    assert played.failure is None
    assert played.said
    assert "BidiGenerateContentConstrained" in played.target
    voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
    assert played.messages[0]["setup"]["generationConfig"]["speechConfig"] == voice
    again = _play(director, sdk, ticket, director.stage.secure_url)
    assert again.google == []
    assert again.failure is not None
    assert USED_UP in again.failure["message"]
    assert ticket not in str(again.failure)


def test_a_ticket_of_the_javascript_sdk_opens_one_conversation(director: Director) -> None:
    """`authTokens.create` works against the relay too."""
    node = require_node_packages("@google/genai")
    stage = director.stage
    options = {"url": stage.plain_url, "model": MODEL}
    minted = run_node(node, "tickets.mjs", {**options, "key": tenant_key("guided"), "mint": {"temperature": None}})
    assert minted["name"].startswith("auth_tokens/")
    assert run_node(node, "tickets.mjs", {**options, "key": minted["name"]})["said"]
    assert USED_UP in run_node(node, "tickets.mjs", {**options, "key": minted["name"]})["failure"]


def test_what_the_policy_forbids_is_an_error_of_the_sdk(director: Director) -> None:
    """ClientError 400, in Google's form, with the field's name."""
    constraints = {"model": MODEL, "config": {"system_instruction": "You are a pirate."}}
    with pytest.raises(errors.ClientError) as refused:
        _mint(director.stage, {"live_connect_constraints": constraints})
    assert refused.value.code == 400
    assert "systemInstruction.parts may not be set by the client" in str(refused.value)
    assert tenant_key("guided") not in str(refused.value)


def test_the_asynchronous_client_mints_with_our_own_fields(director: Director) -> None:
    """What Google lacks goes into `extra_body`."""
    stage = director.stage
    options = types.HttpOptions(base_url=stage.plain_url, async_client_args={"trust_env": False})
    client = genai.Client(api_key=tenant_key("guided"), http_options=options)
    extra = types.HttpOptions(extra_body={"relay": {"endUser": "eva", "limits": {"seconds": 60}}})

    async def mint() -> str | None:
        ticket: str | None = (await client.aio.auth_tokens.create(config={"uses": 0, "http_options": extra})).name
        return ticket

    ticket = asyncio.run(mint())
    assert ticket is not None
    assert _play(director, JAVASCRIPT, ticket, stage.plain_url).said
