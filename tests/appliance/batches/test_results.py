"""Results on the disk: what survives a kill, a full disk and a second attempt."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.batches import keeper
from appliance.batches.answers import Result, Usage, failed
from appliance.batches.errors import DiskFull
from appliance.batches.keeper import NO_ROOM, Keeper
from appliance.batches.results import Done, ResultFile, decode, encode, read_all, read_done


def result(line: int, ok: bool = True) -> Result:
    return Result(line, ok, Usage(7, 3, 2), json.dumps({"custom_id": str(line)}).encode())


def test_what_is_written_is_read() -> None:
    assert decode(encode(result(5, False))) == result(5, False)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_line_that_is_torn_or_damaged_is_none(at: int, byte: int) -> None:
    line = encode(result(12))
    cut = at % len(line)
    assert decode(line[:cut]) is None
    changed = line[:cut] + bytes([byte]) + line[cut + 1 :]
    assert changed == line or decode(changed) in (None, result(12))  # a CRC in capitals is the same one


def test_attempts_are_read_in_order_and_a_line_counts_once(tmp_path: Path) -> None:
    for fence, lines in ((2, (1, 2)), (10, (3, 4)), (3, (2, 3))):
        file = ResultFile(tmp_path, fence)
        file.append([result(line, ok=fence != 3) for line in lines])
        file.close()
    assert [one.line for one in read_all(tmp_path)] == [1, 2, 2, 3, 3, 4]
    done = read_done(tmp_path)
    assert (done.lines, done.num_completed, done.num_failed) == ({1, 2, 3, 4}, 3, 1)
    assert done.usage == Usage(28, 12, 8)


def test_what_a_killed_attempt_left_torn_is_not_counted(tmp_path: Path) -> None:
    file = ResultFile(tmp_path, 1)
    file.append([result(1)])
    file.close()
    with (tmp_path / "attempt-1.results").open("ab") as torn:
        torn.write(encode(result(2))[:-1])
    assert read_done(tmp_path).lines == {1}


def test_a_write_that_failed_half_way_leaves_nothing_and_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ResultFile(tmp_path, 1)
    file.append([result(1)])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            file.append([result(2)])
    assert read_done(tmp_path).lines == {1}
    file.append([result(2)])
    file.close()
    assert [one.line for one in read_all(tmp_path)] == [1, 2]


def test_an_attempt_that_goes_on_keeps_what_it_had(tmp_path: Path) -> None:
    for line in (1, 2):
        file = ResultFile(tmp_path, 1)
        file.append([result(line)])
        file.close()
    assert [one.line for one in read_all(tmp_path)] == [1, 2]


def test_what_follows_a_torn_line_of_the_same_attempt_is_read(tmp_path: Path) -> None:
    (tmp_path / "attempt-1.results").write_bytes(encode(result(1)) + encode(result(2))[:-9])
    file = ResultFile(tmp_path, 1)
    file.append([result(3)])
    file.append([result(4)])
    file.close()
    assert [one.line for one in read_all(tmp_path)] == [1, 3, 4]


def test_a_write_that_comes_after_the_end_changes_nothing(tmp_path: Path) -> None:
    file = ResultFile(tmp_path, 1)
    file.append([result(1)])
    file.close()
    with pytest.raises(ValueError, match="over"):
        file.append([result(2)])
    assert [one.line for one in read_all(tmp_path)] == [1]


def test_a_disk_that_is_nearly_full_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DiskFull):
        ResultFile(tmp_path, 1).append([result(1)])
    assert read_done(tmp_path).lines == set()


def test_while_the_disk_has_no_room_answers_wait_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "RETRY_S", 0.01)
    free = {"bytes": 1000}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free["bytes"]))
    file = ResultFile(tmp_path, 1)
    kept = Keeper(file, Done())

    async def work() -> None:
        writing = asyncio.create_task(kept.run())
        waiting = [asyncio.create_task(kept.keep(result(line))) for line in range(1, 6)]
        while not kept.note:
            await asyncio.sleep(0.001)
        assert (kept.note, kept.done.lines) == (NO_ROOM, set())
        assert not any(task.done() for task in waiting)
        free["bytes"] = 1 << 40
        await asyncio.gather(*waiting)
        writing.cancel()

    asyncio.run(work())
    file.close()
    assert (kept.note, kept.done.lines) == ("", {1, 2, 3, 4, 5})
    assert read_done(tmp_path).lines == {1, 2, 3, 4, 5}


def test_a_line_without_an_answer_says_why() -> None:
    told = json.loads(failed(1, "a", "batch_expired", "too late").text)
    assert told["id"].startswith("batch_req_")
    assert (told["custom_id"], told["response"]) == ("a", None)
    assert told["error"] == {"code": "batch_expired", "message": "too late"}
