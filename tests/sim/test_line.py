"""The outgoing queue."""

from random import Random

from relay.sim.archive import Archive
from relay.sim.line import Line
from relay.sim.outputs import Close, Frame
from relay.sim.profile import Profile


def numbers(line: Line) -> list[int]:
    """The numbers of the frames that wait."""
    return [output.number for output in line.waiting if isinstance(output, Frame)]


def test_frames_are_numbered_once_there_is_a_session() -> None:
    """Before, 0; then from 1 on, and `next_number` tells in advance."""
    line = Line()
    line.send("error", {})
    line.session = Archive(Profile(), Random(1)).open("m", 1)
    foreseen = line.next_number()
    line.send("setupComplete", {})
    line.send("goAway", {})

    assert numbers(line) == [0, 1, 2]
    assert foreseen == 1


def test_silence_lets_only_the_end_through() -> None:
    """Messages are swallowed and not numbered; a close is not."""
    line = Line()
    line.session = Archive(Profile(), Random(1)).open("m", 1)
    line.silent = True
    line.send("goAway", {})
    line.put(Close(1000, ""))

    assert list(line.waiting) == [Close(1000, "")]
    assert line.session.sent.count == 0


def test_the_last_transcript_pieces_are_remembered() -> None:
    """Twenty of them, for replays; audio is not."""
    line = Line()
    line.session = Archive(Profile(), Random(1)).open("m", 1)
    for number in range(30):
        line.send("serverContent", {"modelTurn": {"parts": []}, "outputTranscription": {"text": str(number)}})
    line.send("serverContent", {"turnComplete": True})

    assert len(line.session.last_content) == 20
    assert line.session.last_content[-1] == {"outputTranscription": {"text": "29"}}
