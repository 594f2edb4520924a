"""Which checkpoints are taken and which are kept."""

from __future__ import annotations

from pathlib import Path

from finetune import manifest
from finetune.train.checkpoints import directory, newest_whole, prune, step_of


def checkpoint(out: Path, step: int, *, whole: bool = True) -> Path:
    path = directory(out, step)
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"w" * 1000)
    if whole:
        manifest.write(path, name=path.name, origin="test", licence="none")
    return path


def test_the_newest_whole_one_is_taken(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 10)
    assert newest_whole(tmp_path) == newest


def test_one_without_a_manifest_is_never_taken(tmp_path: Path) -> None:
    older = checkpoint(tmp_path, 5)
    checkpoint(tmp_path, 10, whole=False)
    assert newest_whole(tmp_path) == older


def test_one_whose_file_was_cut_short_is_never_taken(tmp_path: Path) -> None:
    older = checkpoint(tmp_path, 5)
    (checkpoint(tmp_path, 10) / "weights").write_bytes(b"w" * 999)
    assert newest_whole(tmp_path) == older


def test_one_that_is_still_being_written_is_never_taken(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 5)
    path.rename(path.with_name(f".{path.name}"))
    assert newest_whole(tmp_path) is None
    assert newest_whole(tmp_path / "nothing") is None


def test_the_last_two_are_kept_and_leftovers_go(tmp_path: Path) -> None:
    for step in (3, 20, 100, 9):
        checkpoint(tmp_path, step)
    (tmp_path / ".checkpoint-00000101").mkdir()
    (tmp_path / "checkpoint-notes").mkdir()
    prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint-00000020",
        "checkpoint-00000100",
        "checkpoint-notes",
    ]
    assert step_of(directory(tmp_path, 100)) == 100
    assert step_of(tmp_path / "checkpoint-notes") is None
