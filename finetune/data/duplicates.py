"""Exact and near duplicates. Near ones are found with MinHash and locality-sensitive hashing over runs of five tokens.

Seeds are fixed and the first of a group always stays, so the same rows give the same verdicts. Whether a near duplicate is
dropped or only counted is the caller's choice.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib

from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]

from finetune.data.rows import Row, TextRow

NEAR_THRESHOLD = 0.85
NUM_PERMUTATIONS = 128
SEED = 1
SHINGLE_TOKENS = 5
TOKEN = re.compile(r"\w+|[^\w\s]")


def exact_key(row: Row) -> bytes:
    """Equal for rows that teach the same: the path of a file doesn't count."""
    content = row.text if isinstance(row, TextRow) else json.dumps(row.messages)
    return hashlib.sha256(content.encode()).digest()


class ExactDuplicates:
    """Remembers the digests of all rows seen."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def is_repeated(self, row: Row) -> bool:
        key = exact_key(row)
        repeated = key in self._seen
        self._seen.add(key)
        return repeated


class NearDuplicates:
    """Remembers the sketches of the rows that were unlike all before; about 1 KiB a row."""

    def __init__(self) -> None:
        self._index = MinHashLSH(threshold=NEAR_THRESHOLD, num_perm=NUM_PERMUTATIONS)
        self._sketches: dict[int, MinHash] = {}

    def is_near(self, row: Row) -> bool:
        """Whether an earlier row is alike by at least the threshold; if not, the row is remembered."""
        sketch = sketch_of("\n".join(row.texts()[:1] if isinstance(row, TextRow) else row.texts()))
        if any(sketch.jaccard(self._sketches[key]) >= NEAR_THRESHOLD for key in self._index.query(sketch)):
            return True
        key = len(self._sketches)
        self._index.insert(key, sketch)
        self._sketches[key] = sketch
        return False


def sketch_of(text: str) -> MinHash:
    tokens = TOKEN.findall(text)
    last = max(1, len(tokens) - SHINGLE_TOKENS + 1)
    shingles = {" ".join(tokens[start : start + SHINGLE_TOKENS]).encode() for start in range(last)}
    sketch = MinHash(num_perm=NUM_PERMUTATIONS, seed=SEED, hashfunc=zlib.crc32)
    sketch.update_batch(sorted(shingles))
    return sketch
