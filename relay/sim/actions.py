"""What can be done to a connection from outside: by a scenario's step or by the fault endpoint. One table for both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.sim.profile import duration_s

REQUIRED = object()
"""The argument has no default."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do; the arguments are complete and of the right types."""

    kind: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Argument:
    kind: str
    default: Any = REQUIRED


ACTIONS: Mapping[str, tuple[str, Mapping[str, _Argument]]] = {
    "close": (
        "close with a code and a reason",
        {"code": _Argument("integer", 1011), "reason": _Argument("text", "")},
    ),
    "cut": (
        "end the TCP connection without a close frame, by a reset or else by a FIN",
        {"reset": _Argument("flag", True)},
    ),
    "stall": (
        "send nothing for a while; if deaf, read nothing either",
        {"for": _Argument("time"), "deaf": _Argument("flag", False)},
    ),
    "silence": ("send nothing any more, but go on reading", {}),
    "go_away": (
        "send goAway; `time_left: none` leaves timeLeft out",
        {"time_left": _Argument("time or none", 50.0)},
    ),
    "say": ("answer with these words", {"text": _Argument("text")}),
    "tool_call": (
        "call a function, declared or not",
        {
            "name": _Argument("text"),
            "args": _Argument("object", {}),
            "blocking": _Argument("flag", True),
        },
    ),
    "cancel_calls": ("cancel the open function calls", {}),
    "interrupt": ("interrupt the answer, as if the user had spoken", {}),
    "handle": (
        "send a sessionResumptionUpdate: a new handle, or an empty one",
        {"resumable": _Argument("flag", True)},
    ),
    "kill_handles": ("make every handle of this session dead", {}),
    "send": ("send this server message", {"message": _Argument("object")}),
    "send_text": ("send these characters, JSON or not, as a frame", {"text": _Argument("text")}),
    "ignore": ("do not react to the message that triggered the step", {}),
    "refuse": (
        "answer the upgrade with this HTTP status (only for `event: connect`)",
        {"status": _Argument("integer", 503)},
    ),
}
"""Every action: its words, and its arguments with their types and defaults."""


def parse_action(value: Any, path: str) -> Action | list[str]:
    """An action written as `{kind: {argument: value}}`, or what is wrong with it, each with its dotted path."""
    if not isinstance(value, dict) or len(value) != 1:
        return [f"{path}: must be an object with one key, the action's name"]
    kind, given = next(iter(value.items()))
    if kind not in ACTIONS:
        return [f"{path}.{kind}: no such action (there are: {', '.join(ACTIONS)})"]
    return with_arguments(kind, {} if given is None else given, f"{path}.{kind}")


def with_arguments(kind: str, given: Any, path: str) -> Action | list[str]:
    """The action `kind` with these arguments, or what is wrong with them."""
    if not isinstance(given, dict):
        return [f"{path}: must be an object of arguments"]
    wanted = ACTIONS[kind][1]
    problems = [f"{path}.{name}: no such argument" for name in given if name not in wanted]
    arguments: dict[str, Any] = {}
    for name, argument in wanted.items():
        if name not in given:
            if argument.default is REQUIRED:
                problems.append(f"{path}.{name}: is missing")
            arguments[name] = argument.default
            continue
        try:
            arguments[name] = _read(argument.kind, given[name])
        except ValueError as error:
            problems.append(f"{path}.{name}: {error}")
    return problems or Action(kind, arguments)


def _read(kind: str, value: Any) -> Any:
    if kind.startswith("time"):
        if kind == "time or none" and value in (None, "none"):
            return None
        return read_time(value)
    expected, word = {
        "integer": (int, "an integer"),
        "text": (str, "text"),
        "flag": (bool, "true or false"),
        "object": (dict, "an object"),
    }[kind]
    if not isinstance(value, expected) or (kind == "integer" and isinstance(value, bool)):
        raise ValueError(f"must be {word}")
    return value


def read_time(value: Any) -> float:
    """Seconds, from a number of seconds or text such as `500ms`.

    Raises ValueError for anything else.
    """
    if isinstance(value, str):
        return duration_s(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    raise ValueError("must be a time such as 5s or 500ms")
