"""Private data: what is refused and in which words, what is cleaned, and that no planted secret is in what training reads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from appliance.training.models import Dataset
from ops.cli.demo import private_data
from ops.cli.demo.cast import NORTH, SOUTH
from ops.cli.demo.walk import Shown, StepFailed, Walk, digest, expect, found, ms_since, refusal_of

PROCESSED_S = 120.0
ARCHIVE = "archive"


def refuse_a_malformed_line(walk: Walk) -> Shown:
    """A file with a wrong line is refused at once; line and field are named."""
    content = private_data.malformed()
    refusal = refusal_of(lambda: _upload(walk, NORTH, "facts.jsonl", content))
    expect(refusal, 400, "invalid_training_file", "file")
    if "line 3" not in refusal.message or private_data.ANSWER not in refusal.message:
        raise StepFailed(f"the refusal names neither line 3 nor the field {private_data.ANSWER!r}: {refusal.message}")
    return Shown(digest(content.decode()), {"status": 400, "message": refusal.message}, {"filename": "facts.jsonl"})


def refuse_an_escaping_archive(walk: Walk) -> Shown:
    """An archive with a path that leads outside is refused as a whole."""
    content = private_data.escaping_archive()
    refusal = refusal_of(lambda: _upload(walk, NORTH, "escaping.tar.gz", content))
    expect(refusal, 400, "invalid_training_file", "file")
    if ".." not in refusal.message:
        raise StepFailed(f"the refusal does not name the path: {refusal.message}")
    return Shown(digest(content.hex()), {"status": 400, "message": refusal.message}, {"filename": "escaping.tar.gz"})


def clean_private_data(walk: Walk) -> Shown:
    """Questions, answers and sources are uploaded and cleaned; duplicates go, secrets and people are replaced."""
    begin = time.monotonic()
    content = private_data.north_training()
    uploads = {
        "north": (NORTH, "tidewater.jsonl", content),
        "north validation": (NORTH, "tidewater-held-out.jsonl", private_data.north_validation()),
        ARCHIVE: (NORTH, "looms.tar.gz", private_data.archive()),
        "south": (SOUTH, "copperfield.jsonl", private_data.south_training()),
        "south validation": (SOUTH, "copperfield-held-out.jsonl", private_data.south_validation()),
    }
    for name, (tenant, filename, data) in uploads.items():
        walk.files[name] = _upload(walk, tenant, filename, data)
    for name, (tenant, _, _) in uploads.items():
        _wait_processed(walk, tenant, walk.files[name])
    took_ms = ms_since(begin)
    reports = {name: _report(walk, tenant, walk.files[name]) for name, (tenant, _, _) in uploads.items()}
    measured = _counts(content, reports["north"], reports[ARCHIVE])
    leaks = _leaks(list(walk.files.values()), str(reports))
    if leaks:
        raise StepFailed(f"planted values were found after cleaning: {'; '.join(leaks)}")
    return Shown(
        digest(content.decode()), measured | {"planted_values_left": 0, "took_ms": took_ms},
        {"files": dict(walk.files), "digests": {name: report["digest"] for name, report in reports.items()}},
    )  # fmt: skip


def keep_files_to_their_tenant(walk: Walk) -> Shown:
    """Another tenant's file is as unknown as one that never was."""
    own = walk.files["north"]
    theirs = refusal_of(lambda: walk.client(SOUTH).files.retrieve(own))
    nobodys = refusal_of(lambda: walk.client(SOUTH).files.retrieve("file-000000000000000000000000"))
    if (theirs.status, theirs.code) != (nobodys.status, nobodys.code) or theirs.status != 404:
        raise StepFailed(f"another tenant's file: {theirs.facts()}; an unknown one: {nobodys.facts()}")
    return Shown(own, {"status": 404, "code": theirs.code}, {"file": own, "owner": NORTH, "asked_by": SOUTH})


def _upload(walk: Walk, tenant: str, filename: str, content: bytes) -> str:
    return walk.client(tenant).files.create(file=(filename, content), purpose="fine-tune").id


def _wait_processed(walk: Walk, tenant: str, file_id: str) -> None:
    def look() -> bool:
        file = walk.client(tenant).files.retrieve(file_id)
        if file.status == "error":
            raise StepFailed(f"{file.filename} was refused: {file.status_details}")
        return file.status == "processed"

    found(look, PROCESSED_S, f"{file_id} was not cleaned (is the worker running?)", 0.2)


def _report(walk: Walk, tenant: str, file_id: str) -> dict[str, Any]:
    answer: Any = walk.client(tenant).get(f"/files/{file_id}/report", cast_to=object)
    return dict(answer)


def _counts(content: bytes, facts: dict[str, Any], sources: dict[str, Any]) -> dict[str, Any]:
    """What the two reports count, and that it is what was planted.

    Raises: StepFailed with what was found instead.
    """
    counted = {
        "rows_in": facts["report"]["rows"]["read"],
        "rows_kept": facts["rows"],
        "exact_duplicates": facts["report"]["duplicates"]["exact_dropped"],
        "replaced": _replaced(facts),
        "source_files_in": sources["report"]["rows"]["read"],
        "source_files_kept": sources["rows"],
        "source_files_dropped": _dropped(sources),
        "replaced_in_sources": _replaced(sources),
    }
    rows = content.count(b"\n")
    planted = {
        "rows_in": rows,
        "rows_kept": rows - private_data.NUM_DUPLICATES,
        "exact_duplicates": private_data.NUM_DUPLICATES,
        "replaced": len(private_data.PLANTED),
        "source_files_in": private_data.NUM_SOURCES,
        "source_files_kept": private_data.NUM_SOURCES_KEPT,
        "source_files_dropped": private_data.NUM_SOURCES - private_data.NUM_SOURCES_KEPT,
        "replaced_in_sources": private_data.NUM_SECRETS_IN_SOURCES,
    }
    odd = {name: (counted[name], value) for name, value in planted.items() if counted[name] != value}
    if odd:
        raise StepFailed(f"the reports count otherwise than was planted (found, planted): {odd}")
    return counted


def _replaced(report: dict[str, Any]) -> int:
    return sum(rule["replacements"] for rule in report["report"]["replacements"].values())


def _dropped(report: dict[str, Any]) -> int:
    """Files that filters dropped, and copies."""
    counts = report["report"]
    by_filters = sum(sum(rule["dropped"].values()) for rule in counts["filters"].values())
    return int(by_filters + counts["duplicates"]["exact_dropped"] + counts["duplicates"]["near_dropped"])


def _leaks(file_ids: list[str], reports: str) -> list[str]:
    """Where a planted value still is: in the reports, or in any file of the datasets."""
    faults = [f"{name} in a report" for name, value in private_data.PLANTED.items() if value in reports]
    for dataset in Dataset.objects.filter(file__in=file_ids):
        for path in sorted(Path(dataset.path).rglob("*")):
            text = path.read_bytes() if path.is_file() else b""
            faults += [
                f"{name} in {path.name} of {dataset.file_id}"
                for name, value in private_data.PLANTED.items()
                if value.encode() in text
            ]
    return faults
