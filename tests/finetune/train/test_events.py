"""What a trainer tells is kept in its folder, whole lines only, and a disk that is full ends no run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.env import REPO
from finetune.train.events import event_of, kept

TELL = """
import sys
from pathlib import Path
from finetune.train.events import EventWriter
writer = EventWriter()
writer.write(event="before")
writer.keep(Path(sys.argv[1]))
for number in range(3):
    writer.write(event="step", step=number)
"""


def tell(folder: Path, script: str = TELL) -> list[str]:
    """What arrived on the standard output."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=REPO, capture_output=True, text=True, check=True, timeout=60
    )
    return [json.loads(line)["event"] for line in done.stdout.splitlines()]


@pytest.mark.parametrize("line", ['{"event": "fail', "a library's warning", "[1]", '{"other": 1}', '{"event": 1}', ""])
def test_what_is_no_event_is_passed_over(line: str) -> None:
    assert event_of(line) is None
    assert event_of('{"event": "step"}') == {"event": "step"}


def test_what_is_told_once_it_is_kept_is_kept(tmp_path: Path) -> None:
    assert list(kept(tmp_path)) == []
    assert tell(tmp_path) == ["before", "step", "step", "step"]
    assert [event["step"] for event in kept(tmp_path)] == [0, 1, 2]


def test_a_line_that_was_cut_short_takes_none_with_it(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text('{"event": "step", "step": 7}\n{"event": "st')
    tell(tmp_path)
    assert [event["step"] for event in kept(tmp_path)] == [7, 0, 1, 2]


def test_a_full_disk_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    assert tell(tmp_path) == ["before", "step", "step", "step"]
