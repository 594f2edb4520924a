"""How fast source code is prepared for training: near-duplicates alone, and everything from an archive to rows.

Run by hand: `make bench-data`. One process on one core; CPU seconds, so that what else runs counts little. The tree is
Python's own installed packages, repeated with changes until it is as large as asked. pytest collects nothing here.
"""

from __future__ import annotations

import argparse
import io
import json
import keyword
import random
import re
import resource
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from finetune.data import sources
from finetune.data.duplicates import ExactDuplicates, NearDuplicates
from finetune.data.prepare import prepare
from finetune.data.rows import TextRow
from tests.bench.machine import Others, commit, hardware

TARGETS = {"near-duplicates, MB/s": 15.0, "whole pipeline, MB/s": 3.0, "peak memory, MB": 1000.0}
LARGEST = 200_000
NAME = re.compile(rb"(?<![A-Za-z0-9_])[A-Za-z_]{3,}(?![A-Za-z0-9_])")
KEYWORDS = frozenset((*keyword.kwlist, *keyword.softkwlist))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.data", description=__doc__)
    parser.add_argument("--mb", type=float, default=20, help="how much source code")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--only", choices=("near", "whole"), help=argparse.SUPPRESS)
    parser.add_argument("--archive", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        sys.stdout.write(json.dumps(near(options.archive) if options.only == "near" else whole(options.archive)) + "\n")
        return
    others = Others()
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "tree.tar.gz"
        facts: dict[str, object] = {"MB": build(archive, options.mb, options.seed) / 1e6}
        figures = child("near", archive) | child("whole", archive)
    facts |= {"hardware": hardware(), "commit": commit(), "meanwhile": str(others)}
    sys.stdout.write(
        json.dumps({"facts": facts, "figures": figures}, indent=2) + "\n" if options.json else text(facts, figures)
    )


def build(archive: Path, mb: float, seed: int) -> int:
    """Write an archive of so much source code; the bytes in it."""
    total = 0
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path, content in tree(mb * 1e6, seed):
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            total += len(content)
    return total


def tree(num_bytes: float, seed: int) -> Iterator[tuple[str, bytes]]:
    """Files of the installed packages, shuffled; in each round after the first a third of all names are others."""
    root = Path(sysconfig.get_paths()["purelib"])
    files = sorted(path for path in root.rglob("*.py") if path.stat().st_size < LARGEST)
    random.Random(seed).shuffle(files)
    number = 0
    while num_bytes > 0:
        for path in files:
            content = renamed(path.read_bytes(), b"%d.%d" % (seed, number)) if number else path.read_bytes()
            yield f"round{number}/{path.relative_to(root)}".replace("site-packages", "packages"), content
            num_bytes -= len(content)
            if num_bytes <= 0:
                return
        number += 1


def renamed(content: bytes, seed: bytes) -> bytes:
    """The same source with a third of its longer names changed, the same name always alike: no near-duplicate any more."""
    return NAME.sub(lambda found: _other(found[0], seed), content)


@cache
def _other(name: bytes, seed: bytes) -> bytes:
    if name.decode() in KEYWORDS or zlib.crc32(seed + name) % 3:
        return name
    return name + b"_" + seed.replace(b".", b"_")


def child(what: str, archive: Path) -> dict[str, float]:
    """Measured in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "tests.bench.data", "--only", what, "--archive", str(archive)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def near(archive: Path) -> dict[str, float]:
    """Exact and near duplicates of rows that are in memory."""
    rows = [row for row in sources.read(archive, archive.name) if isinstance(row, TextRow)]
    mb, exact, seen = sum(len(row.text) for row in rows) / 1e6, ExactDuplicates(), NearDuplicates()
    began = time.process_time()
    dropped = sum(exact.is_repeated(row) or seen.is_near(row) for row in rows)
    took = time.process_time() - began
    return {
        "near-duplicates, MB/s": mb / took,
        "near-duplicates, files/s": len(rows) / took,
        "duplicates, %": 100 * dropped / len(rows),
    }


def whole(archive: Path) -> dict[str, float]:
    """From the archive to rows and report."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        read: dict[str, tuple[int, int]] = {}
        prepare(archive, archive.name, Path(folder), b"bench", lambda stage, *counts: read.update({stage: counts}))
        took = time.process_time() - began
    files, characters = read["reading"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "whole pipeline, MB/s": characters / 1e6 / took,
        "whole pipeline, files/s": files / took,
        "peak memory, MB": peak,
    }


def text(facts: dict[str, object], figures: dict[str, float]) -> str:
    """A few lines for people."""
    lines = [f"{name}: {value}" for name, value in facts.items()]
    for name, value in figures.items():
        target = f"  (to reach: {TARGETS[name]:g})" if name in TARGETS else ""
        lines.append(f"{name}: {value:.1f}{target}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
