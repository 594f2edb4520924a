"""One uploaded file to training rows, in three readings: choose the rows, learn their secrets, write them cleaned."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.data import clusters, report, sources
from finetune.data.desensitize.cleaner import Cleaner
from finetune.data.desensitize.placeholders import Placeholders
from finetune.data.errors import DatasetRefused
from finetune.data.files import sha256_of, whole, write_json
from finetune.data.licences.tree import LicenceTree
from finetune.data.limits import DEFAULT, Limits
from finetune.data.progress import Meter, Progress
from finetune.data.room import Room
from finetune.data.rows import Row
from finetune.data.survey import Survey, kept_rows, survey
from finetune.data.tally import Tally
from finetune.data.writing import Written, refuse_too_many, write

ROWS, CLUSTERS, REPORT, PAGE = "rows.jsonl", "clusters.txt", "report.json", "report.html"
PLANTED, MANIFEST = "planted.json", "manifest.json"
SCRATCH = ".scratch"
FORMAT = 1
MAX_PLANTED = 200


@dataclass(frozen=True)
class Prepared:
    """A prepared data set. `digest` is the SHA-256 of rows.jsonl."""

    kind: str
    rows: int
    digest: str
    report: dict[str, Any]


def prepare(
    source: Path,
    filename: str,
    out: Path,
    secret: bytes,
    progress: Progress = lambda stage, rows, characters: None,
    limits: Limits = DEFAULT,
    unwanted_licences: tuple[str, ...] = (),
) -> Prepared:
    """Validate, clean and desensitize one uploaded file into `out`; manifest.json is written last.

    `filename` decides the format. `secret` keys the digests in planted.json. `progress` hears of each stage. Source files under
    `unwanted_licences` (families or SPDX ids) are dropped.
    Raises: DatasetRefused; NoRoom where the disk is nearly full; scanner.ScanFailed when the secret scanner itself failed.
    """
    if faults := sources.faults_of_file(source, filename, limits):
        raise DatasetRefused(faults)
    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    room = Room(out, limits.free_bytes)
    room.need(sources.scratch_bytes(source, filename))
    before = sha256_of(source)
    cleaner = Cleaner(Placeholders(secret))
    with _scratch(out / SCRATCH) as scratch:
        upload = _Upload(source, filename, limits, scratch)
        meter = Meter(progress)
        found = _choose(upload, meter, unwanted_licences)
        _learn(upload, found, cleaner, meter)
        rows = enumerate(meter.watch("writing", kept_rows(upload.read(), found)))
        written = write(rows, found, cleaner, limits, room, out / ROWS, scratch)
    if sha256_of(source) != before:
        (out / ROWS).unlink()
        raise DatasetRefused(["the file was changed while it was read; upload it again"])
    return _declare(upload, found, cleaner, written, out)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards; what a killed process left there is removed first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Upload:
    source: Path
    filename: str
    limits: Limits
    scratch: Path

    def read(self) -> Iterator[Row | Any]:
        return sources.read(self.source, self.filename, self.limits, self.scratch)


def _choose(upload: _Upload, meter: Meter, unwanted_licences: tuple[str, ...]) -> Survey:
    members = sources.members(upload.source, upload.filename, upload.limits, upload.scratch)
    tally = Tally(LicenceTree.of(members, upload.limits.licence_bytes), unwanted_licences)
    found = Survey()
    for so_far in survey(meter.watch("reading", upload.read()), upload.limits, tally):
        found = so_far
    return found


def _learn(upload: _Upload, found: Survey, cleaner: Cleaner, meter: Meter) -> None:
    rows = enumerate(meter.watch("scanning", kept_rows(upload.read(), found)))
    for _ in cleaner.learn((number, row.texts()) for number, row in rows):
        refuse_too_many(cleaner, upload.limits)


def _declare(upload: _Upload, found: Survey, cleaner: Cleaner, written: Written, out: Path) -> Prepared:
    kind, names = sources.kind_of(upload.filename), cleaner.placeholders
    counted = clusters.write(out / CLUSTERS, written.cleaned.marks())
    content = report.content(upload.filename, kind, found, written, counted, names)
    write_json(out / REPORT, content)
    with whole(out / PAGE) as file:
        file.write(report.page(content))
    write_json(out / PLANTED, names.planted(MAX_PLANTED))
    files = [_file(out / name) for name in (CLUSTERS, PLANTED, PAGE, REPORT, ROWS)]
    digest = sha256_of(out / ROWS)
    write_json(
        out / MANIFEST, {"format": FORMAT, "kind": kind, "rows": len(written.cleaned), "digest": digest, "files": files}
    )
    return Prepared(kind, len(written.cleaned), digest, content)


def _file(path: Path) -> dict[str, Any]:
    return {"path": path.name, "size_bytes": path.stat().st_size, "sha256": sha256_of(path)}
