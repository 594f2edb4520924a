"""Uploads become datasets through the real pipeline: once, whole, with the reason where they can't."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from appliance.training import datasets, files
from appliance.training.datasets import BeingMade, ensure_dataset
from appliance.training.errors import AttemptFailed, BrokeOff
from appliance.training.models import Dataset, StoredFile
from tests.appliance.training.cast import Cast
from tests.appliance.training.racing import at_once
from tests.finetune.data.archives import code, zipped

SECRET = "mei.lin@example-company.com"
QUESTIONS = ("the capital of France", "the fastest sort for short lists", "a safe way to delete a file in Go")
ROWS = "".join(
    json.dumps({"question": f"What is {text}? Ask {SECRET}.", "answer": f"An answer about {text}."}) + "\n"
    for text in QUESTIONS
).encode()


@pytest.fixture
def folder(files_dir: Path) -> Path:
    """Acme's datasets."""
    return files_dir.parent / "datasets" / "acme"


def store(cast: Cast, content: bytes = ROWS, name: str = "rows.jsonl") -> StoredFile:
    """A file that got past the first check, whatever is in it."""
    row = cast.file(filename=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    files.path(row).parent.mkdir(parents=True, exist_ok=True)
    files.path(row).write_bytes(content)
    return row


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_becomes_a_dataset_with_cleaned_rows_and_a_report(cast: Cast, folder: Path) -> None:
    file = store(cast)
    row = ensure_dataset(file)
    rows = (Path(row.path) / "rows.jsonl").read_bytes()
    file.refresh_from_db()
    assert (row.file, row.kind, row.rows, row.path) == (file, "chat", len(QUESTIONS), str(folder / file.pk))
    assert row.digest == hashlib.sha256(rows).hexdigest()
    assert SECRET.encode() not in rows
    assert SECRET not in json.dumps(row.report)
    assert row.report == json.loads((Path(row.path) / "report.json").read_text())
    assert (file.status, file.status_details) == ("processed", "")
    assert visible(folder) == [file.pk]


def test_a_dataset_is_made_once_and_again_when_its_folder_was_lost(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = counted(monkeypatch)
    file = store(cast)
    first = ensure_dataset(file)
    assert ensure_dataset(file) == first
    assert len(runs) == 1
    shutil.rmtree(first.path)
    second = ensure_dataset(file)
    assert (second.digest, second.path) == (first.digest, first.path)
    assert (Path(second.path) / "manifest.json").is_file()
    assert Dataset.objects.get() == second


def test_of_several_at_once_one_makes_the_dataset(cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted(monkeypatch)
    file = store(cast)
    rows = [row for row in at_once(*[lambda: ensure_dataset(file)] * 3) if not isinstance(row, BeingMade)]
    assert {row.pk for row in rows} == {Dataset.objects.get().pk}
    assert len(runs) == 1


def test_a_file_that_can_not_become_a_dataset_says_why(cast: Cast, folder: Path) -> None:
    file = store(cast, ROWS + b"not json\n")
    with pytest.raises(AttemptFailed, match=r"rows\.jsonl: line 4") as caught:
        ensure_dataset(file)
    file.refresh_from_db()
    assert caught.value.code == "invalid_training_file"
    assert file.status == "error"
    assert "line 4" in file.status_details
    assert visible(folder) == []
    assert not Dataset.objects.exists()


def test_files_under_a_licence_that_the_operator_does_not_want_are_left_out(
    cast: Cast, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = zipped(
        tmp_path / "x", {"a.py": code("a"), "b.py": "# SPDX-License-Identifier: GPL-3.0-only\n" + code("b")}
    )
    assert ensure_dataset(store(cast, content.read_bytes(), "free.zip")).rows == 2
    monkeypatch.setattr(settings, "ENV", replace(settings.ENV, unwanted_licences=("strong_copyleft", "SSPL-1.0")))
    row = ensure_dataset(store(cast, content.read_bytes(), "strict.zip"))
    assert row.rows == 1
    assert row.report["filters"]["licence"]["dropped"] == {"its licence is not wanted: strong copyleft": 1}
    assert row.report["unwanted_licences"] == ["strong_copyleft", "SSPL-1.0"]


def test_a_name_like_an_option_is_a_name(cast: Cast, folder: Path) -> None:
    assert ensure_dataset(store(cast, name="--out.jsonl")).rows == len(QUESTIONS)


def test_a_fault_of_ours_is_tried_again_a_few_times_and_shows_no_path(cast: Cast, folder: Path) -> None:
    file = store(cast)
    files.path(file).unlink()
    for _ in range(datasets.MAX_TRIES - 1):
        with pytest.raises(BrokeOff):
            ensure_dataset(file)
    with pytest.raises(AttemptFailed) as caught:
        ensure_dataset(file)
    assert caught.value.code == "server_error"
    assert "/" not in caught.value.message
    assert visible(folder) == []
    assert StoredFile.objects.get().status == "error"


def test_without_room_on_the_disk_the_file_says_so(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = store(cast)
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\nexit {datasets.NO_ROOM}\n")
    script.chmod(0o700)
    monkeypatch.setattr(datasets.sys, "executable", str(script))
    with pytest.raises(AttemptFailed) as failed:
        ensure_dataset(file)
    file.refresh_from_db()
    assert (failed.value.code, file.status) == ("disk_full", "error")
    assert "nearly full" in file.status_details


def test_cleaning_that_takes_too_long_is_given_up(cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "TIMEOUT_S", 0.01)
    with pytest.raises(AttemptFailed, match="in parts"):
        ensure_dataset(store(cast))
    assert StoredFile.objects.get().status == "error"


def test_a_file_that_is_deleted_meanwhile_leaves_no_dataset(
    cast: Cast, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store(cast)
    counted(monkeypatch, lambda: files.delete(file))
    with pytest.raises(AttemptFailed, match="deleted meanwhile") as caught:
        ensure_dataset(file)
    assert caught.value.code == "file_not_found"
    assert visible(folder) == []
    assert not Dataset.objects.exists()


def test_what_a_killed_worker_left_is_removed_by_the_next_try(cast: Cast, folder: Path) -> None:
    file = store(cast)
    left = folder / f".{file.pk}-abc123"
    left.mkdir(parents=True)
    (left / "rows.jsonl").write_text("{}\n")
    (folder / file.pk).mkdir()
    (folder / file.pk / "rows.jsonl").write_text("half\n")
    row = ensure_dataset(file)
    assert visible(folder) == [file.pk]
    assert "half" not in (Path(row.path) / "rows.jsonl").read_text()


def counted(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None] = lambda: None) -> list[StoredFile]:
    """The files that the real pipeline ran on from now on; `then` happens after each run."""
    runs: list[StoredFile] = []
    run: Any = datasets._run

    def run_and_count(file: StoredFile, work: Path, heart: object) -> dict[str, Any]:
        told: dict[str, Any] = run(file, work, heart)
        runs.append(file)
        then()
        return told

    monkeypatch.setattr(datasets, "_run", run_and_count)
    return runs
