"""The demo page in a real Chromium, through a real relay, on the built-in simulator: what a visitor sees and hears."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import relay_process, require_node_packages, require_tool, run_node

pytestmark = pytest.mark.timeout(90)

Drive = Callable[..., dict[str, Any]]

AUDIBLE_RMS = 0.01
"""Far above rounding noise, far below speech: full scale is 1."""
CONTENT_SECURITY = ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'")


SECRET = "My word is marmalade."


@pytest.fixture(scope="module")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a demo page served by `relay demo` on a free port."""
    log = tmp_path_factory.mktemp("demo") / "stderr.log"
    with relay_process(log, "demo", "--set", "listen.port=0", "--set", "admin.port=0") as ready:
        yield ready["demo"]


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Options for a demo whose relay parks a session for a second only."""
    sets = ("listen.port=0", "admin.port=0", "parking.window=1s")
    with relay_process(tmp_path / "stderr.log", "demo", *(word for one in sets for word in ("--set", one))) as ready:
        yield {"url": ready["demo"], "metrics": ready["admin"] + "/metrics"}


@pytest.fixture(scope="module")
def drive(demo_url: str, tmp_path_factory: pytest.TempPathFactory) -> Drive:
    """Plays one scenario of tests/js/demo_page.mjs and returns what it saw; a screenshot is left in pytest's folder."""
    folder = tmp_path_factory.mktemp("screenshots")
    node = require_node_packages("playwright-core")
    chromium = require_tool("chromium", "chromium-browser", "google-chrome")

    def play(scenario: str, **details: Any) -> dict[str, Any]:
        screenshot = folder / f"{scenario}.png"
        options = {"scenario": scenario, "url": demo_url, "chromium": str(chromium), "screenshot": str(screenshot)}
        seen: dict[str, Any] = run_node(node, "demo_page.mjs", options | details)
        assert screenshot.stat().st_size > 10_000
        assert seen["foreign"] == [], "the page asked another origin"
        assert not seen["keyShown"], "the page shows its key"
        assert all("key" not in address for address in seen["sockets"]), "the key is in a URL"
        assert all(directive in seen["policy"] for directive in CONTENT_SECURITY)
        return seen

    return play


@pytest.fixture(scope="module")
def typed(drive: Drive) -> dict[str, Any]:
    """What the page shows after "hello" was typed and the whole answer was heard."""
    return drive("typed", text="hello")


def test_typed_text_is_answered_in_words_and_sound(typed: dict[str, Any]) -> None:
    """Typing "hello" yields transcript text and audio that is played, is not silent and has no gaps."""
    after = typed["after"]
    assert typed["console"] == []
    you, model = after["transcript"][:2]
    assert you == {"who": "user", "text": "hello", "interrupted": False}
    assert model["who"] == "model"
    assert len(model["text"]) > 3
    assert model["text"] in after["text"], "the words are on the page, not only in memory"
    playback = after["playback"]
    assert playback["contextState"] == "running"
    assert playback["playedSeconds"] > 0.3
    assert playback["rms"] > AUDIBLE_RMS
    assert playback["underruns"] == 0


def test_figures_are_counted(typed: dict[str, Any]) -> None:
    """After one typed turn the panel has frames and bytes both ways, tokens, and the wait for the first sound."""
    after = typed["after"]
    counters, latency = after["counters"], after["latency"]
    assert counters["frames"]["up"] == 2, "the setup and the text"
    assert counters["frames"]["down"] > 3
    assert counters["bytes"]["down"] > after["playback"]["playedSeconds"] * 48_000, "base64 is longer than its audio"
    assert counters["tokens"]["prompt"] > 0
    assert counters["tokens"]["response"] > 0
    assert counters["turns"] == 1
    assert 0 < latency["firstAudioMs"] < 10_000
    assert latency["firstSoundMs"] > latency["firstAudioMs"], "it is heard only after it arrived"
    shown = typed["panel"].split()
    for figure in (counters["frames"]["down"], counters["tokens"]["prompt"], round(latency["firstAudioMs"])):
        assert f"{figure:,}" in shown


