"""The check before anything is queued: what can be said of an upload within about a second."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from finetune.data import sources
from finetune.data.errors import MAX_FAULTS, DatasetRefused
from finetune.data.limits import DEFAULT, Limits
from finetune.data.rows import ChatRow, TextRow

QUICK_ITEMS = 2000


def check_quickly(source: Path, filename: str, limits: Limits = DEFAULT) -> list[str]:
    """Faults in the file's name, size and first 2000 lines or members; empty when fine so far.

    Of a zip all of its directory is read, of a git bundle its header only. A file that passes can still be refused by
    `prepare`, which reads all of it.
    """
    if faults := sources.faults_of_file(source, filename, limits):
        return faults
    if sources.suffix_of(filename) == sources.BUNDLE:
        return []  # what its header doesn't tell takes git, and a request doesn't wait for that
    faults, found = [], False
    try:
        for item in islice(sources.read(source, filename, limits), QUICK_ITEMS):
            found = found or isinstance(item, ChatRow | TextRow)
            if isinstance(item, str):
                faults.append(item)
            if len(faults) == MAX_FAULTS:
                return faults
    except DatasetRefused as refused:
        return [*faults, *refused.faults][:MAX_FAULTS]
    return faults if faults or found else ["the file holds no row"]
