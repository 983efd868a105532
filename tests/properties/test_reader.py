"""What holds for every client message there could be, and for everything that is none."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from relay.core.client_frames import ClientFrame, client_frame
from relay.core.policy import Behaviour, Messages, Models, Policy, SetupRules
from relay.core.refusals import Refusal, Rule
from relay.core.schema import MESSAGES, SPELLINGS
from tests.core.frames import Members, text
from tests.core.test_smuggling import holds
from tests.properties.strategies import bodies, frames, keys, spoiled, written

# Speech, which is read by a shorter way ----------------------------------------------------------------------------

_NAMES = [b'"data"', b'"mimeType"', b'"mime_type"', b'"da\\u0074a"', b'"other"']
_VALUES = [
    b'"AAA="',
    b'"AAAA"',
    b'""',
    b'"AA"',
    b'"_-AA"',
    b'"A:AA"',
    b'"audio/pcm;rate=16000"',
    b'"a:b"',
    b'"\\/"',
    b"null",
    b"7",
]


def members(names: list[bytes], values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """The text of an object of up to three members."""
    pairs = st.tuples(st.sampled_from(names), values).map(b":".join)
    return st.lists(pairs, max_size=3).map(lambda each: b"{" + b", ".join(each) + b"}")


SPEECH = members(
    [b'"realtimeInput"'] * 3 + [b'"realtime_input"', b'"setup"'],
    members([b'"audio"'] * 3 + [b'"video"', b'"text"'], members(_NAMES, st.sampled_from(_VALUES))),
)


@settings(max_examples=20 * settings().max_examples)
@given(SPEECH)
@example(b'{"realtimeInput":{"audio":{"data":"AAA=","mimeType":"audio/pcm;rate=16000"}}}')
@example(b'{"realtimeInput":{"audio":{"data":"AAA=","mimeType":"a:b"}}}')
@example(b'{"realtimeInput":{"audio":{"data":"AAAA","data":"AAA=","mimeType":"audio/pcm"}}}')
@example(b'{"realtimeInput":{"audio":{"data":"A:AA","mimeType":"audio/pcm"}}}')
def test_speech_is_read_as_the_long_way_reads_it(payload: bytes) -> None:
    """The same frame, or the same refusal: the short way is for time only."""
    short = client_frame(payload)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.core.client_frames._speech", lambda _tree, _payload: None)
        assert client_frame(payload) == short


def test_speech_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the SDKs send it: were it not so, the test above would compare the long way with itself."""
    monkeypatch.setattr("relay.core.client_frames._Reader", None)
    for payload in (
        b'{"realtimeInput":{"audio":{"data":"AAA=","mimeType":"audio/pcm;rate=16000"}}}',
        b'{"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": "AAAA"}}}',
    ):
        assert isinstance(client_frame(payload), ClientFrame)


# Duplicate keys ------------------------------------------------------------------------------------------------------


def objects(names: st.SearchStrategy[str], strings: st.SearchStrategy[str]) -> st.SearchStrategy[Members]:
    """Objects of any depth; `names` are key literals, few enough to repeat."""
    leaves = st.none() | st.booleans() | st.integers(-9, 9) | strings
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(names, inner), max_size=4).map(Members),
        max_leaves=10,
    )
    return st.lists(st.tuples(names, values), max_size=4).map(Members)


UNESCAPED = (
    st.sampled_from(["a", "b", ":", "a:b", "é", "é:", "€😀"]).map(lambda name: f'"{name}"'),
    st.text(st.sampled_from("a:é€😀{},[] "), max_size=8),
)
"""Keys and strings that need no escapes: here the relay only counts colons."""
ESCAPED = (
    st.sampled_from(["a", ":", "a:b", '"', "\\", '":', "é", "\u0000", "😀"]).flatmap(keys),
    st.text(st.sampled_from('a:"\\é€😀{}\n\t/\u202e\u0000'), max_size=8),
)
"""Keys and strings that could mislead who counts; the same key is written in several ways."""


