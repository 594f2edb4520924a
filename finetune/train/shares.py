"""Which rank computes which part of a batch: pure functions of the lengths, so that every rank knows all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Split = Callable[[Sequence[int], int], Sequence[Iterable[int]]]


def shares_of(lengths: Sequence[int], ranks: int) -> list[list[int]]:
    """Spread sequences over ranks, about as many tokens for each: the longest first, each to whoever has least."""
    shares: list[list[int]] = [[] for _ in range(ranks)]
    tokens = [0] * ranks
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        rank = tokens.index(min(tokens))
        shares[rank].append(index)
        tokens[rank] += lengths[index]
    return [sorted(share) for share in shares]


def parts_of(lengths: Sequence[int], ranks: int, split: Split, most_tokens: int) -> list[list[list[int]]]:
    """For each rank the parts that go through its model one after the other, as `split` makes them.

    All ranks have as many, since they work on each layer together: who has less to do gets empty ones at the end.
    """
    parts = [
        [[share[index] for index in part] for part in split([lengths[index] for index in share], most_tokens)]
        for share in shares_of(lengths, ranks)
    ]
    most = max(len(one) for one in parts)
    return [one + [[] for _ in range(most - len(one))] for one in parts]
