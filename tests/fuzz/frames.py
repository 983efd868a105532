"""Messages of both sides: what a client sends is rewritten, what Gemini sends is looked at."""

import json
from pathlib import Path
from typing import Any

import orjson

from relay.core.client_frames import ClientFrame, client_frame
from relay.core.policy import Behaviour, Conversation, Messages, Models, Policy, SetupRules
from relay.core.refusals import Refusal
from relay.core.schema import SPELLINGS
from relay.core.server_frames import ServerFrame, server_frame, without
from relay.core.usage import MAX_COUNT, MAX_STEP_TOKENS, Kind, Semantics, Tally, Usage, of_kind, usage
from tests.fuzz.target import JSON_WORDS, Target
from tests.properties.test_differential import ORACLE, oracle, our_view, their_view

_EXAMPLES = [
    json.loads(line)
    for line in (Path(__file__).parent.parent / "data" / "wire_examples.jsonl").read_text("utf-8").splitlines()
]
_NAMES = tuple(f'"{name}"'.encode() for spellings in SPELLINGS.values() for name in spellings)


def _seeds(direction: str) -> tuple[bytes, ...]:
    return tuple(json.dumps(each["message"]).encode() for each in _EXAMPLES if each["direction"] == direction)


# The client's --------------------------------------------------------------------------------------------------------


def client_frames(data: bytes) -> None:
    """A reader that only accepts or refuses; what it accepts says the same when it is read again, and to Google.

    The refusal's words can be shown to anybody: printable, short.
    """
    frame = client_frame(data)
    if isinstance(frame, Refusal):
        assert frame.detail.isprintable()
        assert len(frame.detail) < 1000
        return
    again = client_frame(frame.encode())
    assert isinstance(again, ClientFrame), again
    assert (again.kind, again.body, again.encode()) == (frame.kind, frame.body, frame.encode())
    theirs = oracle(frame.encode())
    if theirs is not None:  # fields that are newer than the published descriptors
        assert their_view(theirs) == our_view({frame.kind: frame.body}, ORACLE.DESCRIPTOR)
    lenient = client_frame(data, pass_unknown=True)
    assert isinstance(lenient, ClientFrame)
    assert (lenient.kind, lenient.body) == (frame.kind, frame.body)


_ENFORCED: dict[str, Any] = {
    "systemInstruction": {"parts": [{"text": "Only about the weather."}]},
    "generationConfig": {
        "temperature": 0.5,
        "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "K"}}},
    },
    "tools": [{"functionDeclarations": [{"name": "weather"}]}],
}
_MODEL = "models/allowed"
_POLICIES = [
    Policy(
        "fuzzed",
        Models(_MODEL, frozenset({_MODEL, "models/other"}), {"fast": "models/other"}),
        setup=SetupRules(_ENFORCED, {"outputAudioTranscription": {}}, allow, deny),
        messages=Messages(),
        behaviour=Behaviour(),
    )
    for allow, deny in (
        (frozenset[str](), frozenset[str]()),
        (frozenset({"*"}), frozenset({"proactivity", "generationConfig.seed"})),
        (frozenset({"generationConfig.temperature", "generationConfig.topK", "tools"}), frozenset[str]()),
    )
]


def setup_merge(data: bytes) -> None:
    """Whatever a client's setup says, what is enforced stands in the outcome; deciding it again changes nothing.

    Nothing is in it that was neither enforced, nor a default, nor allowed; no handle but an unsealed one.
    """
    frame = client_frame(data)
    if not isinstance(frame, ClientFrame) or frame.kind != "setup":
        return
    for number, policy in enumerate(_POLICIES):
        body = orjson.loads(orjson.dumps(frame.body))
        ruling = policy.setup(frame.body, lambda handle, model: f"unsealed {model}" if handle == "ours" else None)
        assert frame.body == body, "the client's setup was changed"
        assert _holds(ruling.body, _ENFORCED)
        assert ruling.body["model"] in {_MODEL, "models/other"}
        assert ruling.body.get("sessionResumption", {}).get("handle", "unsealed").startswith("unsealed")
        if number == 0:
            assert ruling.body.keys() <= {
                "model",
                "outputAudioTranscription",
                "sessionResumption",
                "realtimeInputConfig",
                *_ENFORCED,
            }
            assert ruling.body["generationConfig"] == _ENFORCED["generationConfig"]
        if number == 1:
            assert "proactivity" not in ruling.body
            assert "seed" not in ruling.body["generationConfig"]
        again = policy.setup(ruling.body, lambda handle, _model: handle)
        if number:  # the first one's own defaults are not among what a client may set
            assert again.body == ruling.body


def _holds(whole: Any, part: Any) -> bool:
    if type(part) is dict:
        return type(whole) is dict and all(name in whole and _holds(whole[name], each) for name, each in part.items())
    return bool(whole == part)


def later_messages(data: bytes) -> None:
    """What a policy lets through of a later message is allowed, whatever was taken out of it before."""
    frame = client_frame(data)
    if not isinstance(frame, ClientFrame) or frame.kind == "setup":
        return
    talk = Conversation()
    talk.called(["call-1"])
    violations = _POLICIES[0].check(frame, talk)
    assert all(violation.detail.isprintable() for violation in violations)
    again = client_frame(frame.encode())
    assert isinstance(again, ClientFrame)
    if frame.kind == "realtimeInput":
        assert again.body.keys() <= {"audio", "text", "audioStreamEnd", "activityStart", "activityEnd"}
    elif frame.kind == "clientContent":
        assert all((turn.get("role") or "user") == "user" for turn in again.body.get("turns", ()))
        assert all(part.keys() <= {"text"} for turn in again.body.get("turns", ()) for part in turn.get("parts", ()))
    elif frame.kind == "toolResponse":
        assert all(answer.get("id") == "call-1" for answer in again.body.get("functionResponses", ()))
    else:
        assert again.body == {}