def test_speech_is_streamed_and_answered_until_it_is_muted(drive: Drive) -> None:
    """The fake microphone yields frames, a level and a spoken answer; muted, only typed text goes up."""
    seen = drive("microphone")
    talking, muted, answered, later = seen["talking"], seen["muted"], seen["answered"], seen["mutedLater"]
    assert seen["console"] == []
    assert talking["microphone"]["state"] == "on"
    assert talking["microphone"]["peak"] > AUDIBLE_RMS
    assert talking["counters"]["frames"]["up"] >= 40
    assert talking["counters"]["skippedChunks"] == 0
    assert [turn["who"] for turn in answered["transcript"]][:2] == ["user", "model"]
    assert answered["playback"]["rms"] > AUDIBLE_RMS
    assert later["counters"]["frames"]["up"] == muted["counters"]["frames"]["up"] + 1, "the typed text alone"
    assert seen["after"]["state"] == "ended"
    assert "You hung up." in seen["after"]["text"]


def test_barge_in_silences_the_answer(drive: Drive) -> None:
    """A turn sent during an answer marks that answer as interrupted and drops its queued audio unplayed."""
    seen = drive("bargeIn", text="Please tell me a long story about a relay, a line and a very patient operator.")
    after = seen["after"]
    assert seen["console"] == []
    assert seen["speaking"]["playback"]["playedSeconds"] > 0
    assert after["counters"]["interruptions"] == 1
    assert [turn["interrupted"] for turn in after["transcript"] if turn["who"] == "model"] == [True, False]
    assert after["playback"]["droppedSeconds"] > 0
    assert "Interrupted" in after["text"]


def test_a_refused_key_is_explained_and_a_second_call_works(drive: Drive) -> None:
    """A key the relay does not know ends in words a person can act on, and calling again works without a reload."""
    seen = drive("refused")
    assert seen["refused"]["state"] == "ended"
    assert "The relay refused the call" in seen["refused"]["text"]
    assert seen["after"]["state"] == "live"


def test_a_blocked_microphone_leaves_the_call_usable(drive: Drive) -> None:
    """Without permission for the microphone the call goes on, and the page says how to allow it."""
    seen = drive("denied")
    assert seen["console"] == []
    assert "blocks the microphone" in seen["after"]["text"]
    assert seen["after"]["state"] == "live"


def test_capture_resamples_without_aliases(drive: Drive) -> None:
    """From every device rate the worklet makes 40 ms chunks at 16 kHz: speech kept, what would fold over removed."""
    rates_hz, tones_hz = (8_000, 16_000, 44_100, 48_000, 96_000), (440, 3_000, 6_500, 9_000, 15_000)
    cases = [(rate, tone) for rate in rates_hz for tone in tones_hz if tone < rate * 0.45]
    results = drive("resampler", cases=cases)["results"]
    assert len(results) == len(cases)
    for result in results:
        assert result["chunkLengths"] == [640]
        assert abs(result["samples"] - 16_000) <= 640
        if result["hz"] < 7_000:
            assert result["rms"] == pytest.approx(0.5 / 2**0.5, rel=0.02)
            assert result["measuredHz"] == pytest.approx(result["hz"], rel=0.01)
        else:
            assert result["rms"] < 0.5 * 10 ** (-60 / 20), "60 dB down"


def words_of(page: dict[str, Any], who: str) -> list[str]:
    """Everything one side of the transcript says."""
    return [turn["text"] for turn in page["transcript"] if turn["who"] == who]


def assert_remembered(seen: dict[str, Any]) -> None:
    """The conversation went on: the far end still knew the secret, and the browser had nothing to complain of."""
    assert "marmalade" in words_of(seen["after"], "model")[-1]
    assert seen["after"]["state"] == "live"
    assert seen["console"] == []