def repeats(tree: Any) -> bool:
    """Whether any object in a tree has a key twice, once the keys are unescaped."""
    if isinstance(tree, Members):
        names = [json.loads(literal) for literal, _ in tree]
        return len(set(names)) < len(names) or any(repeats(value) for _, value in tree)
    if isinstance(tree, dict):
        return any(map(repeats, tree.values()))
    return isinstance(tree, list) and any(map(repeats, tree))


@pytest.mark.threat("C2")
@pytest.mark.parametrize(("names", "strings"), [UNESCAPED, ESCAPED], ids=["unescaped", "escaped"])
@settings(max_examples=2 * settings().max_examples)
@given(st.data())
def test_a_repeated_key_is_found_and_only_then(
    names: st.SearchStrategy[str], strings: st.SearchStrategy[str], data: st.DataObject
) -> None:
    """The count of colons stands for a strict parse, in maps, free-form values, lists and fields of any name."""
    one, other, word = data.draw(objects(names, strings)), data.draw(objects(names, strings)), data.draw(strings)
    labels = Members((literal, word) for literal, _ in one)
    trees: list[dict[str, Any]] = [
        {"setup": {"model": word, "labels": labels}},
        {"setup": {"generationConfig": {"responseJsonSchema": [one], "newer": other}}},
        {"toolResponse": {"functionResponses": [{"id": word, "response": one}, {"response": other}]}},
        {"setup": Members([('"systemInstruction"', {"newer": word}), *one])},
    ]
    for tree in trees:
        frame = client_frame(text(tree).encode(), pass_unknown=True)
        assert (isinstance(frame, Refusal) and frame.rule is Rule.DUPLICATE_KEY) == repeats(tree), text(tree)


# Nothing is raised, nothing is quoted --------------------------------------------------------------------------------


@pytest.mark.threat("C6", "C9")
@given(st.binary(max_size=200))
@example(b'{"realtimeInput":{"text":' + b"[" * 1010 + b"]" * 1010 + b',"text":"x"}}')
def test_arbitrary_bytes_are_read_or_refused(payload: bytes) -> None:
    """Nothing is raised whatever comes."""
    assert isinstance(client_frame(payload), ClientFrame | Refusal)


@pytest.mark.threat("C6", "C7")
@given(st.data(), st.booleans())
def test_damaged_messages_are_read_or_refused(data: st.DataObject, pass_unknown: bool) -> None:
    """A good message with bytes exchanged, cut out or repeated raises nothing either."""
    payload = bytearray(text(data.draw(frames())).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(payload))] * 2)))
        payload[start:end] = data.draw(
            st.sampled_from([b"", b":", b'"', b"{", b"\\u", b"null", payload[start:end] * 2])
        )
    assert isinstance(client_frame(bytes(payload), pass_unknown=pass_unknown), ClientFrame | Refusal)


CANARY = "canary-7f3a"
CANARIES: list[Any] = [CANARY, f"{CANARY}:{CANARY}", 73_107_310, 7310.7310, "73107310e999", f"{CANARY}s"]


@st.composite
def full_of_canaries(draw: st.DrawFn, message: str = "ClientMessage", depth: int = 0) -> Any:
    """A message whose fields are known and whose every value is a canary, in places of any type."""
    spellings = list(SPELLINGS[message])
    if depth > 5 or not spellings or draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from([*CANARIES, CANARIES, {"x": CANARY}, {}]))
    tree: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(spellings), min_size=1, max_size=3, unique=True)):
        field = SPELLINGS[message][name]
        value = draw(full_of_canaries(field.message, depth + 1)) if field.message else draw(st.sampled_from(CANARIES))
        tree[name] = [value] if field.repeated != (draw(st.integers(0, 8)) == 0) else value
    return tree


