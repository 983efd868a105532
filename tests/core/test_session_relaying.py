"""Sessions: the conversation itself, both ways."""

from typing import Any

import pytest

from relay.core.closing import Close, CloseReason
from relay.core.commands import End, Send, Violated
from relay.core.events import DOWNSTREAM, Received
from relay.core.session import Session
from tests.core.playbook import (
    MODEL,
    FakeHandles,
    Playbook,
    awaiting,
    client,
    compact,
    content,
    gemini,
    policy,
    pretty,
    relaying,
    spoken,
)

# The client's messages -----------------------------------------------------------------------------------------------


def test_a_client_s_message_reaches_gemini_rewritten() -> None:
    """The client's own bytes are never forwarded: spelling, number forms and spaces are ours."""
    sent = b'{ "client_content" : { "turns" : [ { "parts" : [ { "text" : "hi" } ] } ], "turn_complete" : true } }'
    canonical = compact({"clientContent": {"turns": [{"parts": [{"text": "hi"}]}], "turnComplete": True}})
    assert Playbook(relaying()) >> client(sent, text=False) << Send(1, canonical, text=True)


def test_a_violation_ends_the_session_where_it_is_rejected() -> None:
    """The close says which field may not be sent."""
    assert (
        Playbook(relaying())
        >> client(b'{"realtimeInput":{"video":{},"text":"x"}}')
        << Violated("message_field", "realtimeInput.video", rejected=True)
        << End(Close(CloseReason.REFUSED_BY_POLICY, "realtimeInput.video may not be sent by the client"))
    )


def test_a_violation_is_dropped_where_it_is_stripped() -> None:
    """The rest of the message is sent, a message with no rest is not, and the session lives on."""
    assert (
        Playbook(relaying(awaiting(policy(strip=True))))
        >> client(b'{"realtimeInput":{"video":{},"text":"x"}}')
        << Violated("message_field", "realtimeInput.video", rejected=False)
        << Send(1, spoken("x"), text=True)
        >> client(b'{"realtimeInput":{"video":{}}}')
        << Violated("message_field", "realtimeInput.video", rejected=False)
        >> client(b'{"contextUpdate":{"tools":{}}}')
        << Violated("message_kind", "contextUpdate", rejected=False)
        >> client(spoken("y"))
        << Send(1, spoken("y"), text=True)
    )


def test_a_tool_is_answered_once() -> None:
    """The call opens, the answer closes it, a second answer goes nowhere."""
    call = pretty({"toolCall": {"functionCalls": [{"id": "fc_1", "name": "f", "args": {}}]}})
    answer = compact({"toolResponse": {"functionResponses": [{"id": "fc_1", "response": {"output": "ok"}}]}})
    session = relaying()
    assert (
        Playbook(session)
        >> gemini(call)
        << Send(DOWNSTREAM, call, text=False)
        >> client(answer)
        << Send(1, answer, text=True)
        >> client(answer)
        << None
    )
    assert session.meter.tool_calls == 1


def test_a_late_answer_to_a_cancelled_call_goes_nowhere() -> None:
    """The client could not know that its call was taken back."""
    call = pretty({"toolCall": {"functionCalls": [{"id": "fc_1", "name": "f"}]}})
    cancel = pretty({"toolCallCancellation": {"ids": ["fc_1"]}})
    assert (
        Playbook(relaying())
        >> gemini(call)
        << Send(DOWNSTREAM, call, text=False)
        >> gemini(cancel)
        << Send(DOWNSTREAM, cancel, text=False)
        >> client(compact({"toolResponse": {"functionResponses": [{"id": "fc_1", "response": {}}]}}))
        << None
    )


def test_an_answer_to_no_call_ends_the_session() -> None:
    """An invented answer is refused."""
    assert (
        Playbook(relaying())
        >> client(compact({"toolResponse": {"functionResponses": [{"id": "fc_9", "response": {}}]}}))
        << Violated("tool_response", "toolResponse.functionResponses.id", rejected=True)
        << End(
            Close(
                CloseReason.REFUSED_BY_POLICY,
                "toolResponse.functionResponses.id answers no call that was made",
            )
        )
    )


# Gemini's messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [False, True])
def test_gemini_s_bytes_and_opcode_are_kept(text: bool) -> None:
    """Not a space is changed, and a binary frame stays binary: some clients wait for a Blob."""
    payload = b'{\n  "serverContent" :{"new_field":  1e0, "turnComplete":false}, "extra": null }\r\n\n'
    assert Playbook(relaying()) >> gemini(payload, text=text) << Send(DOWNSTREAM, payload, text)


@pytest.mark.parametrize("text", [False, True])
def test_a_policy_may_ask_for_text(text: bool) -> None:
    """For browsers, Gemini's messages can be sent as text frames."""
    session = relaying(awaiting(policy(server_text=True)))
    assert Playbook(session) >> gemini(content("x"), text=text) << Send(DOWNSTREAM, content("x"), text=True)


