"""What an installed slot is made of, by the lists that pip keeps (RECORD): its digest, and a check of every file.

The digest leaves out what differs between two equal installations: byte code, and the scripts in bin/, whose first line
holds the slot's own path.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ops.slots.errors import SlotBroken
from ops.slots.files import sha256_of

MAX_PROBLEMS = 20


@dataclass(frozen=True, order=True)
class Entry:
    """One installed file: its path within site-packages (or above it, for headers and data) and its SHA-256 in hex."""

    path: str
    sha256: str


def site_packages(slot: Path) -> Path:
    """The slot's one package directory.

    Raises: SlotBroken when the environment has none.
    """
    found = sorted((slot / "lib").glob("python3.*/site-packages"))
    if not found:
        raise SlotBroken(f"{slot} holds no Python environment")
    return found[0]


def installed_count(slot: Path) -> int:
    """How many distributions are installed so far."""
    return sum(1 for _ in site_packages(slot).glob("*.dist-info"))


def recorded(slot: Path) -> Iterator[Entry]:
    """Every file that pip says it installed with a hash."""
    site = site_packages(slot)
    for record in sorted(site.glob("*.dist-info/RECORD")):
        with record.open(newline="", encoding="utf-8") as file:
            for path, digest, _ in csv.reader(file):
                if digest.startswith("sha256=") and not _is_local(path):
                    yield Entry(path, _hex(digest.removeprefix("sha256=")))


def digest(slot: Path) -> str:
    """SHA-256 over the sorted pairs of path and SHA-256 of all recorded files."""
    total = hashlib.sha256()
    for entry in sorted(set(recorded(slot))):
        total.update(f"{entry.path}\0{entry.sha256}\n".encode())
    return total.hexdigest()


def altered(slot: Path) -> list[str]:
    """Read every recorded file and name those that are missing or changed, and code that no package brought."""
    site = site_packages(slot)
    entries = list(recorded(slot))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [problem for problem in pool.map(lambda entry: _problem(site, entry), entries) if problem]
    problems += [f"{path} belongs to no package" for path in _foreign(site, {entry.path for entry in entries})]
    return problems[:MAX_PROBLEMS]


def _problem(site: Path, entry: Entry) -> str | None:
    try:
        found = sha256_of(site / entry.path)
    except OSError as error:
        return f"{entry.path} can't be read: {error.strerror}"
    return None if found == entry.sha256 else f"{entry.path} was changed"


def _foreign(site: Path, known: set[str]) -> Iterator[str]:
    # Only what Python could run: path files, sources, libraries. Caches written at run time are no danger.
    for parent, directories, names in os.walk(site):
        directories[:] = [name for name in directories if name != "__pycache__"]
        for name in names:
            path = os.path.relpath(os.path.join(parent, name), site)
            if name.endswith((".py", ".pth", ".so")) and path not in known:
                yield path


def _is_local(path: str) -> bool:
    return "__pycache__/" in path or (path.startswith("../") and "/bin/" in path)


def _hex(digest: str) -> str:
    return base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