@given(st.data())
def test_a_refusal_never_quotes_a_value(data: st.DataObject) -> None:
    """Its words and path name fields and rules; what the client said is neither in them nor in a broken message's."""
    payload = text(data.draw(full_of_canaries())).encode()
    cut = data.draw(st.integers(0, len(payload)))
    for attempt in (payload, payload[:cut], payload[:cut] + b"!" + payload[cut:]):
        refusal = client_frame(attempt)
        if isinstance(refusal, Refusal):
            shown = repr(refusal)
            assert "canary" not in shown
            assert "7310" not in shown


# What is accepted ----------------------------------------------------------------------------------------------------


def strictly(payload: bytes) -> Any:
    """Parse JSON, objects as member lists."""
    return json.loads(payload, object_pairs_hook=Members)


def assert_canonical(message: str, members: Members) -> None:
    """Only canonical names, each once, at every depth of a message."""
    names = [name for name, _ in members]
    assert len(set(names)) == len(names)
    for name, value in members:
        field = MESSAGES[message][name]
        if field.message:
            below = [entry for _, entry in value] if field.mapped else value if field.repeated else [value]
            for each in below:
                assert_canonical(field.message, each)


@given(st.data())
def test_a_message_in_any_writing_becomes_the_one_it_is(data: st.DataObject) -> None:
    """Whatever spelling and form each value comes in, canonical names and values go out, and stay as they are."""
    tree = data.draw(frames().filter(lambda tree: "mediaChunks" not in tree.get("realtimeInput", {})))
    frame = client_frame(text(data.draw(written("ClientMessage", tree, lenient=True))).encode())
    assert isinstance(frame, ClientFrame), frame
    assert {frame.kind: frame.body} == tree
    assert_canonical("ClientMessage", strictly(frame.encode()))
    assert client_frame(frame.encode()) == frame


@pytest.mark.threat("C1", "C2", "C13")
@given(st.data())
def test_a_spoiled_message_is_refused_or_comes_out_canonical(data: st.DataObject) -> None:
    """If a message with repeated, respelt or misplaced members is accepted at all, none of that goes on."""
    tree = data.draw(frames())
    frame = client_frame(text(data.draw(spoiled(data.draw(written("ClientMessage", tree, lenient=True))))).encode())
    if isinstance(frame, ClientFrame):
        assert_canonical("ClientMessage", strictly(frame.encode()))
        assert client_frame(frame.encode()) == frame


# Policies ------------------------------------------------------------------------------------------------------------

SETUPS = bodies("Setup").map(
    lambda body: {name: value for name, value in body.items() if name not in {"model", "sessionResumption"}}
)
PATHS = st.sampled_from(["*", "tools", "generationConfig", "generationConfig.speechConfig", "systemInstruction.parts"])


@given(SETUPS, SETUPS, SETUPS, st.sets(PATHS), st.sets(PATHS))
def test_a_ruling_holds_what_is_enforced_and_is_final(
    asked: dict[str, Any], enforced: dict[str, Any], defaults: dict[str, Any], allow: set[str], deny: set[str]
) -> None:
    """For any setup under any policy: what is enforced is in it, a second ruling changes nothing, nothing is shared."""
    policy = Policy(
        "test",
        Models("models/m", frozenset()),
        setup=SetupRules(enforced, defaults, frozenset(allow), frozenset(deny)),
        messages=Messages(),
        behaviour=Behaviour(),
    )
    before = orjson.dumps([asked, enforced, defaults])
    ruling = policy.setup(asked, lambda _handle, _model: None)
    assert holds(ruling.body, enforced)
    assert policy.setup(ruling.body, lambda _handle, _model: None).body == ruling.body
    assert orjson.dumps([asked, enforced, defaults]) == before
    if not allow and not ruling.violations and "realtimeInputConfig" not in asked:
        assert policy.setup({}, lambda _handle, _model: None).body == ruling.body
