"""Claims about private data: what the datasets hold on the disk, and that no planted value is where it must not be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ops.cli.demo_check.evidence import NORTH, PLANTED, SOUTH, Evidence, planted_in, sha256

# What a careful cleaner leaves in: the company's facts, and one of the two schedulers of the source tree.
KEPT = {"north": ("Quillhopper", "Ambergris", "7431"), "archive": ("looms/settings.py", "next_order")}
REFUSALS = {"facts.jsonl": ("line 3", "answer"), "escaping.tar.gz": ("..",)}


def refused(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The upload was refused with the place of the fault, and nothing of it was kept."""
    missing = [word for word in REFUSALS[shown["filename"]] if word not in measured["message"]]
    if measured["status"] != 400 or missing:
        yield f"the refusal does not name {', '.join(missing) or 'its status'}"
    kept = "SELECT 1 FROM training_storedfile WHERE tenant_id = %s AND filename = %s"
    if evidence.all(kept, NORTH, shown["filename"]):
        yield f"{shown['filename']} was kept"


def cleaned(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """Each dataset on the disk has the digest it is known by, the counted rows, the facts, and no planted value."""
    for name, file_id in shown["files"].items():
        yield from (f"{name}: {fault}" for fault in _dataset_faults(name, file_id, shown["digests"][name], evidence))
    counted = {"rows_kept": "north", "source_files_kept": "archive"}
    for said, name in counted.items():
        row = _dataset(evidence, shown["files"][name])
        if row is None or row["rows"] != measured[said]:
            yield f"{said} is not what the dataset's row says"
    yield from _duplicate_faults(measured, shown["files"]["north"], evidence)
    if measured["planted_values_left"] != 0:
        yield "the report itself says that planted values are left"
    yield from _leaks(evidence)


def _duplicate_faults(measured: dict[str, Any], file_id: str, evidence: Evidence) -> Iterator[str]:
    """The upload itself, counted again: each line once is what cleaning should have kept."""
    file = evidence.one("SELECT tenant_id, sha256 FROM training_storedfile WHERE id = %s", file_id)
    if file is None:
        return
    lines = (evidence.data_dir / "files" / file["tenant_id"] / file["sha256"]).read_bytes().splitlines()
    counted = (len(lines), len(set(lines)), len(lines) - len(set(lines)))
    said = (measured["rows_in"], measured["rows_kept"], measured["exact_duplicates"])
    if counted != said or counted[2] < 1:
        yield f"the upload has {counted[0]} lines, {counted[1]} of them different; the report says {said[0]}, {said[1]}"


def _dataset(evidence: Evidence, file_id: str) -> dict[str, Any] | None:
    return evidence.one(
        "SELECT d.*, f.tenant_id, f.status, f.sha256 FROM training_dataset d JOIN training_storedfile f ON f.id = d.file_id"
        " WHERE f.id = %s",
        file_id,
    )


def _dataset_faults(name: str, file_id: str, digest: str, evidence: Evidence) -> Iterator[str]:
    row = _dataset(evidence, file_id)
    folder = evidence.inside(row["path"]) if row is not None else None
    if row is None or folder is None or row["status"] != "processed" or row["tenant_id"] not in {NORTH, SOUTH}:
        yield f"{file_id} has no dataset"
        return
    rows = folder / "rows.jsonl"
    if not digest == row["digest"] == sha256(rows):
        yield f"digests differ: report {digest[:12]}, row {row['digest'][:12]}, file {sha256(rows)[:12]}"
        return
    lines = rows.read_text(encoding="utf-8").splitlines()
    if len(lines) != row["rows"] or len(set(lines)) != len(lines):
        yield f"{len(lines)} rows ({len(set(lines))} different), the dataset's row says {row['rows']}"
    text = "\n".join(json.dumps(json.loads(line), ensure_ascii=False) for line in lines)
    yield from (f"{word!r} was lost in cleaning" for word in KEPT.get(name, ()) if word not in text)
    yield from (f"{path} holds a planted value" for path in planted_in(folder))
    stored = evidence.data_dir / "files" / row["tenant_id"] / row["sha256"]
    if sha256(stored) != row["sha256"]:
        yield "the upload's own bytes are not what its row says"
    elif name == "north" and not any(value.encode() in stored.read_bytes() for value in PLANTED):
        yield "nothing was planted in the upload"


def _leaks(evidence: Evidence) -> Iterator[str]:
    """Planted values outside of the uploads: in datasets, attempts, logs, and what the database says of them."""
    for kind in ("datasets", "jobs", "logs"):
        yield from (f"{path} holds a planted value" for path in planted_in(evidence.data_dir / kind))
    texts = evidence.all(
        "SELECT report::text AS text FROM training_dataset UNION ALL SELECT message || coalesce(data::text, '')"
        " FROM training_jobevent UNION ALL SELECT status_details FROM training_storedfile"
        " UNION ALL SELECT checks::text FROM training_evaluation"
    )
    if any(value in row["text"] for row in texts for value in PLANTED):
        yield "the database holds a planted value in a report, an event or a check"


def kept_apart(measured: dict[str, Any], shown: dict[str, Any], evidence: Evidence) -> Iterator[str]:
    """The file is its owner's, and the one who asked is somebody else."""
    row = evidence.one("SELECT tenant_id FROM training_storedfile WHERE id = %s", shown["file"])
    if row is None or row["tenant_id"] != shown["owner"] or shown["asked_by"] == shown["owner"]:
        yield f"{shown['file']} is not {shown['owner']}'s, or its owner asked"
    if measured["status"] != 404:
        yield f"answered with {measured['status']}"
