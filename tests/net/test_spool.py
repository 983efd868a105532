"""Records that wait: in order, the newest of a session only, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from relay.net.spool import Item, Spool


def item(key: str, number: int = 1, size: int = 10) -> Item:
    """A record."""
    return Item(key, f"{key}.{number}", b"x" * size)


def ids(items: list[Item]) -> list[str]:
    """Their ids."""
    return [one.id for one in items]


def test_records_come_out_as_they_went_in() -> None:
    """Oldest first, as many as are asked for."""
    spool = Spool(10_000)
    for key in "abc":
        spool.put(item(key))
    assert ids(spool.take(2)) == ["a.1", "b.1"]
    assert ids(spool.take(2)) == ["c.1"]
    assert (len(spool), spool.size) == (0, 0)


def test_a_newer_record_replaces_the_one_that_waits() -> None:
    """It says all the older one did; nothing is lost by that."""
    spool = Spool(10_000)
    for one in (item("a", 1), item("b", 1), item("a", 2)):
        spool.put(one)
    assert ids(spool.take(9)) == ["b.1", "a.2"]
    assert spool.lost == 0


def test_what_nobody_took_comes_first_again_unless_it_is_out_of_date() -> None:
    """The order stays, and an old total never follows a new one."""
    spool = Spool(10_000)
    for key in "abc":
        spool.put(item(key))
    taken = spool.take(2)
    spool.put(item("b", 2))
    spool.give_back(taken)
    assert ids(spool.take(9)) == ["a.1", "c.1", "b.2"]


def test_what_is_set_aside_comes_last_unless_it_is_out_of_date() -> None:
    """An old total never follows a new one."""
    spool = Spool(10_000)
    for key in "abc":
        spool.put(item(key))
    (first,) = spool.take(1)
    spool.set_aside(first)
    (second,) = spool.take(1)
    spool.put(item("b", 2))
    spool.set_aside(second)
    assert ("a" in spool, "x" in spool) == (True, False)
    assert ids(spool.take(9)) == ["c.1", "a.1", "b.2"]


def test_what_does_not_fit_pushes_out_the_oldest() -> None:
    """And is counted."""
    spool = Spool(1_000)  # three of them
    for key in "abcd":
        spool.put(item(key))
    assert (ids(spool.take(9)), spool.lost) == (["b.1", "c.1", "d.1"], 1)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 400), st.booleans()), max_size=60))
def test_memory_is_bounded_and_counted(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever is put, taken and given back, the size is that of what is there and never more than allowed."""
    spool = Spool(1_500)
    for number, (key, size, back) in enumerate(steps):
        spool.put(item(key, number, size))
        taken = spool.take(2) if back else []
        spool.give_back(taken)
        assert spool.size <= 1_500
    everything = spool.take(100)
    assert len({one.key for one in everything}) == len(everything)
    assert spool.size == 0
