"""Numbered frames: what was sent is accounted for, across connections; with real sockets."""

from relay.sim import stamp
from tests.sim.client import eventually, simulator, talking
from tests.sim.playing import handles, said, silence, sound, stamp_of


async def test_what_was_sent_is_numbered_in_the_ledger() -> None:
    """Each frame the client got is in the session's log, in order; stamped audio carries the same numbers."""
    async with simulator(numbered=True) as google, talking(google) as client:
        frames = await client.turn(said("hello"))

        (session,) = google.archive
        sent = list(session.sent.entries)[: len(frames) + 1]
        assert [entry.number for entry in sent] == list(range(1, len(frames) + 2))
        stamped = {at + 2: found.number for at, frame in enumerate(frames) if (found := stamp_of(frame))}
        assert all(number == place for place, number in stamped.items())
        assert len(stamped) > 20
        assert google.connections[0].frames_sent == session.sent.count


async def test_numbers_go_on_across_connections() -> None:
    """The second connection of a session goes on where the first ended, both ways."""
    async with simulator(numbered=True) as google:
        async with talking(google, sessionResumption={}) as client:
            await client.send(sound(stamp.put(silence(0.1), 1, 0.0)))
            await client.turn(said("one"))
            (handle,) = handles(await client.until("sessionResumptionUpdate"))
        await eventually(google)
        (session,) = google.archive
        before = session.sent.count
        async with talking(google, sessionResumption={"handle": handle}) as client:
            await client.send(sound(stamp.put(silence(0.1), 2, 0.0)))
            frames = await client.turn(said("two"))

        first = next(found.number for frame in frames if (found := stamp_of(frame)))
        assert first > before
        assert [entry.number for entry in session.trail.entries()] == [1, None, 2, None]
