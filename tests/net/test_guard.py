"""The look at every client frame's header: what passes, what ends the connection, however the bytes are cut."""

from typing import Any

import pytest
from aiohttp import WebSocketError
from hypothesis import given
from hypothesis import strategies as st

from bench.frames import encode
from relay.net import guard
from relay.net.guard import GuardedParser

TEXT, BINARY, LAST, PING, PONG = 0x1, 0x2, 0x0, 0x9, 0xA


class Parser:
    """Stands for aiohttp's parser, and for its queue."""

    def __init__(self) -> None:
        self.fed = b""
        self.error: BaseException | None = None
        self.ended = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.fed += data
        return False, b""

    def feed_eof(self) -> None:
        self.ended = True

    def exception(self) -> BaseException | None:
        return self.error

    def set_exception(self, error: BaseException) -> None:
        self.error = error


def frame(length: int, opcode: int = TEXT, *, final: bool = True, masked: bool = True) -> bytes:
    """One frame of zeros."""
    whole = bytearray(encode(bytes(length), opcode, masked=masked))
    whole[0] = opcode | (0x80 if final else 0)
    return bytes(whole)


def fed(stream: bytes, cuts: list[int], clock: Any = lambda: 0.0) -> tuple[Parser, int]:
    """What reached the parser of a stream that came in these pieces, and the code of what was wrong with it, or 0."""
    parser = Parser()
    guarded = GuardedParser(parser, parser, clock)
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        guarded.feed_data(stream[begin:end])
    return parser, parser.error.code if isinstance(parser.error, WebSocketError) else 0


LENGTHS = st.one_of(st.integers(12, 300), st.sampled_from([125, 126, 127, 1781, 65_535, 65_536, 70_000]))


@given(lengths=st.lists(LENGTHS, max_size=6), data=st.data())
def test_good_frames_pass_however_they_are_cut(lengths: list[int], data: st.DataObject) -> None:
    """Every byte reaches the parser, in order, and nothing is wrong."""
    stream = b"".join(frame(length, TEXT if length % 2 else BINARY) for length in lengths)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser, code = fed(stream, cuts)

    assert (parser.fed, code) == (stream, 0)


@pytest.mark.threat("D2")
@given(lengths=st.lists(LENGTHS, max_size=4), bad=LENGTHS, data=st.data())
def test_a_frame_without_a_mask_is_found_however_it_is_cut(lengths: list[int], bad: int, data: st.DataObject) -> None:
    """Whatever came before it is parsed, of it at most the one byte that tells nothing yet, and nothing after it."""
    good = b"".join(frame(length) for length in lengths)
    stream = good + frame(bad, masked=False) + frame(50)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser, code = fed(stream, cuts)

    assert code == 1002
    assert good == parser.fed[: len(good)]
    assert len(parser.fed) <= len(good) + 1


@pytest.mark.threat("D3")
@pytest.mark.parametrize(
    "small",
    [
        frame(0, PING),
        frame(125, PING),
        frame(0, PONG),
        frame(1, LAST, final=False),
        frame(63, TEXT, final=False),
        frame(0),
        frame(11),
        frame(0, LAST),
    ],
    ids=["ping", "long ping", "pong", "byte", "fragment", "empty", "no message", "empty end"],
)
@pytest.mark.parametrize("cut", [False, True], ids=["at once", "byte by byte"])
def test_a_flood_of_small_frames_is_stopped_after_a_burst(small: bytes, cut: bool) -> None:
    """Exactly `BURST` of them pass when they come at once, and the code says what they were."""
    stream = small * (guard.BURST + 100)
    parser, code = fed(stream, list(range(1, len(stream))) if cut and len(small) < 20 else [])

    assert code == 1008
    assert parser.fed[: len(small) * guard.BURST] == small * guard.BURST
    assert len(parser.fed) < len(small) * guard.BURST + 10  # byte by byte, its header has gone before


def test_small_frames_pass_at_the_pace_of_real_clients() -> None:
    """A second's worth in each second goes on for ever; so do messages and large fragments without a pause."""
    parser, seconds = Parser(), 0.0
    guarded = GuardedParser(parser, parser, lambda: seconds)
    for _ in range(100):
        for _ in range(int(guard.PER_SECOND)):
            guarded.feed_data(frame(4, PING))
        seconds += 1.0
    for _ in range(3 * guard.BURST):
        guarded.feed_data(frame(12) + frame(64, TEXT, final=False) + frame(20, LAST))

    assert parser.error is None


def test_the_parser_s_own_finding_comes_first() -> None:
    """What is wrong before the frame that we refuse is what is told; the end of the stream is passed on."""
    parser = Parser()
    parser.error = WebSocketError(1009, "")
    guarded = GuardedParser(parser, parser, lambda: 0.0)
    assert guarded.feed_data(frame(20, masked=False)) == (True, b"")
    assert guarded.feed_data(frame(20)) == (True, b"")
    guarded.feed_eof()

    assert isinstance(parser.error, WebSocketError)
    assert (parser.error.code, parser.fed, parser.ended) == (1009, b"", True)
