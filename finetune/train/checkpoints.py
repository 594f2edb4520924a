"""Checkpoint directories: their names, which are whole, which to keep. Standard library only: both sides use it.

A checkpoint is written below a name that starts with a dot and renamed when it is complete, its manifest last.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from finetune import manifest

KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{8})")


def directory(out: Path, step: int) -> Path:
    """Where an attempt's checkpoint of a step lies."""
    return out / f"checkpoint-{step:08d}"


def step_of(checkpoint: Path) -> int | None:
    """The step in a checkpoint's name; None for any other name."""
    match = _NAME.fullmatch(checkpoint.name)
    return int(match[1]) if match else None


def newest_whole(out: Path) -> Path | None:
    """The last checkpoint of an attempt that is complete and unchanged; None when there is none."""
    return next((found for found in reversed(_named(out)) if not manifest.verify(found)), None)


def prune(out: Path, kept: int = KEPT) -> None:
    """Remove all but the newest checkpoints, and what a killed writer left."""
    for old in _named(out)[:-kept]:
        # renamed first: a removal that is cut short must not leave a manifest beside half the files
        old.rename(left := old.with_name(f".{old.name}"))
        shutil.rmtree(left)
    for left in out.glob(".checkpoint-*"):
        shutil.rmtree(left)


def _named(out: Path) -> list[Path]:
    found = [path for path in out.iterdir() if step_of(path) is not None] if out.is_dir() else []
    return sorted(found)