def test_a_message_of_no_known_name_is_not_forwarded() -> None:
    """The Python SDK crashes on it; beside a known name it is harmless."""
    beside = pretty({"somethingNew": {}, "serverContent": {}})
    session = relaying()
    assert (
        Playbook(session)
        >> gemini(pretty({"somethingNew": {}}))
        >> gemini(pretty({"error": {"message": "x"}}))
        >> gemini(b"{}")
        << None
        >> gemini(beside)
        << Send(DOWNSTREAM, beside, text=False)
    )
    assert session.meter.frames_down == 2  # with setupComplete


def test_a_message_of_no_known_name_is_forwarded_where_unknown_fields_pass() -> None:
    """An operator who lets newer fields through wants both directions."""
    payload = pretty({"somethingNew": {}})
    session = relaying(awaiting(policy(pass_unknown=True)))
    assert Playbook(session) >> gemini(payload) << Send(DOWNSTREAM, payload, text=False)


@pytest.mark.parametrize("payload", [b"", b"\x08\x01", b"[]", b"null", b'{"serverContent":'])
def test_what_nobody_can_read_ends_the_session(payload: bytes) -> None:
    """Gemini's nonsense is not forwarded, before or after its answer."""
    assert Playbook(relaying()) >> gemini(payload) << End(Close(CloseReason.UPSTREAM_NONSENSE))


def test_what_was_used_is_counted() -> None:
    """Frames, bytes, turns, tokens and the first audio of a short conversation."""
    session = relaying()
    audio = pretty(
        {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": "AAAA"}}]}}}
    )
    done = pretty({"serverContent": {"turnComplete": True}, "usageMetadata": {"promptTokenCount": 7}})
    session.handle(client(spoken("hi")), 2.0)
    session.handle(gemini(audio), 2.5)
    session.handle(gemini(done), 3.0)
    meter = session.meter
    assert (meter.frames_up, meter.frames_down, meter.turns, meter.tokens.prompt) == (1, 3, 1, 7)
    assert (meter.first_input_at, meter.first_audio_at, meter.audio_bytes_down) == (2.0, 2.5, 3)


# Resumption handles --------------------------------------------------------------------------------------------------

RESUMING = b'{"setup":{"sessionResumption":{}}}'


def update(**fields: Any) -> bytes:
    """A sessionResumptionUpdate."""
    return pretty({"sessionResumptionUpdate": fields})


def resuming(**behaviour: Any) -> Session:
    """A session whose client asked for handles."""
    return relaying(awaiting(policy(**behaviour)), RESUMING)


def test_a_client_that_asked_gets_handles_of_ours() -> None:
    """Gemini's handle is a bearer token to the conversation, so the client gets one that only this relay can open."""
    ours = FakeHandles().seal("theirs", MODEL)
    assert (
        Playbook(resuming())
        >> gemini(update(newHandle="theirs", resumable=True))
        << Send(DOWNSTREAM, update(newHandle=ours, resumable=True), text=False)
        >> gemini(update())
        << Send(DOWNSTREAM, update(), text=False)
        >> gemini(update(newHandle=5, resumable=True))
        << Send(DOWNSTREAM, update(resumable=True), text=False)
    )


def test_a_resealed_message_keeps_its_opcode_and_its_other_parts() -> None:
    """Only the update is exchanged; a text policy holds for it too."""
    ours = FakeHandles().seal("theirs", MODEL)
    payload = pretty({"serverContent": {"turnComplete": True}, "sessionResumptionUpdate": {"newHandle": "theirs"}})
    changed = pretty({"serverContent": {"turnComplete": True}, "sessionResumptionUpdate": {"newHandle": ours}})
    session = resuming(server_text=True)
    assert Playbook(session) >> gemini(payload) << Send(DOWNSTREAM, changed, text=True)
    assert session.meter.turns == 1


def test_a_client_that_did_not_ask_gets_none() -> None:
    """Gemini 3.1 sends handles to those who never asked; the rest of such a message is passed on."""
    session = relaying()
    assert (
        Playbook(session)
        >> gemini(update(newHandle="theirs", resumable=True))
        << None
        >> gemini(pretty({"sessionResumptionUpdate": {"newHandle": "theirs"}, "somethingNew": {}}))
        << None
        >> gemini(pretty({"sessionResumptionUpdate": {"newHandle": "theirs"}, "serverContent": {}}))
        << Send(DOWNSTREAM, pretty({"serverContent": {}}), text=False)
    )
    assert session.meter.frames_down == 2


def test_no_message_carries_gemini_s_handle_to_the_client() -> None:
    """Wherever the update rides, also on the answer to the setup, the bytes that leave are free of the handle."""
    for asked in (b'{"setup":{}}', RESUMING):
        session = awaiting()
        session.handle(Received(DOWNSTREAM, asked, text=True), 0.0)
        for name in ("setupComplete", "serverContent", "toolCall", "goAway", "usageMetadata"):
            tree = {name: {}, "sessionResumptionUpdate": {"newHandle": "canary-of-gemini", "resumable": True}}
            for command in session.handle(gemini(pretty(tree)), 0.0):
                # the fake seal shows what it seals, after its own prefix
                assert b"canary-of-gemini" not in getattr(command, "payload", b"").replace(
                    FakeHandles().seal("canary-of-gemini", MODEL).encode(), b""
                )
