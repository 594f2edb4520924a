"""What can't be asked for, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ops.acceptance.workload import Limits, Target, faults, seconds
from tests.ops.acceptance.made import TARGET, WORK

LIMITS = Limits(context_tokens=100, sequences=4, open_files=1024)


@pytest.mark.parametrize(("text", "value"), [("60s", 60), ("10m", 600), ("1h", 3600), ("90", 90), ("1.5m", 90)])
def test_a_duration_is_read_with_its_unit(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-5s", "10 minutes", "1d", "nan"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="60s, 10m or 1h"):
        seconds(text)


def test_a_workload_that_the_box_takes_has_no_faults() -> None:
    assert list(faults(WORK, TARGET, LIMITS)) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"duration_s": 3.0}, "choose 10 s to 24 h"),
        ({"warm_up_s": -1.0}, "warm-up"),
        ({"output_tokens": 1}, "answers two"),
        ({"hit_rate": 1.0}, "hit rate"),
        ({"input_tokens": 91}, "101 tokens of input and output together: 100 are served"),
        ({"concurrency": 5}, "the engines run 4"),
        ({"concurrency": 5000}, "choose 1 to 4096"),
    ],
)
def test_what_the_box_does_not_take_is_told(changed: dict[str, Any], told: str) -> None:
    assert told in "\n".join(faults(replace(WORK, **changed), TARGET, LIMITS))


def test_too_few_open_files_are_told_with_the_way_to_raise_them() -> None:
    assert "ulimit -n" in "\n".join(faults(WORK, TARGET, replace(LIMITS, open_files=65)))


@pytest.mark.parametrize("target", [Target(0, 0), Target(-1, 5), Target(1, 1, ttft_p99_ms=0.0)])
def test_a_target_that_is_none_is_refused(target: Target) -> None:
    assert len(list(faults(WORK, target, LIMITS))) == 1
