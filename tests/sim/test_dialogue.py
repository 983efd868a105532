"""One connection from its setup to its close, without sockets."""

import pytest

from relay.sim import scenario
from relay.sim.outputs import Close, Frame
from tests.sim.playing import (
    CASCADE,
    V25,
    V31,
    Player,
    google,
    handles,
    live,
    said,
    setup,
    shape,
    spoken,
)


def test_a_setup_is_answered_and_a_turn_is_spoken() -> None:
    """setup, setupComplete, text, an audible answer with its transcript, the bill."""
    player = live(google(), outputAudioTranscription={})

    frames = player.send(said("hello"))

    assert shape(frames) == ["opening", "audio", "generationComplete", "turnComplete+usage"]
    assert spoken(frames).startswith("Hello! I am the simulator")


@pytest.mark.parametrize(
    ("model", "grammar"),
    [
        (V31, ["sessionResumptionUpdate:empty", "opening", "audio", "generationComplete", "turnComplete+usage",
               "sessionResumptionUpdate"]),
        (CASCADE, ["transcript", "audio", "generationComplete", "turnComplete+usage"]),
        ("models/gemini-3.8-live-extended-thinking",
         ["opening", "audio", "generationComplete", "turnComplete+usage"] * 2),
    ],
)  # fmt: skip
def test_each_family_has_its_grammar(model: str, grammar: list[str]) -> None:
    """3.1 sends handles unasked, the half-cascade writes first, extended thinking answers in two turns."""
    assert shape(live(google(), model, outputAudioTranscription={}).send(said("hi there"))) == grammar


def test_2_5_mixes_transcript_and_audio_frames() -> None:
    """A thought, then pieces of text and of audio by turns, then the two ends."""
    grammar = shape(live(google(), V25, outputAudioTranscription={}).send(said("hi there")))

    assert grammar[0] == "thought"
    assert grammar[-2:] == ["generationComplete", "turnComplete+usage"]
    assert set(grammar[1:-2]) == {"transcript", "audio"}


def test_extended_thinking_says_when_it_is_idle() -> None:
    """turnComplete no longer means idle: the first one says IN_PROGRESS, the last IDLE."""
    player = live(google(), "models/gemini-3.8-live-extended-thinking")
    contents = [frame.get("serverContent", {}) for frame in player.send(said("hello"))]

    assert [c["interactionStatus"] for c in contents if "turnComplete" in c] == ["IN_PROGRESS", "IDLE"]


def test_vertex_names_the_session() -> None:
    """setupComplete has a session id on Vertex and is empty on the Developer API."""
    service = google()
    vertex, dev = live(service, CASCADE, connection=1), live(service, connection=2)

    frames = [output.payload for player in (vertex, dev) for output in player.outputs if isinstance(output, Frame)]
    assert b'"sessionId"' in frames[0]
    assert frames[1] == b'{\n  "setupComplete": {}\n}\n'


@pytest.mark.parametrize(
    "first", [said("hi"), {"realtimeInput": {"text": "x"}}, {"toolResponse": {}}, {"contextUpdate": {}}]
)
def test_anything_before_setup_is_refused(first: dict[str, object]) -> None:
    """1007 with Google's words, and nothing else is sent."""
    player = Player(google())

    assert player.send(first) == []
    assert player.close == Close(1007, "setup must be the first message and only the first")


def test_a_second_setup_is_refused() -> None:
    """1007, an invalid argument."""
    player = live(google())
    player.send(setup())

    assert player.close == Close(1007, "Request contains an invalid argument.")


def test_after_a_close_nothing_is_taken_or_sent() -> None:
    """A connection that was refused is over, whatever else arrives."""
    service = google()
    player = live(service)
    player.dialogue.receive("garbage", player.now)
    player.dialogue.receive('{"realtimeInput":{"text":"late"}}', player.now)
    player.drain()
    after = player.send(said("hello"))

    assert after == []
    assert player.dialogue.next_at == float("inf")
    (session,) = service.archive
    assert [entry.text for entry in session.trail.entries()] == []


def test_a_setup_can_be_answered_late_and_early_messages_are_kept() -> None:
    """What was sent while the setup was pending is taken afterwards, in order."""
    player = Player(google(setup_delay_s=20.0))

    assert player.send(setup(outputAudioTranscription={})) == []
    assert player.send(said("first")) == []
    assert player.wait(19.9) == []
    frames = player.wait(0.2)
    assert "setupComplete" in frames[0]
    assert "first" in spoken(frames)


def test_a_setup_can_remain_unanswered() -> None:
    """`--setup-answer never`: the connection is open and silent."""
    player = Player(google(setup_answer="never"))

    assert player.send(setup()) + player.wait(1_000.0) == []
    assert player.close is None


