"""The demo page in a real Chromium, through a real relay, on the built-in simulator: what a visitor sees and hears."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import relay_process, require_node_packages, require_tool, run_node

pytestmark = pytest.mark.timeout(90)

Drive = Callable[..., dict[str, Any]]

AUDIBLE_RMS = 0.01
"""Far above rounding noise, far below speech: full scale is 1."""
CONTENT_SECURITY = ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'")


@pytest.fixture(scope="module")
def demo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a demo page served by `relay demo` on a free port."""
    log = tmp_path_factory.mktemp("demo") / "stderr.log"
    with relay_process(log, "demo", "--set", "listen.port=0", "--set", "admin.port=0") as ready:
        yield ready["demo"]


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
