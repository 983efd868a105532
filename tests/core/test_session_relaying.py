"""Sessions: the conversation itself, both ways."""

from typing import Any

import pytest

from relay.core.closing import Close, CloseReason
from relay.core.commands import CancelTimer, Charged, End, Send, Violated
from relay.core.downstream import Ticket
from relay.core.events import DOWNSTREAM, Timer
from relay.core.secret import Secret
from relay.core.session import Session
from relay.core.usage import Kind, Modality
from tests.core.playbook import (
    MODEL,
    FakeHandles,
    Playbook,
    awaiting,
    client,
    compact,
    connecting,
    content,
    gemini,
    policy,
    pretty,
    relaying,
    setup_complete,
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
    assert (meter.frames_up, meter.frames_down, meter.turns) == (1, 3, 1)
    assert meter.tally.tokens == {(Kind.PROMPT, Modality.UNATTRIBUTED): 7}
    assert meter.text_characters_up == 2
    assert (meter.first_input_at, meter.first_audio_at, meter.audio_bytes_down) == (2.0, 2.5, 3)


# Resumption handles --------------------------------------------------------------------------------------------------

RESUMING = b'{"setup":{"sessionResumption":{}}}'


def update(**fields: Any) -> bytes:
    """A sessionResumptionUpdate."""
    return pretty({"sessionResumptionUpdate": fields})


def resuming(**behaviour: Any) -> Session:
    """A session whose client asked for handles; it got the first one, without any of Gemini's in it."""
    return relaying(awaiting(policy(**behaviour)), RESUMING)


def ours(place: int, theirs: str = "") -> bytes:
    """The update by which the client gets a handle of the relay's, as the message at this place."""
    return update(newHandle=FakeHandles().seal(Ticket(Secret(theirs), "s1", 0, place), MODEL), resumable=True)


def test_a_client_that_asked_gets_handles_of_ours() -> None:
    """With setupComplete, and whenever Gemini issues one; Gemini's own never leaves."""
    complete = pretty({"serverContent": {"turnComplete": True}})
    session = connecting(None, RESUMING)
    assert (
        Playbook(session)
        >> gemini(setup_complete())
        << Send(DOWNSTREAM, setup_complete(), text=False)
        << Send(DOWNSTREAM, ours(2), text=False)
        << CancelTimer(Timer.CONNECT)
        >> gemini(update(newHandle="theirs", resumable=True))
        << Send(DOWNSTREAM, ours(3, "theirs"), text=False)
        >> gemini(complete)
        << Send(DOWNSTREAM, complete, text=False)
        >> gemini(update(newHandle="theirs 2", resumable=True))
        << Send(DOWNSTREAM, ours(5, "theirs 2"), text=False)
    )


def test_an_update_without_a_handle_is_not_passed_on() -> None:
    """Whatever Gemini can't resume from just now, the client's newest handle still leads back to this session."""
    assert (
        Playbook(resuming())
        >> gemini(update())
        >> gemini(update(newHandle="theirs"))
        >> gemini(update(newHandle=5, resumable=True))
        << None
    )


def test_what_an_update_rides_on_goes_on_without_it() -> None:
    """The update is taken out, the rest keeps its opcode; a text policy holds for both messages."""
    payload = pretty(
        {
            "serverContent": {"inputTranscription": {}},
            "sessionResumptionUpdate": {"newHandle": "theirs", "resumable": True},
        }
    )
    rest = pretty({"serverContent": {"inputTranscription": {}}})
    assert (
        Playbook(resuming(server_text=True))
        >> gemini(payload)
        << Send(DOWNSTREAM, rest, text=True)
        << Send(DOWNSTREAM, ours(4, "theirs"), text=True)
    )


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
    """Wherever the update rides, the bytes that leave are free of the handle."""
    for asked in (b'{"setup":{}}', RESUMING):
        for name in ("serverContent", "toolCall", "goAway", "usageMetadata"):
            session = relaying(None, asked)
            tree = {name: {}, "sessionResumptionUpdate": {"newHandle": "canary-of-gemini", "resumable": True}}
            for command in session.handle(gemini(pretty(tree)), 0.0):
                # the fake seal shows what it seals, behind a colon
                assert b"canary-of-gemini" not in getattr(command, "payload", b"").replace(b":canary-of-gemini", b"")


def test_gemini_s_goodbye_is_for_the_relay_alone() -> None:
    """No goAway of Gemini's reaches a client; what it rides on does."""
    assert (
        Playbook(relaying())
        >> gemini(pretty({"goAway": {"timeLeft": "50s"}}))
        << None
        >> gemini(pretty({"goAway": {"timeLeft": "50s"}, "usageMetadata": {"promptTokenCount": 1}}))
        << Send(DOWNSTREAM, pretty({"usageMetadata": {"promptTokenCount": 1}}), text=False)
        << Charged()
    )
