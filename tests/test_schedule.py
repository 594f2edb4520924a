"""The tests' own schedule: the appliance's first and together, engines together, all others by file, the longest before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.schedule import APPLIANCE, ENGINES, LONG_FILES, place


def test_what_needs_the_appliance_comes_first_and_stays_together() -> None:
    marks = {"appliance", "engine", "browser", "timeout"}
    assert place("tests/system/test_demo.py", marks) == place("tests/system/test_kills.py", {"appliance"})
    assert place("tests/system/test_demo.py", marks) == (0, APPLIANCE)


def test_what_looks_for_sandboxes_that_were_left_stays_together() -> None:
    groups = {place(f"tests/finetune/evaluate/test_{name}.py", {"timeout"})[1] for name in ("judge", "humaneval")}
    assert len(groups) == 1


@pytest.mark.parametrize("mark", ["engine", "browser", "gpu", "ray"])
def test_what_starts_engines_stays_together(mark: str) -> None:
    assert place("tests/ops/models/test_demo.py", {mark, "timeout"})[1] == ENGINES


def test_every_other_file_is_a_group_of_its_own_and_the_longest_are_not_last() -> None:
    turn, group = place("tests/test_docs.py", {"parametrize"})
    assert group == "tests/test_docs.py"
    assert place(LONG_FILES[0], set())[0] < place("tests/x.py", {"engine"})[0] < turn


def test_the_long_files_are_there() -> None:
    assert [path for path in LONG_FILES if not (Path(__file__).parents[1] / path).is_file()] == []
