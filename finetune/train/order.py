"""Which rows make up which step: a pure function of the seed and the epoch, so that a resumed run sees the same data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from random import Random


@lru_cache(maxsize=2)  # every step of an epoch asks for it
def epoch_order(rows: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The rows' numbers in this epoch's order."""
    order = list(range(rows))
    Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 - repeatable, not secret; a text seeds it alike everywhere
    return tuple(order)


def steps_per_epoch(rows: int, batch_size: int) -> int:
    return math.ceil(rows / batch_size)


def batch_of(rows: int, batch_size: int, seed: int, step: int) -> tuple[int, ...]:
    """The rows of a step, counted from 0 over all epochs; an epoch's last batch may be smaller."""
    epoch, within = divmod(step, steps_per_epoch(rows, batch_size))
    return epoch_order(rows, seed, epoch)[within * batch_size : (within + 1) * batch_size]


def packs_of(lengths: Sequence[int], max_tokens: int) -> list[range]:
    """Put sequences together in their order: each pack takes the next ones as long as they fit, one at least."""
    packs: list[range] = []
    tokens = 0
    for index, length in enumerate(lengths):
        tokens += length
        if packs and tokens <= max_tokens:
            packs[-1] = range(packs[-1].start, index + 1)
        else:
            packs.append(range(index, index + 1))
            tokens = length
    return packs


def micro_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Split a batch into parts of like lengths whose padded size stays below `max_tokens` (one row at least)."""
    parts: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (lengths[index], index)):
        if parts and (len(parts[-1]) + 1) * lengths[index] <= max_tokens:
            parts[-1].append(index)
        else:
            parts.append([index])
    return parts
