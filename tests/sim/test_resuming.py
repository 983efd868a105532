"""Coming back to a session with a handle, without sockets."""

from relay.sim import rejections
from relay.sim.outputs import Close
from tests.sim.playing import Player, google, handles, live, said, setup, spoken


def test_resuming_restores_the_conversation() -> None:
    """On a new connection with the handle, the model knows what was said, and the prompt is billed on."""
    service = google()
    first = live(service, sessionResumption={})
    (handle,) = handles(first.send(said("my name is Ana")))
    first.dialogue.closed(first.now)

    second = live(service, connection=2, sessionResumption={"handle": handle}, outputAudioTranscription={})
    frames = second.send(said("what did I say?"))

    assert "my name is Ana" in spoken(frames)
    assert "on connection 2" in spoken(frames)
    assert frames[-2]["usageMetadata"]["promptTokenCount"] > 100


def test_a_cut_turn_is_never_continued() -> None:
    """A turn that was going on when the connection went is gone: its user message is not in the handle's state."""
    service = google(burst=1.0)
    first = live(service, sessionResumption={})
    (handle,) = handles(first.send(said("one")) + first.wait(60.0))
    first.send(said("two"))
    first.wait(1.0)
    first.dialogue.closed(first.now)

    second = live(service, connection=2, sessionResumption={"handle": handle}, now=first.now)

    assert second.wait(60.0) == []
    session = second.dialogue.session
    assert session is not None
    assert [entry.text for entry in session.trail.entries()] == ["one"]


def test_a_resume_waits_for_the_old_connection_and_is_refused_if_it_stays() -> None:
    """The old socket must be closed: within the grace the resume goes on as soon as it is, after it 1011."""
    service = google(resume_grace_s=0.25)
    first = live(service, sessionResumption={})
    (handle,) = handles(first.send(said("one")))
    patient, late = Player(service, connection=2), Player(service, connection=3)
    assert patient.send(setup(sessionResumption={"handle": handle})) == []
    assert patient.dialogue.waits_for_old_connection

    assert late.send(setup(sessionResumption={"handle": handle})) + late.wait(0.3) == []
    assert late.close == Close(rejections.INTERNAL, "Internal error encountered.")
    first.dialogue.closed(first.now)
    patient.dialogue.old_connection_closed(patient.now)
    assert "setupComplete" in patient.drain()[0]


def test_a_dead_handle_closes_the_connection() -> None:
    """1007 or 1008, and no setupComplete."""
    player = Player(google())

    assert player.send(setup(sessionResumption={"handle": "dead"})) == []
    assert player.close == Close(1007, "Invalid session handle")


def test_deltas_can_be_replayed_after_a_resume() -> None:
    """The fault that doubles transcripts: the last pieces come again before anything new."""
    service = google(replay_deltas=2)
    first = live(service, sessionResumption={}, outputAudioTranscription={})
    frames = first.send(said("one"))
    first.dialogue.closed(first.now)

    second = Player(service, connection=2)
    again = second.send(setup(sessionResumption={"handle": handles(frames)[0]}))

    assert spoken(again)
    assert spoken(frames).endswith(spoken(again))
