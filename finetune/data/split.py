"""Which rows are held out of training: a pure function of the seed and of what each row and its cluster are.

Only rows that are alone in their cluster can be held out, about a tenth of them. So no cluster is ever held out whole, and no
row that is held out is a near-duplicate of one that is trained on. A row of a file is a whole file: its windows stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from finetune.data.clusters import Mark

FROM_ROWS = 50  # a tenth of fewer rows says nothing
SHARE = 0.1


def held_out(marks: Callable[[], Iterable[Mark]], seed: int) -> bytearray:
    """One flag for each row, in order. `marks` is called twice.

    Each row is judged by itself, so that rows which join later don't move it. Where there are rows alone, one at least is held
    out. Fewer than 50 rows are not split.
    """
    alone = _alone(marks())
    flags = bytearray(len(alone))
    if len(alone) < FROM_ROWS:
        return flags
    least = (1.0, -1)
    for number, place in _places(marks(), alone, seed):
        flags[number] = place < SHARE
        least = min(least, (place, number))
    if least[1] >= 0:
        flags[least[1]] = 1
    return flags


def _alone(marks: Iterable[Mark]) -> bytearray:
    """Whether each row is the only one of its cluster."""
    alone = bytearray()
    for number, mark in enumerate(marks, 1):
        alone.append(mark.cluster == number)
        if mark.cluster != number:
            alone[mark.cluster - 1] = 0
    return alone


def _places(marks: Iterable[Mark], alone: bytearray, seed: int) -> Iterator[tuple[int, float]]:
    """Of each row alone its number from 0, and a number from 0 up to 1 that is its own under this seed."""
    for number, mark in enumerate(marks):
        if alone[number]:
            digest = hashlib.sha256(b"%d\n%016x" % (seed, mark.key)).digest()
            yield number, int.from_bytes(digest[:6]) / 2**48
