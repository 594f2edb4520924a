"""Disk, time and the verdicts: what a run takes, whether it fits, and the arithmetic that says why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from finetune.train.checkpoints import KEPT
from finetune.train.estimate import (
    Disk,
    Room,
    disk_of,
    duration_of,
    longest_tokens,
    never_fits,
    rate_of,
    too_little_disk,
    too_little_memory,
)
from finetune.train.memory import Memory
from finetune.train.shape import Shape, shape_of
from tests.finetune.train.shapes import SMALL, write_model

GB = 1_000_000_000
NEED = Memory(8 * GB, GB, GB, GB, 4 * GB, GB)


@pytest.fixture
def shape(tmp_path: Path) -> Shape:
    return shape_of(write_model(tmp_path, SMALL))


def test_a_checkpoint_holds_weights_and_moments_and_one_more_is_written_than_kept() -> None:
    assert disk_of(1000, 70, 9) == Disk(70, (KEPT + 1) * 1000 * 12, 4000, 9)


def test_former_runs_tell_how_long_it_takes(shape: Shape) -> None:
    found = duration_of(3500, 2, shape, "cpu", 2, [100.0, 200.0])
    assert found is not None
    assert found.measured
    assert (found.tokens, found.epochs, found.tokens_per_s) == (1000, 2, (80.0, 250.0))
    assert found.seconds[0] < 2 * 1000 / 100 < found.seconds[1]


def test_without_them_it_is_a_wide_guess(shape: Shape) -> None:
    found = duration_of(3_500_000, 1, shape, "cpu", 1, [])
    assert found is not None
    assert not found.measured
    assert found.seconds[1] > 10 * found.seconds[0]


def test_more_threads_are_quicker(shape: Shape) -> None:
    one, four = (duration_of(3_500_000, 1, shape, "cpu", threads, []) for threads in (1, 4))
    assert one is not None
    assert four is not None
    assert four.seconds[1] < one.seconds[1]


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert duration_of(3500, 1, None, "cpu", 1, []) is None


@pytest.mark.parametrize(("steps", "rate"), [([], None), ([5.0], 5.0), ([1.0, 90.0, 100.0, 110.0], 100.0)])
def test_a_runs_rate_leaves_out_the_first_step(steps: list[float], rate: float | None) -> None:
    assert rate_of(steps) == rate


def test_a_row_has_no_more_tokens_than_are_taken_of_it() -> None:
    assert longest_tokens(200, 2048) == 100
    assert longest_tokens(10_000_000, 2048) == 2048


def test_what_fits_is_not_refused() -> None:
    assert too_little_memory(NEED, Room("nvidia:0", 16 * GB, 24 * GB)) is None
    assert never_fits(NEED, [Room("nvidia:0", 0, 8 * GB), Room("nvidia:1", 0, 16 * GB)]) is None
    assert too_little_disk(Disk(GB, GB, 0, 0), 3 * GB, GB) is None


def test_too_little_memory_is_told_with_its_sum() -> None:
    told = too_little_memory(NEED, Room("nvidia:0", 12 * GB, 24 * GB))
    assert told is not None
    assert "8.0 GB weights + 1.0 GB adapter" in told
    assert "= 16.0 GB, and nvidia:0 has 12.0 GB" in told


def test_what_to_change_depends_on_what_is_too_large() -> None:
    told = never_fits(NEED, [Room("nvidia:0", 0, 14 * GB)])
    assert told is not None
    assert "shorter rows or a smaller batch_size" in told
    told = never_fits(replace(NEED, weights=20 * GB), [Room("nvidia:0", 0, 14 * GB)])
    assert told is not None
    assert "a smaller base" in told


def test_of_devices_that_nobody_has_seen_nothing_is_said() -> None:
    assert never_fits(NEED, []) is None


def test_too_little_disk_says_how_much_to_free() -> None:
    told = too_little_disk(Disk(GB, 3 * GB, GB, 0), 4 * GB, GB)
    assert told is not None
    assert "needs 5.0 GB (1.0 GB dataset, 3.0 GB checkpoints, 1.0 GB adapter)" in told
    assert "free 2.0 GB" in told
