"""What the simulated Google does: every knob, the presets, and their command-line form.

One frozen dataclass; a field's name is the option's name (`go_away_after_s` is `--go-away-after 540s`), so the two
can't drift apart. Nothing here acts on a knob.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def duration_s(text: str) -> float:
    """Seconds of a duration such as `540s`, `50ms`, `9m` or `1.5` (plain numbers are seconds).

    Raises ValueError when the text is none.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a duration: {text!r} (try 540s, 50ms, 9m)")
    return float(match[1]) * _UNITS_S[match[2]]


def _knob(default: Any, words: str, *choices: str) -> Any:
    return field(default=default, metadata={"help": words, "choices": choices})


@dataclass(frozen=True, slots=True)
class Profile:
    """Every knob of the simulator. Times in seconds; 0 switches a time off unless its words say otherwise."""

    # -- who may connect, and what the upgrade answers
    accepted_keys: tuple[str, ...] = _knob((), "credentials accepted; none given means any")
    key_required: bool = _knob(True, "refuse requests without any credential, after setup")
    refused_keys: tuple[str, ...] = _knob((), "credentials refused after setup with 1007")
    models: tuple[str, ...] = _knob((), "more model ids to serve, with the manners of gemini-3.8-live")
    upgrade: str = _knob(
        "ok",
        "answer to the upgrade request",
        *("ok", "400", "401", "403", "404", "429", "500", "503", "redirect", "hang", "bad-accept", "bad-subprotocol"),
    )
    upgrade_failures: int = _knob(0, "how many upgrades get that answer before they succeed; 0: all")
    redirect_to: str = _knob("ws://127.0.0.1:9/", "where `redirect` points")
    echo_credentials: bool = _knob(False, "copy the request's headers and query into error reasons and frames")

    # -- the setup
    setup_delay_s: float = _knob(0.0, "time from setup to setupComplete")
    setup_answer: str = _knob("complete", "what a good setup gets", "complete", "never")

    # -- frames
    text_frames: bool = _knob(False, "send TEXT frames instead of BINARY")
    max_message_bytes: int = _knob(16 * 1024 * 1024, "largest client message accepted")
    slice_bytes: int = _knob(0, "write at most this much at once to the socket; 0: whole frames")
    line_bytes_per_second: int = _knob(0, "cap on what a connection is sent per second; 0: none")
    pong_delay_s: float = _knob(0.0, "time before a ping is answered")
    answer_pings: bool = _knob(True, "answer pings at all")
    ping_every_s: float = _knob(0.0, "send pings of our own this often")
    close_timeout_s: float = _knob(2.0, "how long a closed client may take to answer the close")

    # -- turns
    reply: str = _knob(
        "speech", "speech: a spoken answer per turn; bench: endless precomputed speech", "speech", "bench"
    )
    burst: float = _knob(2.0, "audio is sent this many times faster than it plays; 0: all at once")
    first_audio_delay_s: float = _knob(0.15, "thinking time before an answer starts")
    playback_wait: bool = _knob(True, "hold turnComplete back until the answer has presumably been played")
    numbered: bool = _knob(False, "stamp the first 18 bytes of every audio chunk with a number")
    context_tokens: int = _knob(131_072, "context window; beyond it 1007 unless compression is on")
    call_ends_turn: bool = _knob(False, "send turnComplete right after a blocking toolCall")
    unknown_call: str = _knob("close", "a toolResponse to no open call: 1007, or no reaction", "close", "ignore")

    # -- the end of a connection
    go_away_after_s: float = _knob(540.0, "age of a connection at which goAway is sent")
    go_away_time_left_s: float = _knob(50.0, "timeLeft of the goAway (0 is written as `0s`)")
    go_away_without_time_left: bool = _knob(False, "leave timeLeft out, as proto3 does with a zero")
    go_away_count: int = _knob(1, "how many goAways are sent, a second apart")
    go_away_then_silent: bool = _knob(False, "send nothing more after the goAway")
    go_away_patience_s: float = _knob(51.0, "a client that ignored the goAway is closed this long after it")
    lifetime_s: float = _knob(0.0, "age at which a connection is closed without any goAway")
    lifetime_code: int = _knob(1011, "close code at the end of lifetime_s")
    lifetime_reason: str = _knob(
        "Deadline expired before operation could complete.", "close reason at the end of lifetime_s"
    )

    # -- resumption
    handles: str = _knob(
        "turn",
        "when handles are issued: after every turn, every handle_every_s, with every frame of an answer, never",
        *("turn", "timer", "frame", "never"),
    )
    handle_every_s: float = _knob(2.0, "cadence of `--handles timer`")
    handle_style: str = _knob("model", "form of a handle", "model", "uuid", "opaque")
    handle_valid_s: float = _knob(7200.0, "a handle is dead this long after its connection ended")
    handle_uses: int = _knob(0, "how often one handle may be used; 0: any number of times")
    dead_handle: str = _knob("1007", "how a dead handle is refused", "1007", "1008-not-found", "1008-entity", "amnesia")
    announce_busy: bool = _knob(True, "send an empty update while a turn or a function call is going on")
    resume_grace_s: float = _knob(0.25, "how long a resume waits for the session's old connection to close")
    resume_while_open: str = _knob("refuse", "a resume while the old connection is open", "refuse", "allow")
    restore_skew: int = _knob(
        0, "messages by which the restored state is older (positive) or newer (negative) than the handle says"
    )
    replay_deltas: int = _knob(0, "after a resume, send this many of the last serverContent frames again")

    # -- what is remembered
    keep_media: bool = _knob(False, "record audio and video bodies instead of their size and digest")
    recorded_messages: int = _knob(10_000, "client messages remembered per connection")
    recorded_connections: int = _knob(2_000, "connections remembered")


PRESETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gemini-3.8-live": ("10-minute connections, goAway at 540 s, a handle after every turn", {}),
    "timer-handles": ("as live-translate was measured: a new handle every 2 s", {"handles": "timer"}),
    "deadline-58m": (
        "no goAway, cut at 58:00 with 1011, as seen with compression on",
        {"go_away_after_s": 0.0, "lifetime_s": 3480.0},
    ),
    "vertex": (
        "goAway 60 s before the 10 minutes are over",
        {"go_away_time_left_s": 60.0, "go_away_patience_s": 61.0, "handle_style": "opaque"},
    ),
    "instant": (
        "no pacing, no thinking time, no waiting for playback: for tests",
        {"burst": 0.0, "first_audio_delay_s": 0.0, "playback_wait": False},
    ),
    "bench": (
        "precomputed frames on a schedule at little CPU: 12.5 frames/s of 10.4 KB, 2 s in every 4 s",
        {"reply": "bench", "recorded_messages": 0, "go_away_after_s": 0.0},
    ),
}
"""Named starting points: words, and what differs from the defaults (which are the first preset)."""


def preset(name: str, **knobs: Any) -> Profile:
    """The preset of that name with single knobs changed.

    Raises KeyError for an unknown name, TypeError for an unknown knob.
    """
    return Profile(**{**PRESETS[name][1], **knobs})


def option(name: str) -> str:
    """The command-line spelling of a knob: `go_away_after_s` is `--go-away-after`."""
    return "--" + name.removesuffix("_s").replace("_", "-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--profile` and one option for every knob to `parser`."""
    summary = "; ".join(f"{name}: {words}" for name, (words, _) in PRESETS.items())
    parser.add_argument("--profile", choices=list(PRESETS), default="gemini-3.8-live", help=summary)
    group = parser.add_argument_group("knobs, each overriding the profile")
    for knob in fields(Profile):
        kind = _KINDS[knob.name]
        settings: dict[str, Any] = {"dest": knob.name, "default": None, "help": knob.metadata["help"]}
        if kind is bool:
            settings["action"] = argparse.BooleanOptionalAction
        elif kind is tuple:
            settings |= {"action": "append", "metavar": "TEXT"}
        elif knob.metadata["choices"]:
            settings["choices"] = knob.metadata["choices"]
        elif _is_time(knob.name):
            settings |= {"type": _duration_argument, "metavar": "TIME"}
        else:
            settings |= {"type": kind, "metavar": kind.__name__.upper()}
        group.add_argument(option(knob.name), **settings)


def from_arguments(namespace: argparse.Namespace) -> Profile:
    """The profile that the parsed options describe."""
    given = {knob.name: getattr(namespace, knob.name) for knob in fields(Profile)}
    changed = {name: tuple(value) if type(value) is list else value for name, value in given.items()}
    return with_knobs(preset(namespace.profile), {k: v for k, v in changed.items() if v is not None})


def with_knobs(profile: Profile, knobs: Mapping[str, Any]) -> Profile:
    """A copy of `profile` with some knobs changed.

    Raises ValueError, naming the knob, for an unknown knob or a value of the wrong type.
    """
    settled: dict[str, Any] = {}
    for name, value in knobs.items():
        if name not in _KINDS:
            raise ValueError(f"{name}: no such knob")
        settled[name] = _settle(name, value)
    return replace(profile, **settled)


def _settle(name: str, value: Any) -> Any:
    kind = _KINDS[name]
    choices = next(knob.metadata["choices"] for knob in fields(Profile) if knob.name == name)
    if _is_time(name) and type(value) is str:
        try:
            return duration_s(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    if kind is float and type(value) is int:
        return float(value)
    if kind is tuple and type(value) is list and all(type(entry) is str for entry in value):
        return tuple(value)
    if type(value) is not kind:
        raise ValueError(f"{name}: must be {kind.__name__}, not {type(value).__name__}")
    if choices and value not in choices:
        raise ValueError(f"{name}: must be one of {', '.join(choices)}")
    return value


def _is_time(name: str) -> bool:
    return _KINDS[name] is float and name.endswith("_s")


def _duration_argument(text: str) -> float:
    try:
        return duration_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


_KINDS: Mapping[str, type] = {name: tuple if get_args(hint) else hint for name, hint in get_type_hints(Profile).items()}
