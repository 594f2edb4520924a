"""What a file led to, as a plan: every thing once, with what is done to it, and who has to be waited for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.registry.models import AdapterState
from appliance.training.erasure_plan import (
    Act,
    AdapterFacts,
    DatasetFacts,
    Descent,
    FileFacts,
    JobFacts,
    Kind,
    holds_up,
    in_engines,
    plan,
)

FILE = FileFacts("file-1", "aa")
JOB = JobFacts("ftjob-1", "succeeded", True, attempts=("ftjob-1/1",), checkpoints=(("ftjob-1/1/checkpoint-4", "cc"),))
ADAPTER = AdapterFacts("ft:a", "bb", AdapterState.WITHDRAWN)


def acts(descent: Descent) -> dict[tuple[Kind, str], Act]:
    return {(item.kind, item.name): item.act for item in plan(descent)}


def test_a_file_that_nothing_was_made_of_is_one_line() -> None:
    assert acts(Descent(FILE)) == {(Kind.BYTES, "file-1"): Act.REMOVE}


def test_everything_that_came_of_a_file_is_a_line() -> None:
    used = replace(
        ADAPTER, state=AdapterState.ACTIVE, is_checked=True, engines=("engine 1",), merged="dd", aliases=("editors",)
    )
    running = replace(JOB, id="ftjob-2", is_over=False, attempts=(), checkpoints=())
    assert acts(Descent(FILE, DatasetFacts("d", "ee", 3), (JOB, running), (used,))) == {
        (Kind.BYTES, "file-1"): Act.REMOVE,
        (Kind.DATASET, "d"): Act.REMOVE,
        (Kind.REPORT, "cleaning of file-1"): Act.REMOVE,
        (Kind.JOB, "ftjob-1"): Act.REMOVE,
        (Kind.JOB, "ftjob-2"): Act.CANCEL,
        (Kind.ATTEMPT, "ftjob-1/1"): Act.REMOVE,
        (Kind.CHECKPOINT, "ftjob-1/1/checkpoint-4"): Act.REMOVE,
        (Kind.ADAPTER, "ft:a"): Act.WITHDRAW,
        (Kind.REPORT, "checks of ft:a"): Act.REMOVE,
        (Kind.MERGED, "ft:a"): Act.REMOVE,
        (Kind.ENGINE, "engine 1"): Act.UNLOAD,
        (Kind.ALIAS, "editors"): Act.KEEP,
    }


def test_bytes_that_another_file_has_too_are_kept_and_it_is_named() -> None:
    (item,) = plan(Descent(replace(FILE, shared_with=("file-2",))))
    assert item.act is Act.KEEP
    assert "file-2" in item.why


@pytest.mark.parametrize(
    ("descent", "told"),
    [
        (Descent(replace(FILE, is_being_cleaned=True)), "file-1"),
        (Descent(FILE, jobs=(replace(JOB, is_over=False),)), "ftjob-1"),
        (Descent(FILE, jobs=(replace(JOB, is_held=True),)), "ftjob-1"),
        (Descent(FILE, adapters=(replace(ADAPTER, state=AdapterState.ACTIVE),)), "ft:a"),
    ],
)
def test_whoever_still_works_on_it_is_waited_for(descent: Descent, told: str) -> None:
    (reason,) = holds_up(descent)
    assert told in reason


def test_engines_and_merged_copies_are_waited_for_apart() -> None:
    loaded = replace(ADAPTER, engines=("engine 1", "engine 2"), merged="")
    assert holds_up(Descent(FILE, jobs=(JOB,), adapters=(loaded,))) == ()
    assert len(in_engines(Descent(FILE, adapters=(loaded,)))) == 3
