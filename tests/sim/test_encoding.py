"""Server messages as bytes."""

import pytest

from relay.sim.encoding import cut_reason, duration, encode, without_defaults


def test_a_frame_is_indented_json_with_a_newline() -> None:
    """The bytes of setupComplete are those that were recorded from Google."""
    assert encode({"setupComplete": {}}) == b'{\n  "setupComplete": {}\n}\n'


def test_defaults_are_omitted_and_empty_messages_stay() -> None:
    """proto3 JSON has no false, zero, empty string or empty list, but it has empty messages."""
    message = {"a": {"flag": False, "count": 0, "text": "", "list": [], "none": None, "kept": 1}, "b": {}}

    assert without_defaults(message) == {"a": {"kept": 1}, "b": {}}


@pytest.mark.parametrize(("seconds", "text"), [(50.0, "50s"), (9.5, "9.500s"), (0.0, "0s"), (0.02, "0.020s")])
def test_durations_have_no_or_three_fractional_digits(seconds: float, text: str) -> None:
    """Durations look as protobuf prints them."""
    assert text == duration(seconds)


def test_a_reason_is_cut_at_123_bytes_between_characters() -> None:
    """A close reason fits its frame and is valid UTF-8."""
    assert cut_reason("x" * 200) == b"x" * 123
    assert cut_reason("x" * 122 + "é") == b"x" * 122
    assert cut_reason("short") == b"short"
