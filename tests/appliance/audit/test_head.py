"""The head file: private, appended to, and readable after a crash tore its last line."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from appliance.audit import head
from appliance.audit.head import Head


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "head.jsonl"


def test_it_is_its_owners_alone(path: Path) -> None:
    head.append(path, 1, "a" * 64)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_gives_back_what_was_appended(path: Path) -> None:
    for seq in (1, 3, 2):
        head.append(path, seq, f"{seq:064}")
    assert list(head.read(path)) == [Head(1, 1, f"{1:064}"), Head(2, 3, f"{3:064}"), Head(3, 2, f"{2:064}")]


@pytest.mark.parametrize("left", [b'{"seq": 2, "ha', b"\0\0\0\0", b"{"])
def test_a_torn_line_is_passed_over_and_the_next_one_is_whole(path: Path, left: bytes) -> None:
    head.append(path, 1, "a")
    with path.open("ab") as file:
        file.write(left)
    assert [line.seq for line in head.read(path)] == [1]
    head.append(path, 3, "c")
    assert [line.seq for line in head.read(path)] == [1, 3]


@pytest.mark.parametrize(
    "line", [b"{}", b'{"seq": "1", "hash": "a"}', b'{"seq": 1}', b"x}", b'{"seq": true, "hash": "a"}']
)
def test_a_line_of_something_else_is_told_as_unreadable(path: Path, line: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(line + b"\n")
    assert list(head.read(path)) == [Head(1, None)]
