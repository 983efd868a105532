"""How Google refuses: WebSocket close codes and the words that go with them.

The words are those that were seen in the field, so that whoever classifies them by prefix is tested honestly.
"""

from dataclasses import dataclass

INVALID_ARGUMENT = 1007
"""Close code Google uses for INVALID_ARGUMENT and for refused keys."""
ABORTED = 1008
"""For ABORTED, NOT_FOUND, PERMISSION_DENIED, UNIMPLEMENTED."""
INTERNAL = 1011
"""For INTERNAL, UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One close by the server: code and reason, the latter before Google cuts it."""

    code: int
    reason: str


def invalid(reason: str) -> Rejection:
    """A close with 1007 and these words."""
    return Rejection(INVALID_ARGUMENT, reason)


def unknown_name(name: str, path: str) -> Rejection:
    """A field that the message at `path` (dotted, snake_case; empty for the envelope) does not have."""
    at = f" at '{path}'" if path else ""
    return invalid(f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')


def invalid_value(path: str, kind: str, shown: str) -> Rejection:
    """A value of the wrong type at `path`; `kind` is protobuf's word for the right one."""
    return invalid(f"Invalid value at '{path}' ({kind}), {shown}")


def second_of_oneof(path: str, oneof: str, name: str) -> Rejection:
    """A second member of a oneof in one message."""
    at = f" at '{path}'" if path else ""
    return invalid(f"Invalid value{at} (oneof), oneof field '{oneof}' is already set. Cannot set '{name}'")


def no_such_model(model: str, version: str) -> Rejection:
    """A model the Developer API does not serve."""
    return Rejection(
        ABORTED,
        f"{model} is not found for API version {version}, or is not supported for bidiGenerateContent. "
        "Call ListModels to see the list of available models and their supported methods.",
    )


def no_such_publisher_model(model: str) -> Rejection:
    """A model Vertex does not serve."""
    return Rejection(ABORTED, f"Publisher Model `{model}` was not found or your project has no access to it.")


def no_such_voice(name: str) -> Rejection:
    """A prebuilt voice nobody has."""
    return invalid(f"No matching speaker voice found for name: {name}")


BAD_JSON = invalid("Invalid JSON payload received. Unexpected token.")
BAD_ARGUMENT = invalid("Request contains an invalid argument.")
BAD_KEY = invalid("API key not valid. Please pass a valid API key.")
SETUP_FIRST = invalid("setup must be the first message and only the first")
MEDIA_CHUNKS = invalid("realtime_input.media_chunks is deprecated. Use audio, video, or text instead.")
TEXT_MODALITY = invalid("Text output is not supported for native audio output model.")
EXPLICIT_ACTIVITY = invalid("Explicit activity control is not supported when automatic activity detection is enabled.")
GO_AWAY_IGNORED = Rejection(
    ABORTED,
    "Connection aborted because the client failed to close the connection after receiving a GoAway signal "
    "once the session duration limit was reached.",
)
STILL_OPEN = Rejection(INTERNAL, "Internal error encountered.")
"""A resume while the session's old connection is open; only the code was reported, the words are assumed."""
DEAD_HANDLES = {
    "1007": invalid("Invalid session handle"),
    "1008-not-found": Rejection(ABORTED, "BidiGenerateContent session not found"),
    "1008-entity": Rejection(ABORTED, "Requested entity was not found."),
}
"""What a dead handle gets, by the profile's `dead_handle`."""
