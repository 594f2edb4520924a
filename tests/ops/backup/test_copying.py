"""Copies of a backup: whole, private, and what a killed one left is removed by the next."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ops.backup.copying import begin, copy_tree, publish, put_back
from ops.backup.errors import BadTarget, NotEnoughSpace
from ops.backup.manifest import Manifest
from ops.backup.space import GIB, require_space, size_of
from tests.ops.backup.test_manifest import FACTS


def test_it_copies_plain_files_and_notes_the_rest(tmp_path: Path) -> None:
    source, notes = tmp_path / "jobs", list[str]()
    (source / "a" / "home").mkdir(parents=True)
    for name in ("a/log", "a/.half", "a/home/junk"):
        (source / name).write_text(name)
    (source / "a" / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "a" / "pipe")
    files = list(copy_tree(source, tmp_path / "backup", notes))
    assert [file.path for file in files] == ["data/jobs/a/log"]
    assert [note.split()[0] for note in notes] == ["jobs/a/link", "jobs/a/pipe"]
    assert (tmp_path / "backup/data/jobs/a/log").stat().st_mode & 0o077 == 0


def test_what_is_deleted_meanwhile_is_noted(tmp_path: Path) -> None:
    source, notes = tmp_path / "files", list[str]()
    source.mkdir()
    for name in ("one", "two"):
        (source / name).write_text(name)
    copied = copy_tree(source, tmp_path / "backup", notes)
    next(copied)
    (source / "two").unlink()
    assert list(copied) == []
    assert notes == ["files/two was removed while the backup was made"]


def test_links_to_folders_and_in_the_place_of_an_entry_are_noted(tmp_path: Path) -> None:
    notes = list[str]()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "one").write_text("one")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "acme").symlink_to(tmp_path / "disk")
    (tmp_path / "secret_key").symlink_to(tmp_path / "disk" / "one")
    for name in ("files", "secret_key"):
        assert list(copy_tree(tmp_path / name, tmp_path / "backup", notes)) == []
    assert [note.split()[0] for note in notes] == ["files/acme", "secret_key"]


def test_an_entry_that_lies_on_another_disk_is_copied(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "one").write_text("one")
    (tmp_path / "files").symlink_to(tmp_path / "disk")
    assert [file.path for file in copy_tree(tmp_path / "files", tmp_path / "backup", [])] == ["data/files/one"]
    assert size_of(tmp_path / "files") == 3


def test_a_directory_that_cannot_be_read_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs").mkdir()

    def closed(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(PermissionError):
        list(copy_tree(tmp_path / "jobs", tmp_path / "backup", []))


def test_what_is_put_back_is_its_owners_only(tmp_path: Path) -> None:
    (tmp_path / "files" / "acme").mkdir(parents=True)
    (tmp_path / "files" / "acme" / "one").write_text("one")
    files = tuple(copy_tree(tmp_path / "files", tmp_path / "backup", []))
    put_back(tmp_path / "backup", Manifest("0", "/old", "/cache", 18, FACTS, (), files), tmp_path / "new")
    assert (tmp_path / "new/files/acme/one").read_text() == "one"
    assert [path for path in (tmp_path / "new").rglob("*") if path.stat().st_mode & 0o077] == []


def test_an_absent_directory_gives_nothing(tmp_path: Path) -> None:
    assert list(copy_tree(tmp_path / "trust", tmp_path / "backup", [])) == []


def test_it_takes_a_new_or_an_empty_target_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "b"
    for _ in range(2):  # the second one finds an empty directory
        fresh = begin(target)
        publish(fresh, target)
    (target / "x").write_text("")
    with pytest.raises(BadTarget, match="there already"):
        begin(target)
    with pytest.raises(BadTarget, match="does not exist"):
        begin(tmp_path / "no" / "b")


def test_what_a_killed_backup_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "b.new" / "data").mkdir(parents=True)
    fresh = begin(tmp_path / "b")
    assert fresh == tmp_path / "b.new"
    assert not list(fresh.iterdir())
    assert fresh.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_is_no_unfinished_backup_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "b.new").mkdir()
    (tmp_path / "b.new" / "letters").write_text("mine")
    with pytest.raises(BadTarget, match="no unfinished backup"):
        begin(tmp_path / "b")
    assert (tmp_path / "b.new" / "letters").read_text() == "mine"


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(NotEnoughSpace, match=r"needs \d+\.\d\d GiB"):
        require_space(tmp_path / "not" / "there", shutil.disk_usage(tmp_path).free + GIB, "the backup")
    require_space(tmp_path, 1, "the backup")


def test_a_disk_that_fills_up_in_the_middle_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "one").write_text("one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotEnoughSpace, match="full"):
        list(copy_tree(tmp_path / "files", tmp_path / "backup", []))


def test_sizes_count_what_is_copied(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "home").mkdir(parents=True)
    (tmp_path / "jobs" / "home" / "junk").write_bytes(b"x" * 1000)
    (tmp_path / "jobs" / "log").write_bytes(b"x" * 10)
    sizes: Any = [size_of(tmp_path / name) for name in ("jobs", "jobs/log", "absent")]
    assert sizes == [10, 10, 0]
