"""The board: what workers see of each other, and what becomes of a dead one's share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inference.gateway import board as boards
from inference.gateway.board import NO_HEAD, SHARES, Board

REPO = Path(__file__).resolve().parents[3]
OTHER = """
import sys
from pathlib import Path
from inference.gateway.board import Board
board = Board(Path(sys.argv[1]))
life, share = board.life("life"), board.share("share")
board.add(life, 3, 500)
board.serve(share, 70)
board.show_heads({life: 7})
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def open_board(tmp_path: Path) -> Iterator[Callable[[], Board]]:
    opened: list[Board] = []

    def make() -> Board:
        opened.append(Board(tmp_path / "board"))
        return opened[-1]

    yield make
    for board in opened:
        if not board.closed:
            board.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of its own process, with something under way."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path / "board")],
        cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.communicate()


def test_workers_see_the_sum_of_what_all_have_under_way(open_board: Callable[[], Board]) -> None:
    first, second = open_board(), open_board()
    assert first.life("a") == second.life("a") != second.life("b")
    first.add(first.life("a"), 1, 100)
    second.add(second.life("a"), 2, 50)
    assert first.load(first.life("a")) == second.load(second.life("a")) == (3, 150)
    assert first.load(first.life("b")) == (0, 0)
    second.add(second.life("a"), -2, -50)
    assert first.load(first.life("a")) == (1, 100)


def test_a_worker_that_comes_later_is_seen_at_once(open_board: Callable[[], Board]) -> None:
    first = open_board()
    assert first.load(first.life("a")) == (0, 0)
    late = open_board()
    late.add(late.life("a"), 1, 1)
    assert first.load(first.life("a")) == (1, 1)
    late.close()
    assert first.load(first.life("a")) == (0, 0)


def test_a_dead_workers_load_does_not_count_and_its_service_does(
    open_board: Callable[[], Board], other: subprocess.Popen[bytes]
) -> None:
    board = open_board()
    life, share = board.life("life"), board.share("share")
    assert board.load(life) == (3, 500)
    board.sweep()
    assert board.load(life) == (3, 500)
    other.send_signal(signal.SIGKILL)
    other.wait()
    board.sweep()
    assert (board.load(life), board.served(share), board.head(life)) == ((0, 0), 70, NO_HEAD)
    successor = open_board()
    assert successor.load(life) == (0, 0)
    successor.serve(share, 5)
    assert board.served(share) == 75


def test_a_new_worker_takes_a_dead_ones_region(open_board: Callable[[], Board], other: subprocess.Popen[bytes]) -> None:
    other.kill()
    other.wait()
    board = open_board()
    assert board.load(board.life("life")) == (0, 0)
    assert board._words[boards.NUM_REGIONS] == 1


def test_a_process_that_has_a_dead_ones_number_is_not_taken_for_it(
    open_board: Callable[[], Board], other: subprocess.Popen[bytes]
) -> None:
    board = open_board()
    board._words[board._others[0] if board._others else boards.FIRST_REGION] = os.getpid()
    board.sweep()
    assert board.load(board.life("life")) == (0, 0)


def test_the_least_head_of_the_others_is_seen_and_goes_when_it_is_old(
    open_board: Callable[[], Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = open_board(), open_board(), open_board()
    life = first.life("a")
    assert first.head(life) == NO_HEAD
    second.show_heads({life: 9})
    third.show_heads({life: 0})
    assert (first.head(life), third.head(life)) == (0, 9)
    assert first.shows_heads()
    third.show_heads({})
    assert first.head(life) == 9
    assert not second.shows_heads()
    now = boards.time.monotonic_ns()
    monkeypatch.setattr(boards.time, "monotonic_ns", lambda: now + boards.HEADS_HOLD_NS + 1)
    assert first.head(life) == NO_HEAD


def test_counters_and_clocks_are_shared(open_board: Callable[[], Board]) -> None:
    first, second = open_board(), open_board()
    first.serve(first.share("a"), 10)
    second.serve(second.share("a"), 5)
    second.serve(second.share("b"), 1)
    assert first.served(first.share("a")) == 15
    first.set_clock(first.share("a"), 3)
    second.set_clock(second.share("a"), 4)
    assert first.clock(first.share("a")) == 4


def test_lives_that_ended_make_room_for_new_ones(open_board: Callable[[], Board]) -> None:
    first, second = open_board(), open_board()
    kept = first.life("kept")
    first.add(kept, 1, 1)
    for number in range(2 * boards.LIVES):
        second.life(f"life {number}")
    assert first.load(first.life("kept")) == (1, 1)
    assert first.life("kept") == kept
    assert first.life("life 1") == second.life("life 1")


def test_new_counters_take_the_places_of_those_that_are_not_served(open_board: Callable[[], Board]) -> None:
    one = open_board()
    active = [f"active {number}" for number in range(100)]
    for name in (*active, *(f"gone {number}" for number in range(SHARES - 100))):
        one.serve(one.share(name), 10**9 if name in active else 10)
    places = [one.share(name) for name in active]
    for number in range(100):
        place = one.share(f"new {number}")
        assert one.served(place) == 10  # another's old value, but no active one's
        one.serve(place, 10**9)
        places.append(place)
    assert len(set(places)) == 200
    assert [one.share(name) for name in active] == places[:100]


def test_a_file_of_another_layout_is_replaced(tmp_path: Path, open_board: Callable[[], Board]) -> None:
    (tmp_path / "board").write_bytes(b"something else")
    first, second = open_board(), open_board()
    first.add(first.life("a"), 1, 1)
    assert second.load(second.life("a")) == (1, 1)


def test_a_worker_without_a_disk_counts_alone(tmp_path: Path) -> None:
    board = Board(tmp_path / "nowhere" / "board")
    board.add(board.life("a"), 1, 1)
    assert board.load(board.life("a")) == (1, 1)
    board.close()
