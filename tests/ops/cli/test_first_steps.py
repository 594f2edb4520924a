"""How a set-up's progress is told."""

from __future__ import annotations

import pytest

from ops.cli import first_steps
from ops.slots.progress import Progress


def test_it_tells_each_stage_and_its_end_and_not_every_package(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.1, 0.2, 5.0, 5.1, 5.2])
    monkeypatch.setattr(first_steps.time, "monotonic", lambda: next(clock))
    told: list[str] = []
    tell = first_steps.Narrator(told.append)
    for progress in (
        Progress("fetching", "a", 1, 4),
        Progress("fetching", "b", 2, 4),
        Progress("fetching", "c", 4, 4),
        Progress("installing", "x", 1, 9),
        Progress("installing", "y", 2, 9),
        Progress("installing", "z", 9, 9),
    ):
        tell(progress)
    assert told == ["fetching: a (1 of 4)", "fetching: c (4 of 4)", "installing: x (1 of 9)", "installing: z (9 of 9)"]
