"""The file of usage records: whole lines on the disk or none, and old files that go away by themselves."""

import errno
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relay.net.spool import Item
from relay.net.usage_file import SinkError, UsageFile


def record(number: int, size: int = 0) -> Item:
    """A record of at least this size."""
    return Item(str(number), f"{number}.1", json.dumps({"number": number, "fill": "x" * size}).encode())


def numbers(*files: Path) -> list[int]:
    """What stands in files; each line has to be whole."""
    return [json.loads(line)["number"] for file in files for line in file.read_text().splitlines()]


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[UsageFile]:
    """One that is rotated at 1,000 bytes and keeps two older ones."""
    made = UsageFile(tmp_path / "records" / "usage.jsonl", 1_000, 2)
    await made.start()
    yield made
    await made.stop()


async def test_records_are_lines_that_only_the_owner_may_read(file: UsageFile) -> None:
    """In order; the folder is made where there is none."""
    await file.deliver([record(1), record(2)])
    await file.deliver([record(3)])
    assert numbers(file.path) == [1, 2, 3]
    assert file.path.read_bytes().endswith(b"\n")
    assert file.path.stat().st_mode & 0o777 == 0o600


async def test_a_full_file_makes_room_for_the_next(file: UsageFile) -> None:
    """Older ones are numbered from the newest on, the oldest goes, and no line is divided between two."""
    for number in range(5):
        await file.deliver([record(number, 700)])
    older = [file.path.with_name(f"usage.jsonl.{number}") for number in (1, 2, 3)]
    assert [numbers(file.path), numbers(older[0]), numbers(older[1])] == [[4], [3], [2]]
    assert not older[2].exists()


async def test_more_than_a_file_s_worth_still_is_written(file: UsageFile) -> None:
    """A file may be larger than the limit when one batch is."""
    await file.deliver([record(number, 700) for number in range(3)])
    assert numbers(file.path) == [0, 1, 2]


async def test_a_file_that_was_moved_away_is_begun_anew(file: UsageFile) -> None:
    """As logrotate does it, without a signal."""
    await file.deliver([record(1)])
    moved = file.path.rename(file.path.with_name("taken.jsonl"))
    await file.deliver([record(2)])
    assert (numbers(moved), numbers(file.path)) == ([1], [2])


@pytest.mark.parametrize("torn", [b'{"number": 2, "fi', b"x" * 200_000])
async def test_a_torn_last_line_is_cut_off(file: UsageFile, torn: bytes) -> None:
    """A process was killed while it wrote; the next one goes on after the last whole line."""
    await file.deliver([record(1)])
    with file.path.open("ab") as handle:
        handle.write(torn)
    await file.deliver([record(3)])
    assert numbers(file.path) == [1, 3]


async def test_a_full_disk_leaves_no_half_line(file: UsageFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part that fitted is taken back; when there is room again, everything comes once."""
    await file.deliver([record(1)])
    write = os.write

    def full(handle: int, data: Any) -> int:
        if len(data) < 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(SinkError, match="No space left on device"):
            await file.deliver([record(2), record(3)])
    assert numbers(file.path) == [1]
    await file.deliver([record(2), record(3)])
    assert numbers(file.path) == [1, 2, 3]


async def test_a_disk_that_really_is_full(tmp_path: Path) -> None:
    """The kernel's own answer, from a device that is always full."""
    link = tmp_path / "usage.jsonl"
    link.symlink_to("/dev/full")
    file = UsageFile(link, 1_000, 2)
    with pytest.raises(SinkError, match="No space left on device"):
        await file.deliver([record(1)])
    await file.stop()


async def test_a_path_that_can_t_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    """Not a crash."""
    (tmp_path / "occupied").write_text("")
    file = UsageFile(tmp_path / "occupied" / "usage.jsonl", 1_000, 2)
    with pytest.raises(SinkError, match=r"Not a directory|File exists"):
        await file.deliver([record(1)])
    await file.stop()
