"""The order of the data: pure, complete, the same after a resumption."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetune.train.order import batch_of, epoch_order, micro_batches, packs_of, steps_per_epoch


@given(rows=st.integers(1, 60), batch=st.integers(1, 20), seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 3))
def test_an_epoch_sees_every_row_once(rows: int, batch: int, seed: int, epoch: int) -> None:
    steps = steps_per_epoch(rows, batch)
    seen = [row for step in range(epoch * steps, (epoch + 1) * steps) for row in batch_of(rows, batch, seed, step)]
    assert sorted(seen) == list(range(rows))


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    first = epoch_order(50, 1, 0)
    epoch_order.cache_clear()
    assert epoch_order(50, 1, 0) == first
    assert len({first, epoch_order(50, 1, 1), epoch_order(50, 2, 0)}) == 3


def test_the_order_stays_what_it_was_when_checkpoints_of_older_versions_were_written() -> None:
    assert epoch_order(8, 7, 0) == PINNED


@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=40), limit=st.integers(1, 2000))
def test_parts_hold_every_row_once_and_no_more_than_the_limit(lengths: list[int], limit: int) -> None:
    parts = micro_batches(lengths, limit)
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or len(part) * max(lengths[row] for row in part) <= limit for part in parts)


@given(lengths=st.lists(st.integers(1, 300), max_size=60), limit=st.integers(0, 1000))
def test_packs_hold_every_document_once_in_order_and_as_many_as_fit(lengths: list[int], limit: int) -> None:
    packs = packs_of(lengths, limit)
    assert [index for pack in packs for index in pack] == list(range(len(lengths)))
    sizes = [sum(lengths[index] for index in pack) for pack in packs]
    assert all(size <= limit or len(pack) == 1 for pack, size in zip(packs, sizes, strict=True))
    nexts = [lengths[pack.start] for pack in packs[1:]]
    assert all(size + following > limit for size, following in zip(sizes, nexts, strict=False))


PINNED = (6, 3, 2, 1, 7, 0, 4, 5)
