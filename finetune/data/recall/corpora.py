"""The corpora of an appliance, one folder each below `corpora/`, named by the digest of its cleaned rows.

The folder is the truth: it appears whole, by one rename. How one is made is `adding`'s.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetune.files import sync_directory

FACTS = "corpus.json"
ROWS = "rows.jsonl"
HALF_MADE = ".new-"


class CorpusRefused(Exception):
    """What was asked for can't be done with a corpus; nothing was changed."""

    code = "corpus_refused"
    permanent = True


class CorpusUnknown(CorpusRefused):
    """No corpus has this name."""


@dataclass(frozen=True)
class Corpus:
    """One registered corpus. `digest` is the SHA-256 of its rows, `bytes` their size, `source` the name it came under."""

    name: str
    digest: str
    rows: int
    bytes: int
    source: str
    added_at: str


def corpora(root: Path) -> list[Corpus]:
    """Those that are registered, by name."""
    found = []
    for path in root.glob(f"[!.]*/{FACTS}"):
        with contextlib.suppress(FileNotFoundError):  # it was removed a moment ago
            found.append(Corpus(**json.loads(path.read_bytes())))
    return sorted(found, key=lambda corpus: corpus.name)


def rows_of(root: Path, corpus: Corpus) -> Path:
    """The file of a corpus's rows."""
    return root / corpus.digest / ROWS


def remove(root: Path, name: str, about_to: Callable[[Corpus], None] = lambda _: None) -> Corpus:
    """Take a corpus away, once `about_to` has noted it. Fine-tunes that recalled from it before keep what they have.

    Raises: CorpusUnknown where there is none, CorpusRefused where somebody else changes them.
    """
    if not root.is_dir():
        raise CorpusUnknown(f"there is no corpus {name!r}")
    with alone(root):
        corpus = next((corpus for corpus in corpora(root) if corpus.name == name), None)
        if corpus is None:
            raise CorpusUnknown(f"there is no corpus {name!r}")
        about_to(corpus)
        gone = Path(tempfile.mkdtemp(dir=root, prefix=HALF_MADE))
        (root / corpus.digest).rename(gone / corpus.digest)
        sync_directory(root)
        shutil.rmtree(gone)
    return corpus


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """One at a time changes the corpora; what a killed one left is removed. The kernel drops the lock of one that died.

    Raises: CorpusRefused where somebody else does.
    """
    descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for left in root.glob(f"{HALF_MADE}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    except BlockingIOError:
        raise CorpusRefused("another corpus is being added or removed at the moment") from None
    finally:
        os.close(descriptor)