# Gemini's ------------------------------------------------------------------------------------------------------------

_OWN = frozenset({"goAway", "sessionResumptionUpdate", "setupComplete"})


def server_frames(data: bytes) -> None:
    """A look that never fails, and sees the same with the shortcut for audio as without it.

    What is the relay's own never passes; whatever else is in a message does.
    """
    frame = server_frame(data)
    left = without(data, _OWN) if frame is not None else None
    try:
        tree = orjson.loads(data)
    except orjson.JSONDecodeError:
        assert left is None  # a blob that was not looked at
        return
    assert (frame is None) == (type(tree) is not dict)
    if frame is None:
        return
    plain = server_frame(orjson.dumps(tree))  # written without the space that the shortcut looks for
    assert plain is not None
    assert abs(plain.audio_bytes - frame.audio_bytes) <= 1
    plain.audio_bytes = frame.audio_bytes
    assert plain == frame
    _sensible(frame)
    if left is not None:
        assert orjson.loads(left) == {name: body for name, body in tree.items() if name not in _OWN}
        assert not _OWN & orjson.loads(left).keys()


def _sensible(frame: ServerFrame) -> None:
    assert frame.audio_bytes >= 0
    assert frame.go_away_s is None or abs(frame.go_away_s) < 1e12
    if frame.resumption is not None:
        assert 0 <= frame.resumption.consumed


def usage_reports(data: bytes) -> None:
    """Counts are never negative, never beyond reason, never less than what the report itself adds up to.

    A tally never shrinks, counts a report once, and takes no more of a kind at a time than a context holds.
    """
    reports: list[Usage] = []
    for line in data.split(b"\n")[:8]:
        try:
            body = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if type(body) is dict:
            reports.append(usage(body))
            _believable(body, reports[-1])
    for semantics in Semantics:
        tally = Tally(semantics)
        for ordinal, report in enumerate(reports):
            before = dict(tally.tokens)
            assert tally.add(report, 1, ordinal)
            once = dict(tally.tokens)
            assert not tally.add(report, 1, ordinal)
            assert tally.tokens == once
            assert all(once.get(cell, 0) >= tokens for cell, tokens in before.items())
            for kind in Kind:
                assert of_kind(once, kind) - of_kind(before, kind) <= MAX_STEP_TOKENS


_COUNTS = {
    Kind.PROMPT: ("promptTokenCount",),
    Kind.TOOL_USE: ("toolUsePromptTokenCount",),
    Kind.CACHED: ("cachedContentTokenCount",),
    Kind.RESPONSE: ("responseTokenCount", "candidatesTokenCount"),
    Kind.THOUGHTS: ("thoughtsTokenCount",),
}


def _believable(body: dict[str, Any], report: Usage) -> None:
    assert all(type(tokens) is int and tokens > 0 for tokens in report.tokens.values())
    for kind, names in _COUNTS.items():
        name = next((name for name in names if name in body), None)
        if name is not None and type(body[name]) is int and kind is not Kind.PROMPT:
            assert of_kind(report.tokens, kind) == min(max(body[name], 0), MAX_COUNT)
    total = body.get("totalTokenCount")
    if type(total) is int:
        billed = sum(tokens for (kind, _), tokens in report.tokens.items() if kind is not Kind.CACHED)
        assert billed >= min(total, MAX_COUNT)


_USAGE_SEED = b"""{"promptTokenCount":100,"responseTokenCount":"20","totalTokenCount":130,"thoughtsTokenCount":10,
"promptTokensDetails":[{"modality":"AUDIO","tokenCount":90},{"modality":"TEXT","tokenCount":10}]}""".replace(b"\n", b"")
_USAGE_WORDS = tuple(
    f'"{name}"'.encode()
    for name in (
        *(name for names in _COUNTS.values() for name in names),
        *("promptTokensDetails", "toolUsePromptTokensDetails", "cacheTokensDetails", "responseTokensDetails"),
        *("candidatesTokensDetails", "totalTokenCount", "modality", "tokenCount", "AUDIO", "TEXT"),
    )
)
_AUDIO = json.dumps(
    {"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": "A" * 2000}}]}}}
)

FRAMES = (
    Target(client_frames, ("C2", "C6", "C7", "C8", "C13"), _seeds("c2s"), JSON_WORDS + _NAMES),
    Target(setup_merge, ("C4",), _seeds("c2s"), JSON_WORDS + _NAMES),
    Target(later_messages, ("C4", "C12"), _seeds("c2s"), JSON_WORDS + _NAMES),
    Target(
        server_frames,
        ("C14",),
        (*_seeds("s2c"), _AUDIO.encode(), b'{"goAway":{"timeLeft":"9.5s"},"usageMetadata":{"promptTokenCount":1}}'),
        (*JSON_WORDS, b'"data": "', b"A" * 1100, *(f'"{name}"'.encode() for name in sorted(_OWN))),
    ),
    Target(
        usage_reports,
        ("E5",),
        (_USAGE_SEED, _USAGE_SEED + b"\n" + _USAGE_SEED, b'{"responseTokenCount":5}\n' + _USAGE_SEED),
        (*JSON_WORDS, *_USAGE_WORDS, b"-1", b"2147483648", b"99999999999999999999"),
    ),
)
