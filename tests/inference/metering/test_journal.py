"""The usage journal: what is appended is read back, torn and spoilt lines are told apart, a full disk loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inference.metering.journal import Corrupt, JournalWriter, UsageRecord, encode_line, read_records


def usage_record(request_id: str = "req-1", completion_tokens: int = 2) -> UsageRecord:
    return UsageRecord(
        request_id=request_id,
        tenant_id="owner",
        key_id="key",
        model="deepseek-fake",
        endpoint="chat",
        stream=True,
        life_id="life",
        replica_id="replica",
        started_at=1.5,
        finished_at=2.5,
        prompt_tokens=1,
        cached_tokens=0,
        completion_tokens=completion_tokens,
        engine_prompt_tokens=1,
        outcome="completed",
        http_status=200,
        ttft_ms=None,
        exact=True,
    )


def append_many(writer: JournalWriter, name: str, count: int) -> None:
    for number in range(count):
        writer.append(usage_record(f"{name}-{number}"))


def only_file(directory: Path) -> Path:
    (path,) = directory.glob("*.jsonl")
    return path


def test_it_reads_back_what_was_appended(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway")
    records = [usage_record(f"req-{number}") for number in range(100)]
    for record in records:
        writer.append(record)
    assert read_records(only_file(tmp_path))[0] == records  # visible before any close or fsync
    writer.close()
    assert only_file(tmp_path).name.startswith(f"gateway-{os.getpid()}-")
    assert only_file(tmp_path).stat().st_mode & 0o077 == 0


def test_it_goes_on_reading_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = encode_line(usage_record())
    path.write_bytes(line + line[:-5])
    records, offset = read_records(path)
    assert (len(records), offset) == (1, len(line))
    path.write_bytes(line + line)
    records, offset = read_records(path, offset)
    assert (len(records), offset) == (1, 2 * len(line))


def test_it_reports_a_spoilt_line_and_reads_on(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = encode_line(usage_record())
    path.write_bytes(line + line.replace(b"owner", b"other") + b"garbage\n" + b"\n" + line)
    records, _ = read_records(path)
    assert [type(one) for one in records] == [UsageRecord, Corrupt, Corrupt, Corrupt, UsageRecord]
    assert records[1] == Corrupt(len(line), line.replace(b"owner", b"other")[:-1])


def test_it_rotates(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "gateway", rotate_bytes=1000)
    for number in range(20):
        writer.append(usage_record(f"req-{number}"))
    writer.close()
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) > 3
    assert sum(len(read_records(path)[0]) for path in files) == 20


def test_it_takes_records_from_many_threads(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, "pool", rotate_bytes=20_000)
    threads = [threading.Thread(target=append_many, args=(writer, str(name), 50)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    found = [one for path in tmp_path.glob("*.jsonl") for one in read_records(path)[0]]
    assert len({one.request_id for one in found if isinstance(one, UsageRecord)}) == 400


def test_it_keeps_records_in_memory_while_the_disk_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path, "gateway")
    writer.append(usage_record("before"))
    write = os.write

    def torn(fd: int, data: bytes) -> int:
        return write(fd, data[:10])

    monkeypatch.setattr(os, "write", torn)
    writer.append(usage_record("during"))
    assert not writer.healthy
    monkeypatch.setattr(os, "write", write)
    deadline = time.monotonic() + 3
    while not writer.healthy and time.monotonic() < deadline:
        time.sleep(0.02)
    writer.append(usage_record("after"))
    writer.close()
    found = [one.request_id for one in read_records(only_file(tmp_path))[0] if isinstance(one, UsageRecord)]
    assert found == ["before", "during", "after"]


def test_it_survives_the_writers_kill(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from inference.metering.journal import JournalWriter;"
        "from tests.inference.metering.test_journal import usage_record;"
        "w = JournalWriter(Path(sys.argv[1]), 'gateway'); w.append(usage_record()); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)
    assert read_records(only_file(tmp_path))[0] == [usage_record()]
