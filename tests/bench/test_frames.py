"""The benchmark's hand-made frames: what it counts is what was sent, however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.frames import BINARY, TEXT, FrameCounter, decode, encode

LENGTHS = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 65_535, 65_536, 70_000]))


@given(lengths=st.lists(LENGTHS, max_size=6), masked=st.booleans(), data=st.data())
def test_frames_are_counted_however_the_stream_is_cut(lengths: list[int], masked: bool, data: st.DataObject) -> None:
    """Headers, masks and payloads may end anywhere in a chunk."""
    opcodes = [TEXT if length % 2 else BINARY for length in lengths]
    pairs = list(zip(opcodes, lengths, strict=True))
    stream = b"".join(encode(bytes(length), opcode, masked=masked) for opcode, length in pairs)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    counter = FrameCounter(masked=masked)
    counted = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        counted += counter.feed(stream[begin:end])

    assert counted == pairs


@given(payload=st.binary(max_size=400), masked=st.booleans())
def test_a_frame_is_decoded_to_what_was_encoded(payload: bytes, masked: bool) -> None:
    """Unmasked again, with the bytes it used; and not before it is whole."""
    frame = encode(payload, TEXT, masked=masked)

    assert decode(frame + b"rest") == (TEXT, payload, len(frame))
    assert decode(frame[:-1]) is None


def test_a_fragment_is_refused() -> None:
    """No subject splits messages; one that did would be counted wrongly."""
    with pytest.raises(ValueError, match="fragment"):
        FrameCounter(masked=False).feed(b"\x01\x01a")
