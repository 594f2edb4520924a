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
from finetune.data import clusters
from finetune.data.clusters import Mark
from finetune.data.split import FROM_ROWS, held_out

SPLIT = "split"
SCORES = "scores"  # what the training stack made of texts of these rows


def rows_for(
    seed: int, folder: Path, training: Dataset, validation: Dataset | None
) -> tuple[Path, tuple[Path, ...], int]:
    """The file to train on, the files held out (none, where there are too few rows), and the number of rows to train on."""
    source = Path(training.path) / "rows.jsonl"
    if validation is not None:
        return source, (Path(validation.path) / "rows.jsonl",), training.rows
    if training.rows < FROM_ROWS:
        return source, (), training.rows
    return _split(seed, source, folder)


def said_of(num_train: int, training: Dataset, validation: Dataset | None) -> str:
    """What a job's events say of its rows."""
    counts = training.report.get("clusters", {})
    of = f" of {training.rows}" + (f" in {counts['clusters']} clusters" if "clusters" in counts else "")
    if validation is not None:
        return f"{num_train} rows to train on, {validation.rows} of validation_file to compare with"
    if training.rows < FROM_ROWS:
        return f"{num_train} rows to train on; fewer than {FROM_ROWS} are not split"
    return f"{num_train} rows to train on, {training.rows - num_train}{of} held out"


def _split(seed: int, source: Path, folder: Path) -> tuple[Path, tuple[Path, ...], int]:
    """Written once for a job: every attempt reads the same two files."""
    kept, validation = folder / SPLIT / "train.jsonl", folder / SPLIT / "validation.jsonl"
    if not kept.parent.is_dir():
        _write_split(seed, source, kept.parent)
    with kept.open("rb") as rows:
        count = sum(1 for _ in rows)
    return kept, ((validation,) if validation.stat().st_size else ()), count


def _write_split(seed: int, source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{SPLIT}-"))
    flags = held_out(lambda: _marks(source), seed)
    with (
        source.open("rb") as rows,
        (work / "train.jsonl").open("wb") as train,
        (work / "validation.jsonl").open("wb") as validation,
    ):
        for line, is_held_out in zip(rows, flags, strict=True):
            (validation if is_held_out else train).write(line)
    try:
        work.rename(target)
    except OSError:  # another attempt was faster, with the same content
        shutil.rmtree(work)


def _marks(source: Path) -> Iterator[Mark]:
    """What the cleaning wrote beside the rows. Datasets made before it did: only equal rows belong together."""
    beside = source.with_name("clusters.txt")
    if beside.is_file():
        yield from clusters.read(beside)
        return
    first: dict[int, int] = {}
    with source.open("rb") as rows:
        for number, line in enumerate(rows, 1):
            key = int.from_bytes(hashlib.sha256(line).digest()[:8])
            yield Mark(key, first.setdefault(key, number))


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a dataset's file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
