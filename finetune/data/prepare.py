"""One uploaded file to training rows, in three readings: choose the rows, learn their secrets, write them cleaned."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.data import clusters, json_syntax, report, sources
from finetune.data.clusters import CleanedRows
from finetune.data.desensitize.cleaner import Cleaned, Cleaner
from finetune.data.desensitize.placeholders import Placeholders
from finetune.data.errors import DatasetRefused
from finetune.data.files import sha256_of, whole, write_json
from finetune.data.limits import DEFAULT, Limits
from finetune.data.progress import Meter, Progress
from finetune.data.python_syntax import was_broken
from finetune.data.rows import Row, TextRow, line_of
from finetune.data.samples import Samples
from finetune.data.survey import Survey, kept_rows, survey

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
) -> Prepared:
    """Validate, clean and desensitize one uploaded file into `out`; manifest.json is written last.

    `filename` decides the format. `secret` keys the digests in planted.json. `progress` hears of each stage.
    Raises: DatasetRefused; scanner.ScanFailed when the secret scanner itself failed.
    """
    if faults := sources.faults_of_file(source, filename, limits):
        raise DatasetRefused(faults)
    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    before = sha256_of(source)
    cleaner = Cleaner(Placeholders(secret))
    with _scratch(out / SCRATCH) as scratch:
        upload = _Upload(source, filename, limits, scratch)
        meter = Meter(progress)
        found = _choose(upload, meter)
        _learn(upload, found, cleaner, meter)
        written = _write(upload, found, cleaner, out / ROWS, meter)
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


@dataclass
class _Written:
    cleaned: CleanedRows
    left_out: Counter[str] = field(default_factory=Counter)
    samples: Samples = field(default_factory=Samples)

    @property
    def rows(self) -> int:
        return len(self.cleaned)


def _choose(upload: _Upload, meter: Meter) -> Survey:
    found = Survey()
    for so_far in survey(meter.watch("reading", upload.read())):
        found = so_far
    return found


def _learn(upload: _Upload, found: Survey, cleaner: Cleaner, meter: Meter) -> None:
    rows = enumerate(meter.watch("scanning", kept_rows(upload.read(), found)))
    for _ in cleaner.learn((number, row.texts()) for number, row in rows):
        _refuse_too_many(cleaner, upload.limits)


def _write(upload: _Upload, found: Survey, cleaner: Cleaner, path: Path, meter: Meter) -> _Written:
    written = _Written(CleanedRows(found.clusters))
    with whole(path) as file:
        for number, row in enumerate(meter.watch("writing", kept_rows(upload.read(), found))):
            if (line := _cleaned_line(number, row, cleaner, written)) is not None:
                file.write(line)
            _refuse_too_many(cleaner, upload.limits)
        if not written.rows:
            raise DatasetRefused(["no row could be cleaned safely; take the secrets out of the files yourself"])
    return written


def _refuse_too_many(cleaner: Cleaner, limits: Limits) -> None:
    """Each value is remembered, to have the same name everywhere: a table of addresses would fill the memory."""
    if cleaner.num_values > limits.values:
        raise DatasetRefused(
            [f"more than {limits.values} secrets and personal data: it is data rather than code; split it"]
        )


def _cleaned_line(number: int, row: Row, cleaner: Cleaner, written: _Written) -> str | None:
    if number in cleaner.unclean:
        written.left_out["it holds a secret that could not be located"] += 1
        return None
    texts = [cleaner.clean(number, text) for text in row.texts()]
    cleaned = row.with_texts([text.text for text in texts])
    if isinstance(row, TextRow) and isinstance(cleaned, TextRow) and was_broken(row, cleaned):
        written.left_out["it is Python that did not parse any more after cleaning"] += 1
        return None
    if isinstance(row, TextRow) and isinstance(cleaned, TextRow):
        if (whole_row := json_syntax.mended(row, cleaned)) is None:
            written.left_out["it is JSON that did not parse any more after cleaning"] += 1
            return None
        cleaned = whole_row
    written.cleaned.see(number, cleaned)
    _sample(written, row, texts)
    return line_of(cleaned)


def _sample(written: _Written, row: Row, texts: list[Cleaned]) -> None:
    for text in texts[:1] if isinstance(row, TextRow) else texts:
        written.samples.see(written.rows, text)
    if isinstance(row, TextRow):
        written.samples.see_replaced(written.rows, texts[1])  # a path alone is no excerpt worth reading


def _declare(upload: _Upload, found: Survey, cleaner: Cleaner, written: _Written, out: Path) -> Prepared:
    kind, names = sources.kind_of(upload.filename), cleaner.placeholders
    marks = clusters.marks(written.cleaned.numbers, written.cleaned.keys, found.clusters)
    counted = clusters.write(out / CLUSTERS, marks)
    content = report.content(upload.filename, kind, found, counted, written.left_out, names, written.samples)
    write_json(out / REPORT, content)
    with whole(out / PAGE) as file:
        file.write(report.page(content))
    write_json(out / PLANTED, names.planted(MAX_PLANTED))
    files = [_file(out / name) for name in (CLUSTERS, PLANTED, PAGE, REPORT, ROWS)]
    digest = sha256_of(out / ROWS)
    write_json(out / MANIFEST, {"format": FORMAT, "kind": kind, "rows": written.rows, "digest": digest, "files": files})
    return Prepared(kind, written.rows, digest, content)


def _file(path: Path) -> dict[str, Any]:
    return {"path": path.name, "size_bytes": path.stat().st_size, "sha256": sha256_of(path)}
