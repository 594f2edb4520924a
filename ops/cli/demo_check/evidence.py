"""What claims are held against: rows by plain SQL, files by their bytes. Nothing here writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

NORTH, SOUTH = "demo-north", "demo-south"
PEOPLE = ("demo-requester", "demo-approver")

# The checker's own list of what the demo plants, in halves, so that scanners of this repository find nothing.
PLANTED = tuple(
    "".join(halves)
    for halves in (
        ("qiao.lin", "@tidewater-looms.cn"),
        ("1385", "5520147"),
        ("11010519", "491231002X"),
        ("AKIA", "Q3EGRT5WVJX2MNLD"),
        ("ghp_", "wV4s9LqZ2mXc7RtB1nKy8JdF3hGpA6eUo5Ti"),
    )
)


@dataclass(frozen=True)
class Evidence:
    """The database and the data directory of the appliance that walked."""

    connection: psycopg.Connection[Any]
    data_dir: Path

    def all(self, query: str, *values: object) -> list[dict[str, Any]]:
        """All rows of a query."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), values).fetchall()

    def one(self, query: str, *values: object) -> dict[str, Any] | None:
        """The first row of a query."""
        return next(iter(self.all(query, *values)), None)

    def ledger(self, request: object) -> dict[str, Any] | None:
        """The ledger's row of a request."""
        return self.one("SELECT * FROM ledger_ledgerentry WHERE request_id = %s", request)

    def inside(self, path: str) -> Path | None:
        """A path that a row names, when it lies in the data directory."""
        full = Path(path)
        return full if full.resolve().is_relative_to(self.data_dir.resolve()) else None


def sha256(path: Path) -> str:
    """A file's SHA-256; an absent one has none."""
    if not path.is_file():
        return "absent"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_faults(folder: Path, digest: str) -> Iterator[str]:
    """What differs between a folder, its manifest, and the digest it is known by."""
    manifest = folder / "manifest.json"
    if sha256(manifest) != digest:
        yield f"the manifest's digest is {sha256(manifest)[:12]}, the row says {digest[:12]}"
        return
    listed = {file["path"]: file["sha256"] for file in json.loads(manifest.read_bytes())["files"]}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    if there != set(listed):
        yield f"files and manifest differ: {sorted(there ^ set(listed))}"
    yield from (f"{name} was changed" for name, known in listed.items() if sha256(folder / name) != known)


def planted_in(folder: Path) -> Iterator[str]:
    """The files below a folder that hold a planted value."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if any(value.encode() in content for value in PLANTED):
                yield str(path)