def test_prompts_grow_with_every_turn() -> None:
    """The whole context is billed again: the count of the next turn holds the last one."""
    player = live(google())
    bills = [player.send(said("tell me more"))[-1]["usageMetadata"] for _ in range(3)]

    counts = [bill["promptTokenCount"] for bill in bills]
    assert counts[1] > counts[0] + bills[0]["responseTokenCount"] - 5
    assert counts[2] > counts[1] + bills[1]["responseTokenCount"] - 5
    assert all(bill["totalTokenCount"] == bill["promptTokenCount"] + bill["responseTokenCount"] for bill in bills)


def test_answers_are_paced_by_the_burst_factor() -> None:
    """At twice real time half a second of waiting brings a second of audio; turnComplete waits for the playback."""
    player = live(google(burst=2.0, playback_wait=True, first_audio_delay_s=0.5))

    assert player.send(said("hello")) == []
    assert player.wait(0.49) == []
    first = player.wait(0.51)
    assert 6 <= len([f for f in first if "modelTurn" in f.get("serverContent", {})]) <= 8
    rest = player.wait(60.0)
    everything = shape(first + rest)
    assert everything == ["opening", "audio", "generationComplete", "turnComplete+usage"]


def test_turn_complete_waits_for_the_playback() -> None:
    """generationComplete comes when everything was sent, turnComplete when it was presumably heard."""
    player = live(google(burst=4.0, playback_wait=True))
    player.send(said("hello"))
    seconds: dict[str, float] = {}
    while "turnComplete" not in seconds:
        for frame in player.wait(0.05):
            for name in ("generationComplete", "turnComplete"):
                if name in frame["serverContent"]:
                    seconds[name] = player.now - 100.0

    assert 3.0 < seconds["turnComplete"] / seconds["generationComplete"] < 4.5


def test_secrets_are_echoed_if_wanted() -> None:
    """With `echo_credentials` the caller's key and headers are in the close reason and in an error frame before it."""
    player = Player(google(echo_credentials=True))

    (error,) = player.send("garbage")

    assert "x-goog-api-key: key" in error["error"]["message"]
    assert player.close is not None
    assert player.close.reason.startswith("Invalid JSON payload received. Unexpecte")
    assert "x-goog-api-key: key" in player.close.reason


def test_scripted_steps_act_on_messages_frames_and_times() -> None:
    """A message can be ignored, an answer cut at a frame, a connection closed after a time."""
    script = scenario.load(
        """
        steps:
          - {when: {event: clientContent, text: nothing}, do: [{ignore: }]}
          - {when: {event: frame, turn: 1, frame: 3}, do: [{cut: {reset: false}}]}
          - {when: {after: 5s, connection: 2}, do: [{close: {code: 1011, reason: enough}}]}
        """
    )
    service = google(script)
    player = live(service)

    assert player.send(said("say nothing")) == []
    frames = player.send(said("hello"))
    assert len(frames) == 3
    assert player.cut is not None
    other = live(service, connection=2)
    other.wait(4.9)
    assert other.close is None
    other.wait(0.2)
    assert other.close == Close(1011, "enough")


def test_a_refused_setup_leaves_no_session_behind() -> None:
    """A scripted close at the setup comes before the session is touched."""
    script = scenario.load("steps: [{when: {event: setup}, do: [{close: {code: 1011, reason: later}}]}]")
    service = google(script)
    player = Player(service)

    assert player.send(setup()) == []
    assert player.close == Close(1011, "later")
    assert list(service.archive) == []


def test_a_step_that_causes_its_own_event_does_not_run_away() -> None:
    """A handle in answer to every handle stops at some point."""
    script = scenario.load("steps: [{when: {event: handle, repeat: true}, do: [{handle: {}}]}]")
    player = live(google(script), sessionResumption={})

    assert 2 <= len(handles(player.send(said("hello")))) <= 20


def test_the_bench_starts_with_the_session() -> None:
    """In bench mode the connection is told to start its precomputed frames, and issues handles when they end a turn."""
    service = google(reply="bench")
    player = live(service, sessionResumption={})

    player.dialogue.count_unread()
    player.dialogue.bench_turn_over(player.now)

    assert handles(player.drain())


def test_the_context_window_ends_a_session_without_compression() -> None:
    """Beyond the window 1007; with compression the oldest is forgotten and the talk goes on."""
    endless = live(google(context_tokens=500))
    compressed = live(
        google(context_tokens=500),
        contextWindowCompression={"triggerTokens": 400, "slidingWindow": {"targetTokens": 200}},
    )
    for _ in range(10):
        endless.send(said("and on and on"))
        compressed.send(said("and on and on"))

    assert endless.close == Close(1007, "Request contains an invalid argument.")
    assert compressed.close is None
