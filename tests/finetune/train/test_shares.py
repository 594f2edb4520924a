"""Which rank computes what: all of a batch, once, evenly, and as many parts on each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.train.order import micro_batches, packs_of
from finetune.train.shares import parts_of, shares_of

LENGTHS = st.lists(st.integers(1, 5000), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 9))
def test_everything_is_computed_once_and_no_rank_has_much_more_than_another(lengths: list[int], ranks: int) -> None:
    shares = shares_of(lengths, ranks)
    assert sorted(index for share in shares for index in share) == list(range(len(lengths)))
    tokens = [sum(lengths[index] for index in share) for share in shares]
    assert max(tokens) - min(tokens) <= max(lengths)


@given(LENGTHS, st.integers(1, 9))
def test_all_ranks_have_as_many_parts(lengths: list[int], ranks: int) -> None:
    for split in (packs_of, micro_batches):
        parts = parts_of(lengths, ranks, split, 4096)
        assert len({len(one) for one in parts}) == 1
        assert sorted(index for one in parts for part in one for index in part) == list(range(len(lengths)))


@given(LENGTHS)
def test_one_rank_has_the_parts_that_it_had_before_there_were_ranks(lengths: list[int]) -> None:
    for split in (packs_of, micro_batches):
        assert parts_of(lengths, 1, split, 4096)[0] == [list(part) for part in split(lengths, 4096)]


@pytest.mark.parametrize(
    ("lengths", "shares"), [([5], [[0], []]), ([5, 9, 4], [[1], [0, 2]]), ([3, 3, 3, 3], [[0, 2], [1, 3]])]
)
def test_the_longest_goes_first_to_whoever_has_least(lengths: list[int], shares: list[list[int]]) -> None:
    assert shares_of(lengths, 2) == shares
