"""A certificate's folder: whole under its final name, or not there.

certificate.json   the payload          certificate.html   the same for people
requests.jsonl     a line a request     signature.json     signs the three; written last
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from finetune.files import sync_directory

JSON, HTML, REQUESTS, SIGNATURE = "certificate.json", "certificate.html", "requests.jsonl", "signature.json"
SIGNED = (JSON, HTML, REQUESTS)
_FRESH = ".new-"


def prepare(root: Path, name: str, files: Mapping[str, bytes]) -> Path:
    """Write and sync the files under a temporary name beside the final one; `publish` gives them that."""
    fresh = root / f"{_FRESH}{name}"
    fresh.mkdir(mode=0o755)
    for file_name, content in files.items():
        with (fresh / file_name).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    sync_directory(fresh)
    return fresh


def publish(fresh: Path) -> Path:
    """Give a prepared folder its final name."""
    final = fresh.with_name(fresh.name.removeprefix(_FRESH))
    fresh.rename(final)
    sync_directory(final.parent)
    return final


def clear(root: Path) -> int:
    """Remove what runs that were ended left half done; returns how many."""
    left = [path for path in root.glob(f"{_FRESH}*") if path.is_dir()]
    for path in left:
        shutil.rmtree(path)
    return len(left)
