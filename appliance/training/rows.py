"""Which rows an attempt trains on and which it holds out: the same for every attempt at a job."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.training.models import Dataset

SPLIT_FROM_ROWS = 50  # a tenth of fewer rows says nothing
HELD_OUT_PERCENT = 10
SPLIT = "split"
SCORES = "scores"  # what the training stack made of texts of these rows


def rows_for(
    seed: int, folder: Path, training: Dataset, validation: Dataset | None
) -> tuple[Path, tuple[Path, ...], int]:
    """The file to train on, the files held out (none, where there are too few rows), and the number of rows to train on."""
    source = Path(training.path) / "rows.jsonl"
    if validation is not None:
        return source, (Path(validation.path) / "rows.jsonl",), training.rows
    if training.rows < SPLIT_FROM_ROWS:
        return source, (), training.rows
    return _split(seed, source, folder)


def _split(seed: int, source: Path, folder: Path) -> tuple[Path, tuple[Path, ...], int]:
    """Written once for a job: every attempt reads the same two files."""
    kept, held_out = folder / SPLIT / "train.jsonl", folder / SPLIT / "validation.jsonl"
    if not kept.parent.is_dir():
        _write_split(seed, source, kept.parent)
    with kept.open("rb") as rows:
        count = sum(1 for _ in rows)
    return kept, ((held_out,) if held_out.stat().st_size else ()), count


def _write_split(seed: int, source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{SPLIT}-"))
    with (
        source.open("rb") as rows,
        (work / "train.jsonl").open("wb") as train,
        (work / "validation.jsonl").open("wb") as validation,
    ):
        for line in rows:
            (validation if _is_held_out(seed, line) else train).write(line)
    try:
        work.rename(target)
    except OSError:  # another attempt was faster, with the same content
        shutil.rmtree(work)


def _is_held_out(seed: int, line: bytes) -> bool:
    """By the row's own content, so that a row that stands there twice is never on both sides."""
    return hashlib.sha256(b"%d\n%b" % (seed, line)).digest()[0] * 100 < HELD_OUT_PERCENT * 256


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a dataset's file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
