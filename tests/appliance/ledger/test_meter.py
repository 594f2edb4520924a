"""From journal to ledger: each line once, whatever is killed or damaged in between."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from appliance.ledger.meter import ship, ship_all
from appliance.ledger.models import JournalCursor, LedgerEntry
from inference.metering.journal import JournalWriter, UsageRecord, encode_line

pytestmark = pytest.mark.usefixtures("db")
LIFE = str(uuid.uuid4())


def record(request_id: str, output: int = 5) -> UsageRecord:
    return UsageRecord(
        request_id=request_id, tenant_id="alpha", key_id=None, model="m", endpoint="chat", stream=True, life_id=LIFE,
        replica_id=None, started_at=1_800_000_000.25, finished_at=1_800_000_001.5, prompt_tokens=7, cached_tokens=2,
        completion_tokens=output, engine_prompt_tokens=14, outcome="completed", http_status=200, ttft_ms=12, exact=True,
    )  # fmt: skip


def of_a_dead_writer(folder: Path, *lines: bytes) -> Path:
    """A journal file whose writer has ended."""
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    path = folder / f"gateway-{gone.stdout.strip()}-1.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def test_it_books_each_line_once_however_often_it_looks(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway")
    writer.append(record("a"))
    assert ship_all(tmp_path) == 1
    assert ship_all(tmp_path) == 0
    writer.append(record("b"))
    assert ship_all(tmp_path) == 1
    writer.close()
    assert sorted(LedgerEntry.objects.values_list("request_id", flat=True)) == ["a", "b"]
    row = LedgerEntry.objects.get(request_id="a")
    assert (row.prompt_tokens, row.cached_tokens, row.completion_tokens, row.engine_prompt_tokens) == (7, 2, 5, 14)
    assert row.started_at.timestamp() == 1_800_000_000.25
    assert str(row.life_id) == LIFE


def test_it_never_bills_a_request_twice_even_if_its_line_is_there_twice(tmp_path: Path) -> None:
    path = of_a_dead_writer(tmp_path, encode_line(record("a", 5)), encode_line(record("a", 9)))
    ship(path)
    assert list(LedgerEntry.objects.values_list("completion_tokens", flat=True)) == [5]


def test_it_starts_again_from_the_cursor_after_a_crash(tmp_path: Path) -> None:
    path = of_a_dead_writer(tmp_path, encode_line(record("a")), encode_line(record("b")))
    ship(path)
    JournalCursor.objects.update(offset=0)  # as if the rows were booked and the cursor lost
    assert ship(path) == 2
    assert LedgerEntry.objects.count() == 2


def test_it_waits_for_the_end_of_a_torn_line(tmp_path: Path) -> None:
    whole, torn = encode_line(record("a")), encode_line(record("b"))
    path = of_a_dead_writer(tmp_path, whole, torn[:-10])
    assert ship(path) == 1
    path.write_bytes(whole + torn)
    assert ship(path) == 1


def test_it_keeps_a_file_with_a_damaged_line_and_books_the_rest(tmp_path: Path) -> None:
    damaged = encode_line(record("b")).replace(b'"alpha"', b'"bravo"')
    path = of_a_dead_writer(tmp_path, encode_line(record("a")), damaged, encode_line(record("c")))
    ship_all(tmp_path)
    assert sorted(LedgerEntry.objects.values_list("request_id", flat=True)) == ["a", "c"]
    assert JournalCursor.objects.get().corrupt_lines == 1
    assert path.exists()


def test_it_removes_a_file_only_when_its_writer_is_gone_and_all_is_booked(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway")
    writer.append(record("a"))
    dead = of_a_dead_writer(tmp_path, encode_line(record("b")))
    ship_all(tmp_path)
    assert not dead.exists()
    assert len(list(tmp_path.glob("*.jsonl"))) == 1
    assert JournalCursor.objects.count() == 1
    writer.close()