def test_the_line_is_cut_and_the_conversation_goes_on(drive: Drive) -> None:
    """Cut while nobody speaks: nothing is lost, and the stall stands in the transcript and in the panel."""
    seen = drive("cutWhileIdle", text=SECRET)
    handover = seen["cut"]["continuity"]["lastHandover"]
    assert_remembered(seen)
    assert (handover["cause"], handover["planned"], handover["restored"]) == ("lost", False, True)
    assert (handover["turnCut"], handover["dropped"]) == (False, 0)
    assert 0 < handover["stallMs"] < 10_000
    stall = f"{round(handover['stallMs']):,} ms"
    assert f"Line cut · back after {stall}" in seen["cut"]["text"]
    assert stall in seen["cut"]["panel"]
    assert len(seen["sockets"]) == 1, "the page's own socket stayed"
    assert seen["after"]["counters"]["interruptions"] == 0


def test_an_answer_that_a_cut_ended_is_marked(drive: Drive) -> None:
    """Cut under an answer: it ends there, marked as cut off, and the question is answered anew."""
    seen = drive("cutMidAnswer", text=SECRET + " Please repeat that, slowly, and then tell me that you did.")
    handover = seen["cut"]["continuity"]["lastHandover"]
    assert_remembered(seen)
    assert handover["turnCut"]
    assert "the answer broke off" in seen["cut"]["text"]
    assert [turn["interrupted"] for turn in seen["after"]["transcript"] if turn["who"] == "model"] == [
        True,
        False,
        False,
    ]
    assert "Cut off" in seen["after"]["text"]
    assert "Interrupted\n" not in seen["after"]["text"]


def test_a_planned_move_is_a_figure_and_nothing_else(drive: Drive) -> None:
    """After goAway the panel counts a handover; the transcript says nothing of it."""
    seen = drive("goAway", text=SECRET)
    handover = seen["moved"]["continuity"]["lastHandover"]
    assert_remembered(seen)
    assert (handover["cause"], handover["planned"], handover["restored"]) == ("go_away", True, True)
    assert "back after" not in seen["after"]["text"]
    assert "goAway" in seen["after"]["text"], "the cause, in the panel"
    assert len(seen["sockets"]) == 1


def test_a_reload_goes_on_over_the_same_line(drive: Drive) -> None:
    """Reloaded in the middle of an answer: the rest of it arrives once; voice, figures and microphone are as before."""
    seen = drive("reload", text=SECRET)
    before, back = seen["before"], seen["back"]
    assert_remembered(seen)
    assert back["continuity"]["lastReturn"]["via"] == "parked"
    assert not back["continuity"]["lastReturn"]["gap"]
    assert "Resumed · same line" in back["text"]
    assert words_of(back, "user") == words_of(before, "user")
    begun, whole = words_of(before, "model")[-1], words_of(back, "model")[-1]
    assert whole.startswith(begun)
    assert whole.count("marmalade") == 1
    assert len(words_of(back, "model")) == len(words_of(before, "model"))
    assert back["counters"]["frames"]["down"] > before["counters"]["frames"]["down"]
    assert seen["voice"] == "Puck"
    assert len(seen["sockets"]) == 2


def test_after_the_window_the_call_is_resumed_from_geminis_memory(drive: Drive, impatient: dict[str, Any]) -> None:
    """Back when the relay has let the session go: the transcript is there, and Gemini still knows what was said."""
    seen = drive("awayTooLong", text=SECRET, **impatient)
    assert_remembered(seen)
    assert seen["back"]["continuity"]["lastReturn"]["via"] == "handle"
    assert "Resumed from Gemini’s memory" in seen["back"]["text"]
    assert SECRET in words_of(seen["back"], "user")


def test_a_lost_socket_is_dialled_again(drive: Drive) -> None:
    """The page's own connection is reset: it comes back to the same line by itself."""
    seen = drive("socketLost", text=SECRET)
    noise = [line for line in seen["console"] if "WebSocket" not in line]  # the browser's own word on the reset
    assert_remembered(seen | {"console": noise})
    assert seen["back"]["continuity"]["lastReturn"]["via"] == "parked"
    assert len(seen["sockets"]) == 2


