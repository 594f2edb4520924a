"""Makes a corpus of an archive, a git bundle or a directory on the box.

It is cleaned as uploads are, by the same pipeline: the same strict readers, filters, duplicates and placeholders, in bounded
memory.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from finetune.data.files import write_json
from finetune.data.limits import DEFAULT, Limits
from finetune.data.prepare import prepare
from finetune.data.progress import Progress
from finetune.data.recall.corpora import FACTS, HALF_MADE, ROWS, Corpus, CorpusRefused, alone, corpora
from finetune.data.recall.packing import pack
from finetune.data.sources import kind_of, suffix_of
from finetune.files import sync_directory

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def add(
    root: Path,
    source: Path,
    name: str,
    secret: bytes,
    progress: Progress = lambda stage, rows, characters: None,
    limits: Limits = DEFAULT,
    unwanted_licences: tuple[str, ...] = (),
) -> Corpus:
    """Register an archive, a git bundle or a directory of source files, less those under unwanted licences.

    The same again changes nothing.
    Raises: CorpusRefused; DatasetRefused where the archive may not be read; NoRoom.
    """
    if not NAME.fullmatch(name):
        raise CorpusRefused("a name has 1 to 64 of a-z, 0-9, '.', '_', '-', and begins with a letter or digit")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with alone(root):
        work = Path(tempfile.mkdtemp(dir=root, prefix=HALF_MADE))
        try:
            made = _make(source, name, work, secret, progress, limits, unwanted_licences)
            return _publish(root, work, made)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _make(
    source: Path,
    name: str,
    work: Path,
    secret: bytes,
    progress: Progress,
    limits: Limits,
    unwanted_licences: tuple[str, ...],
) -> Corpus:
    filename = source.resolve().name
    if source.is_dir():
        packed, filename = work / "packed", f"{filename}.tar.gz"
        pack(source, packed, limits)
    elif not source.is_file():
        raise CorpusRefused(f"{source} is neither a file nor a directory")
    elif suffix_of(filename) is None or kind_of(filename) != "text":
        raise CorpusRefused("a corpus is source code: a .tar.gz, .tgz, .zip or .bundle, or a directory")
    else:
        packed = source
    out = work / "corpus"
    out.mkdir(mode=0o700)
    prepared = prepare(packed, filename, out, secret, progress, limits, unwanted_licences)
    size = (out / ROWS).stat().st_size
    added_at = datetime.now(UTC).isoformat(timespec="seconds")
    return Corpus(name, prepared.digest, prepared.rows, size, source.resolve().name, added_at)


def _publish(root: Path, work: Path, made: Corpus) -> Corpus:
    for known in corpora(root):
        if known.digest == made.digest and known.name == made.name:
            return known
        if known.name == made.name:
            raise CorpusRefused(f"{made.name!r} is registered with other contents: remove it first")
        if known.digest == made.digest:
            raise CorpusRefused(f"these contents are registered already, as {known.name!r}")
    write_json(work / "corpus" / FACTS, asdict(made))
    (work / "corpus").rename(root / made.digest)
    sync_directory(root)
    return made
