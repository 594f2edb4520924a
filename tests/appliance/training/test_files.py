"""Uploads: streamed and limited, kept by content below the tenant's own folder, deleted when nobody needs the bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from appliance.tenants.models import Plan, Tenant
from appliance.training import files
from appliance.training.errors import FileInUse, FileRefused
from appliance.training.models import Dataset, StoredFile
from finetune.job import TERMINAL, JobStatus
from tests.appliance.training import processes
from tests.appliance.training.cast import ROWS, Cast
from tests.appliance.training.racing import at_once

pytestmark = pytest.mark.usefixtures("files_dir")
LIMIT = 60_000  # the cast's plan


def store(cast: Cast, content: bytes = ROWS, name: str = "rows.jsonl", tenant: Tenant | None = None) -> StoredFile:
    return files.store(tenant or cast.acme, cast.key, "fine-tune", name, [content])


def on_disk(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def refused(cast: Cast, files_dir: Path, **fields: Any) -> tuple[str | None, str | None]:
    """The field and code of the refusal; nothing is left of the upload."""
    chunks = fields.pop("chunks", [ROWS])
    values = {"purpose": "fine-tune", "filename": "rows.jsonl", **fields}
    with pytest.raises(FileRefused) as caught:
        files.store(cast.acme, cast.key, chunks=chunks, **values)
    assert on_disk(files_dir) == []
    assert not StoredFile.objects.exists()
    assert processes.messages() == []
    return caught.value.param, caught.value.code


def padded(size: int) -> bytes:
    """A valid file of exactly this size."""
    bare = json.dumps({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]}) + "\n"
    return bare.replace('""', '"' + "a" * (size - len(bare)) + '"').encode()


def test_a_stored_file_has_its_bytes_its_row_and_a_wake_up(cast: Cast, files_dir: Path) -> None:
    row = store(cast, name="训练 数据.jsonl")
    assert files.path(row).read_bytes() == ROWS
    assert (row.tenant, row.key, row.purpose, row.filename) == (cast.acme, cast.key, "fine-tune", "训练 数据.jsonl")
    assert (row.bytes, row.sha256, row.status) == (len(ROWS), hashlib.sha256(ROWS).hexdigest(), "uploaded")
    assert on_disk(files_dir) == [f"acme/{row.sha256}"]
    (message,) = processes.messages()
    assert b"appliance.training.tasks.prepare_file" in message


def test_chunks_of_any_size_make_the_same_file(cast: Cast) -> None:
    chunks = [ROWS[:1], b"", ROWS[1:50], ROWS[50:]]
    row = files.store(cast.acme, cast.key, "fine-tune", "rows.jsonl", iter(chunks))
    assert files.path(row).read_bytes() == ROWS


def test_a_chunk_is_on_its_way_to_the_disk_before_the_next_one_is_asked_for(cast: Cast, files_dir: Path) -> None:
    seen = []

    def chunks() -> Iterator[bytes]:
        for part in (padded(50_000)[:40_000], padded(50_000)[40_000:]):
            yield part
            seen.append(sum(path.stat().st_size for path in files_dir.rglob(".upload-*")))

    files.store(cast.acme, cast.key, "fine-tune", "rows.jsonl", chunks())
    assert seen[0] >= 40_000 - io.DEFAULT_BUFFER_SIZE
    assert seen[1] > seen[0]


def test_a_file_at_the_plans_limit_is_taken(cast: Cast) -> None:
    assert store(cast, padded(LIMIT)).bytes == LIMIT


def test_an_upload_over_the_limit_is_read_no_further_and_leaves_nothing(cast: Cast, files_dir: Path) -> None:
    asked = []

    def endless() -> Iterator[bytes]:
        while True:
            asked.append(1)
            yield b"x" * 10_000

    assert refused(cast, files_dir, chunks=endless()) == ("file", "file_too_large")
    assert len(asked) == LIMIT // 10_000 + 1


def test_an_upload_that_breaks_off_leaves_nothing(cast: Cast, files_dir: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield ROWS
        raise ConnectionResetError("the client is gone")

    with pytest.raises(ConnectionResetError):
        files.store(cast.acme, cast.key, "fine-tune", "rows.jsonl", broken())
    assert on_disk(files_dir) == []
    assert not StoredFile.objects.exists()


def test_an_upload_to_a_nearly_full_disk_is_refused_and_leaves_nothing(
    cast: Cast, files_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FREE_BYTES", 1 << 60)
    assert refused(cast, files_dir) == ("file", "disk_full")


def test_an_empty_file_is_refused(cast: Cast, files_dir: Path) -> None:
    assert refused(cast, files_dir, chunks=[]) == ("file", None)
    assert refused(cast, files_dir, chunks=[b"", b""]) == ("file", None)


@pytest.mark.parametrize(
    "content",
    [b"not json\n", b'{"messages": []}\n', b'{"answer": "only"}\n', b"\xff\xfe\n"],
    ids=["no JSON", "no messages", "no question", "no text"],
)
def test_a_file_with_faults_is_refused_before_anything_is_kept(cast: Cast, files_dir: Path, content: bytes) -> None:
    assert refused(cast, files_dir, chunks=[content]) == ("file", "invalid_training_file")


def test_the_refusal_names_the_lines_and_how_many_more_there_are(cast: Cast) -> None:
    with pytest.raises(FileRefused, match=r"(?s)line 1.*line 5.* and 4 more$") as caught:
        store(cast, b"x\n" * 9)
    assert "line 6" not in caught.value.message


def test_the_bytes_of_a_refused_file_do_not_appear_in_the_refusal(cast: Cast) -> None:
    with pytest.raises(FileRefused) as caught:
        store(cast, b'{"messages": "sk-live-4eC39HqLyjWDarjtT1zdp7dc"}\n')
    assert "sk-live" not in caught.value.message


def test_an_archive_of_sources_is_taken(cast: Cast) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("src/a.py", "def add(a, b):\n    return a + b\n")
    assert store(cast, archive.getvalue(), "Sources.ZIP").filename == "Sources.ZIP"


@pytest.mark.parametrize(
    "name",
    ["", "rows.txt", "rows", "a\nb.jsonl", "a\x00b.jsonl", "a\x1b[31m.jsonl", "a\u202eb.jsonl", "\ud800.jsonl",
     "r" * 250 + ".jsonl", "..", "rows.jsonl/.."],
)  # fmt: skip
def test_a_name_that_is_no_plain_name_of_a_known_kind_is_refused(cast: Cast, files_dir: Path, name: str) -> None:
    assert refused(cast, files_dir, filename=name) == ("file", None)


@pytest.mark.parametrize(
    "path", ["/etc/cron.d/rows.jsonl", "../../rows.jsonl", "C:\\data\\rows.jsonl", "..\\rows.jsonl"]
)
def test_of_a_path_only_the_last_name_is_kept_and_nothing_is_written_there(
    cast: Cast, files_dir: Path, path: str
) -> None:
    row = store(cast, name=path)
    assert row.filename == "rows.jsonl"
    assert on_disk(files_dir) == [f"acme/{row.sha256}"]


def test_another_purpose_is_refused(cast: Cast, files_dir: Path) -> None:
    assert refused(cast, files_dir, purpose="assistants") == ("purpose", None)


def test_the_plans_number_of_files_counts_what_is_kept(cast: Cast) -> None:
    Plan.objects.update(max_files=1)
    cast.acme.plan.refresh_from_db()
    cast.file(cast.rivals)
    first = store(cast)
    with pytest.raises(FileRefused, match="keeps 1 files") as caught:
        store(cast)
    assert caught.value.code == "too_many_files"
    files.delete(first)
    assert store(cast).filename == "rows.jsonl"


def test_the_same_bytes_twice_are_one_file_on_disk_and_two_rows(cast: Cast, files_dir: Path) -> None:
    first, second = store(cast), store(cast, name="again.jsonl")
    assert first.pk != second.pk
    assert files.path(first) == files.path(second)
    assert on_disk(files_dir) == [f"acme/{first.sha256}"]


def test_two_tenants_with_the_same_bytes_have_a_file_each(cast: Cast, files_dir: Path) -> None:
    ours, theirs = store(cast), store(cast, tenant=cast.rivals)
    assert on_disk(files_dir) == [f"acme/{ours.sha256}", f"rivals/{ours.sha256}"]
    assert not files.path(ours).samefile(files.path(theirs))
    files.delete(theirs)
    assert files.path(ours).read_bytes() == ROWS


def test_only_the_appliance_reads_a_tenants_folder(cast: Cast, files_dir: Path) -> None:
    before = os.umask(0)
    try:
        row = store(cast)
    finally:
        os.umask(before)
    assert files.tenant_dir("acme") == files_dir / "acme"
    assert stat.S_IMODE((files_dir / "acme").stat().st_mode) == 0o700
    assert stat.S_IMODE(files.path(row).stat().st_mode) & 0o077 == 0


def test_deleting_keeps_the_row_and_removes_the_bytes(cast: Cast, files_dir: Path) -> None:
    row = store(cast)
    files.delete(row)
    assert on_disk(files_dir) == []
    assert StoredFile.objects.get().deleted_at is not None


def test_deleting_keeps_bytes_that_another_row_needs(cast: Cast, files_dir: Path) -> None:
    first, second = store(cast), store(cast)
    files.delete(first)
    assert files.path(second).read_bytes() == ROWS
    files.delete(second)
    assert on_disk(files_dir) == []


def test_deleting_a_file_removes_its_dataset(cast: Cast, tmp_path: Path) -> None:
    row, folder = store(cast), tmp_path / "dataset"
    folder.mkdir()
    (folder / "rows.jsonl").write_text("{}\n")
    Dataset.objects.create(file=row, kind="chat", path=str(folder), digest="d", rows=1, report={})
    files.delete(row)
    assert not Dataset.objects.exists()
    assert not folder.exists()


@pytest.mark.parametrize("role", ["training_file", "validation_file"])
@pytest.mark.parametrize("status", sorted(set(JobStatus) - TERMINAL))
def test_a_file_that_a_job_needs_is_not_deleted(cast: Cast, role: str, status: JobStatus) -> None:
    row = store(cast)
    job = cast.job(status, **{role: row})
    with pytest.raises(FileInUse, match=job.pk) as caught:
        files.delete(row)
    assert (caught.value.param, caught.value.code) == ("file_id", "file_in_use")
    assert files.path(row).exists()
    assert StoredFile.objects.get(pk=row.pk).deleted_at is None


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_file_of_a_job_that_is_over_can_be_deleted_and_the_job_keeps_its_id(cast: Cast, status: JobStatus) -> None:
    row = store(cast)
    job = cast.job(status, training_file=row)
    files.delete(row)
    job.refresh_from_db()
    assert job.training_file_id == row.pk


def test_a_job_of_a_row_with_the_same_bytes_does_not_hold_this_one(cast: Cast) -> None:
    first, second = store(cast), store(cast)
    cast.job(training_file=second)
    files.delete(first)
    assert files.path(second).exists()


def test_uploads_of_the_same_bytes_at_once_all_arrive(cast: Cast, files_dir: Path) -> None:
    rows = at_once(*[lambda: store(cast)] * 6)
    assert len({row.pk for row in rows}) == 6
    assert len(on_disk(files_dir)) == 1


def test_no_row_loses_its_bytes_to_a_deletion_at_the_same_moment(cast: Cast) -> None:
    for number in range(25):
        content = ROWS + padded(200 + number)
        old = store(cast, content)
        new, _ = at_once(partial(store, cast, content), partial(files.delete, old))
        assert files.path(new).is_file(), f"in round {number}"


def test_deletions_of_both_rows_at_once_leave_no_bytes(cast: Cast, files_dir: Path) -> None:
    for _ in range(10):
        first, second = store(cast), store(cast)
        at_once(partial(files.delete, first), partial(files.delete, second))
        assert StoredFile.objects.filter(deleted_at=None).count() == 0
        assert on_disk(files_dir) == []


def test_a_file_deleted_twice_stays_deleted(cast: Cast) -> None:
    row = store(cast)
    files.delete(row)
    again = store(cast)
    files.delete(row)
    assert files.path(again).exists()
    assert StoredFile.objects.get(pk=row.pk).deleted_at < timezone.now()  # type: ignore[operator]
