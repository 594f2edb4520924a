"""Open requests in mapped memory: what a SIGKILL leaves can be read, what is damaged is never believed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inference.gateway import open_table
from inference.gateway.open_requests import OpenRequests, OpenSlot
from inference.gateway.open_table import SLOT_BYTES, SLOTS, Found, OpenRequest, State, lost_record, read_table, tables
from inference.metering.journal import UsageRecord

REPO = Path(__file__).resolve().parents[3]
KILLED = """
import os, signal, sys, time
from pathlib import Path
from inference.gateway.open_requests import OpenRequests
from tests.inference.gateway.test_open_requests import request
worker = OpenRequests(Path(sys.argv[1]))
worker.hold("req-held")
streaming = worker.hold("req-open")
streaming.open(request("req-open"))
streaming.first(12)
streaming.count(3)
streaming.count(41)
again = worker.hold("req-again")
again.open(request("req-again"))
again.withdraw()
booked = worker.hold("req-booked")
booked.open(request("req-booked"))
booked.end(70, 900, booked=True)
waiting = worker.hold("req-waiting")
waiting.open(request("req-waiting"))
waiting.end(70, 900, booked=False)
over = worker.hold("req-over")
over.open(request("req-over"))
over.end(1, 1, booked=True)
worker.tell("req-over")
os.kill(os.getpid(), signal.SIGKILL)
"""


def request(request_id: str, endpoint: str = "chat", model: str = "m") -> OpenRequest:
    return OpenRequest(
        request_id=request_id, tenant_id="alpha", key_id="k", model=model, endpoint=endpoint, stream=True,
        life_id="5d8f5fb2-1f5f-4f6a-9d50-1f4b6c0c9a51", replica_id=None, started_at=time.time(),
        silent_events=1 if endpoint == "chat" else 0, prices=(1_000_000, 100_000, 2_000_000),
    )  # fmt: skip


def found(directory: Path) -> dict[str | None, Found]:
    return {slot.request_id: slot for path in tables(directory) for slot in read_table(path).slots}


def billed(slot: Found, beat: float = 0.0) -> UsageRecord:
    record = lost_record(slot, beat)
    assert record is not None
    return record


def test_a_sigkill_leaves_what_was_open_and_nothing_else(tmp_path: Path) -> None:
    before = time.time()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=REPO, check=False)
    assert killed.returncode == -signal.SIGKILL
    [path] = tables(tmp_path)
    assert int(path.name.split("-")[1]) != os.getpid()
    table = read_table(path)
    slots = {slot.request_id: slot for slot in table.slots}
    assert {name: slot.state for name, slot in slots.items()} == {
        "req-held": State.HELD, "req-open": State.OPEN, "req-again": State.HELD, "req-booked": State.BOOKED,
        "req-waiting": State.OPEN,
    }  # fmt: skip
    assert (slots["req-booked"].tokens, slots["req-booked"].spend_micros) == (70, 900)
    assert [name for name, slot in slots.items() if lost_record(slot, table.beat) is not None] == [
        "req-open",
        "req-waiting",
    ]
    record = billed(slots["req-open"], table.beat)
    assert (record.completion_tokens, record.prompt_tokens, record.engine_prompt_tokens) == (40, 0, 0)
    assert (record.outcome, record.exact, record.http_status, record.ttft_ms) == ("lost", False, 200, 12)
    assert before - 1 <= record.started_at <= record.finished_at


def test_a_request_without_an_event_is_billed_nothing(tmp_path: Path) -> None:
    worker = OpenRequests(tmp_path)
    worker.hold("req-1").open(request("req-1"))
    role = worker.hold("req-2")
    role.open(request("req-2"))
    role.count(1)
    slots = found(tmp_path)
    assert (billed(slots["req-1"]).completion_tokens, billed(slots["req-1"]).http_status) == (0, 503)
    assert billed(slots["req-2"]).completion_tokens == 0


def test_a_new_request_in_an_old_place_has_nothing_of_the_old_one(tmp_path: Path) -> None:
    worker = OpenRequests(tmp_path)
    old = worker.hold("req-old")
    old.open(request("req-old"))
    old.first(5)
    old.count(1000)
    old.end(1000, 1000, booked=True)
    worker.tell("req-old")
    new = worker.hold("req-new")
    assert (found(tmp_path)["req-new"].tokens, found(tmp_path)["req-new"].spend_micros) == (0, 0)
    new.open(request("req-new", "completions"))
    old.count(2000)  # an engine's late bytes
    old.end(2000, 2000, booked=True)
    worker.tell("req-old")
    slots = found(tmp_path)
    assert list(slots) == ["req-new"]
    assert (slots["req-new"].events, slots["req-new"].ttft_ms, slots["req-new"].state) == (0, None, State.OPEN)


def test_a_place_is_free_once_journal_and_redis_know_in_either_order(tmp_path: Path) -> None:
    worker = OpenRequests(tmp_path)
    first, second = worker.hold("req-1"), worker.hold("req-2")
    first.open(request("req-1"))
    second.open(request("req-2"))
    first.end(5, 5, booked=True)
    worker.tell("req-2")  # a late reservation was undone: the request still runs
    assert {name: slot.state for name, slot in found(tmp_path).items()} == {"req-1": State.BOOKED, "req-2": State.OPEN}
    second.end(5, 5, booked=False)
    worker.beat(journal_healthy=False)
    assert found(tmp_path)["req-2"].state is State.OPEN
    worker.tell("req-1")
    worker.beat(journal_healthy=True)
    assert found(tmp_path) == {}
    worker.close()
    assert list(tmp_path.iterdir()) == []


def test_more_requests_than_places_make_another_file(tmp_path: Path) -> None:
    worker = OpenRequests(tmp_path)
    for number in range(SLOTS + 100):
        slot = worker.hold(f"req-{number}")
        slot.open(request(f"req-{number}"))
        slot.count(number + 1)
    assert len(tables(tmp_path)) == 2
    slots = found(tmp_path)
    assert {name: slot.events for name, slot in slots.items()} == {f"req-{n}": n + 1 for n in range(SLOTS + 100)}
    worker.close()
    assert len(tables(tmp_path)) == 2  # what is open stays


def test_no_disk_for_more_places_is_said_before_a_request_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = OpenRequests(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    held: list[OpenSlot] = []
    while worker.has_room():
        held.append(worker.hold(f"req-{len(held)}"))
    assert len(held) == SLOTS - 1
    with pytest.raises(OSError, match="No space"):
        worker.hold("req-more")
    assert len(tables(tmp_path)) == 1
    held[0].end(0, 0, booked=True)
    worker.tell("req-0")
    assert worker.has_room()
    monkeypatch.undo()
    assert worker.has_room()
    assert len(tables(tmp_path)) == 2


@pytest.mark.parametrize("at", [open_table.ID_AT + 2, open_table.ID_SUM * 8])
def test_a_damaged_id_is_not_believed(tmp_path: Path, at: int) -> None:
    worker = OpenRequests(tmp_path)
    worker.hold("req-1").open(request("req-1"))
    damage(tables(tmp_path)[0], SLOT_BYTES + at)
    [slot] = read_table(tables(tmp_path)[0]).slots
    assert (slot.request_id, slot.request) == (None, None)
    assert lost_record(slot, 0.0) is None


@pytest.mark.parametrize("at", [open_table.REQUEST_AT + 30, open_table.REQUEST_SUM * 8, open_table.REQUEST_SUM * 8 + 4])
def test_a_torn_request_is_not_billed_and_its_id_still_known(tmp_path: Path, at: int) -> None:
    worker = OpenRequests(tmp_path)
    worker.hold("req-1").open(request("req-1"))
    damage(tables(tmp_path)[0], SLOT_BYTES + at)
    [slot] = read_table(tables(tmp_path)[0]).slots
    assert (slot.request_id, slot.request, slot.state) == ("req-1", None, State.OPEN)
    assert lost_record(slot, 0.0) is None


def test_a_request_too_long_for_its_place_is_refused_before_an_engine_has_it(tmp_path: Path) -> None:
    slot = OpenRequests(tmp_path).hold("req-1")
    slot.open(request("req-1", model="深" * 200))
    with pytest.raises(ValueError, match="don't fit"):
        slot.open(request("req-1", model="m" * 1000))
    assert found(tmp_path)["req-1"].state is State.HELD


def test_a_writer_is_known_by_process_start_and_boot(tmp_path: Path) -> None:
    OpenRequests(tmp_path)
    [path] = tables(tmp_path)
    writer = open_table.writer_of(path)
    assert writer is not None
    assert writer[0] == os.getpid()
    other = path.with_name(path.name.replace(open_table.boot_id(), "0" * 32))
    assert open_table.writer_of(other) is None


def test_a_file_that_was_never_filled_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / open_table.name_of(0, 1)
    path.touch()
    assert read_table(path).slots == ()


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x21
    path.write_bytes(data)
