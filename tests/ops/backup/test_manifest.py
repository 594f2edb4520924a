"""A backup's manifest: what is missing, changed or added is named, and nothing leads outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.backup import manifest
from ops.backup.copying import copy_tree
from ops.backup.errors import NotWhole
from ops.backup.manifest import DUMP, Facts, File, Head, Ledger, Manifest
from ops.slots.files import sha256_of

FACTS = Facts("2026-01-01T00:00:00+00:00", 180004, 1, ("app.0001",), (), Ledger(1, 2, 3, 4), Head(1, "ab"))


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    source, folder = tmp_path / "data" / "files", tmp_path / "backup"
    (source / "acme").mkdir(parents=True)
    (source / "acme" / "one").write_bytes(b"one" * 1000)
    folder.mkdir()
    (folder / DUMP).write_bytes(b"dump")
    files = [File(DUMP, 4, sha256_of(folder / DUMP)), *copy_tree(source, folder, [])]
    manifest.write(folder, Manifest("0", "/old", "/cache", 18, FACTS, (), tuple(files)))
    return folder


def faults(folder: Path) -> tuple[str, ...]:
    with pytest.raises(NotWhole) as caught:
        manifest.verify(folder, manifest.read(folder))
    return caught.value.faults


def test_it_reads_back_what_was_written(backup: Path) -> None:
    read = manifest.read(backup)
    manifest.verify(backup, read)
    assert (read.facts, [file.path for file in read.files]) == (FACTS, [DUMP, "data/files/acme/one"])
    assert (backup / "manifest.json").stat().st_mode & 0o077 == 0


def test_a_flipped_byte_is_named(backup: Path) -> None:
    path = backup / "data/files/acme/one"
    content = bytearray(path.read_bytes())
    content[1234] ^= 1
    path.write_bytes(content)
    assert faults(backup) == ("data/files/acme/one: changed",)


def test_a_missing_a_shorter_and_an_added_file_are_named(backup: Path) -> None:
    (backup / "data/files/acme/one").unlink()
    (backup / DUMP).write_bytes(b"dum")
    (backup / "data/files/acme/two").write_bytes(b"")
    added, shorter, missing = sorted(faults(backup), key=len)
    assert (added, shorter) == ("database.dump: 3 bytes instead of 4", "data/files/acme/two: not in the manifest")
    assert missing.startswith("data/files/acme/one: can't be read")


def test_a_link_in_the_place_of_a_file_is_no_file(backup: Path, tmp_path: Path) -> None:
    path = backup / "data/files/acme/one"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert faults(backup) == ("data/files/acme/one: not a plain file",)


def test_a_linked_folder_is_not_followed(backup: Path, tmp_path: Path) -> None:
    (backup / "data/more").symlink_to(tmp_path)
    assert faults(backup) == ("data/more: not in the manifest",)


def edit(backup: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = backup / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    "path",
    [
        "../etc/passwd",
        "data/../../x",
        "data/files/../../x",
        "/etc/passwd",
        "data",
        "other/x",
        "data//files/x",
        "data/./files/x",
        "data/files/\0",
        "data/engines/cpu/bin/python",
        "data/pgdata/postgresql.auto.conf",
        "data/restore.begun",
    ],
)
def test_a_path_that_leads_outside_is_refused(backup: Path, path: str) -> None:
    edit(backup, lambda value: value["files"][1].update(path=path))
    with pytest.raises(NotWhole, match="leads out"):
        manifest.read(backup)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(format=2),
        lambda v: v.pop("facts"),
        lambda v: v["files"].append({"path": DUMP}),
        lambda v: v.update(files=3),
        lambda v: v["facts"]["ledger"].update(more=1),
    ],
)
def test_a_manifest_that_is_not_understood_is_refused(backup: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(backup, change)
    with pytest.raises(NotWhole, match="damaged"):
        manifest.read(backup)


def test_a_directory_without_a_manifest_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(NotWhole, match="no complete backup"):
        manifest.read(tmp_path)