def test_an_older_call_is_offered_not_forced(drive: Drive) -> None:
    """After more than a minute the page asks: it stays idle until the person wants to go on, and then does."""
    seen = drive("offered", text=SECRET)
    assert_remembered(seen)
    assert seen["offer"]["state"] == "idle"
    assert seen["offer"]["transcript"] == []
    assert SECRET in words_of(seen["after"], "user")


def test_a_handle_that_is_refused_starts_a_new_call(drive: Drive) -> None:
    """The page says that it is a new call and why, keeps what was said before, and works."""
    seen = drive("refusedHandle", text=SECRET)
    assert seen["console"] == []
    assert "New call · Gemini does not know what was said above" in seen["back"]["text"]
    assert "could not be taken up again" in seen["back"]["text"]
    assert SECRET in words_of(seen["after"], "user")
    assert "marmalade" not in words_of(seen["after"], "model")[-1]
    assert seen["after"]["state"] == "live"


def test_a_duplicated_tab_leaves_the_call_alone(drive: Drive) -> None:
    """A second tab with a copy of the first one's storage stays idle, and the first one's call goes on."""
    seen = drive("duplicated", text=SECRET)
    assert_remembered(seen)
    assert seen["copy"]["state"] == "idle"
    assert len(seen["sockets"]) == 1


def test_a_page_without_a_gesture_asks_for_one(drive: Drive) -> None:
    """Where the browser wants a click before any sound the page says so, and one click brings it."""
    seen = drive("backInSilence", text=SECRET)
    assert_remembered(seen | {"console": [line for line in seen["console"] if "AudioContext" not in line]})
    assert "Click anywhere, or press a key, to hear it." in seen["silent"]["text"]
    assert seen["after"]["playback"]["rms"] > AUDIBLE_RMS


HANDOVER: dict[str, Any] = {
    "cause": "lost",
    "planned": False,
    "outcome": "restored",
    "stallMs": 211.6,
    "turnCut": False,
    "restored": True,
    "dropped": 0,
}
RESUMED: dict[str, Any] = {"via": "parked", "replayed": 0, "missed": 0, "gap": False}


def test_every_report_has_its_words(drive: Drive) -> None:
    """What the relay reports is said completely: each loss by name, and nothing where nothing happened."""
    handovers: dict[str | None, dict[str, Any]] = {
        "Line cut · back after 212 ms": {},
        "Closed by Google · back after 1,500 ms · the answer broke off": {
            "cause": "closed",
            "stallMs": 1500,
            "turnCut": True,
        },
        "Silence · back after 212 ms · 1 message lost · Gemini has forgotten what was said": {
            "cause": "stalled",
            "dropped": 1,
            "restored": False,
        },
        None: {"cause": "rotation", "planned": True},
        "Planned · back after 212 ms · 3 messages lost": {"cause": "rotation", "planned": True, "dropped": 3},
        "Brand_new · back after 212 ms": {"cause": "brand_new"},
    }
    by_handle = {"via": "handle", "missed": None, "gap": True}
    returns: list[tuple[str, bool, dict[str, Any], bool]] = [
        ("Resumed · same line", False, {}, True),
        ("Resumed · same line · 1,200 messages caught up", False, {"replayed": 1200}, False),
        ("Resumed · same line · 1 message caught up · 2 messages missed", True, {"replayed": 1, "missed": 2}, False),
        ("Resumed from Gemini’s memory", False, by_handle, False),
        ("Resumed from Gemini’s memory · the rest of the answer is lost", True, by_handle, True),
    ]
    seen = drive(
        "words",
        handovers=[HANDOVER | change for change in handovers.values()],
        returns=[[RESUMED | change, answering] for _, _, change, answering in returns],
    )
    assert seen["words"]["handovers"] == list(handovers)
    assert seen["words"]["returns"] == [{"words": words, "lossy": lossy} for words, lossy, _, _ in returns]
