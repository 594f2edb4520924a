"""Processes by pid and start time."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from inference.pool.process import ExitWatch, is_alive, kill_session, read_stat, session_members


@pytest.fixture
def sleeper():
    """A session of two processes; the leader is our child."""
    child = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    deadline = time.monotonic() + 5
    while len(session_members(child.pid, read_stat(child.pid).started)) < 2:
        assert time.monotonic() < deadline
    yield child
    os.killpg(child.pid, signal.SIGKILL) if session_members(child.pid, 0) or child.poll() is None else None
    child.wait()


def started(child):
    return read_stat(child.pid).started


def test_it_knows_a_process_by_its_start_time(sleeper):
    assert is_alive(sleeper.pid, started(sleeper))
    assert not is_alive(sleeper.pid, started(sleeper) + 1)


def test_it_counts_a_zombie_as_dead():
    child = subprocess.Popen(["true"])
    begun = started(child)
    time.sleep(0.3)
    assert read_stat(child.pid).state == "Z"
    assert not is_alive(child.pid, begun)
    child.wait()
    assert read_stat(child.pid) is None


def test_it_reads_names_with_spaces_and_parentheses(tmp_path):
    odd = tmp_path / "a) b ("
    odd.symlink_to(sys.executable)
    with subprocess.Popen([odd, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert read_stat(child.pid).pid == child.pid
        assert read_stat(child.pid).session == os.getsid(0)


def test_it_ends_the_whole_session(sleeper):
    begun = started(sleeper)
    members = session_members(sleeper.pid, begun)
    assert kill_session(sleeper.pid, begun) == 2
    sleeper.wait()
    deadline = time.monotonic() + 5
    while any(read_stat(pid) and read_stat(pid).state != "Z" for pid in members):
        assert time.monotonic() < deadline


def test_it_ends_what_is_left_after_its_leader(sleeper):
    begun = started(sleeper)
    os.kill(sleeper.pid, signal.SIGKILL)
    sleeper.wait()
    assert kill_session(sleeper.pid, begun) == 1


def test_it_leaves_a_session_alone_whose_leader_is_another_process(sleeper):
    assert session_members(sleeper.pid, started(sleeper) - 1) == []


def test_it_notices_an_exit_at_once(sleeper):
    watch = ExitWatch(sleeper.pid, started(sleeper))
    assert watch.wait(0.05) is False
    os.kill(sleeper.pid, signal.SIGKILL)
    begun = time.monotonic()
    assert watch.wait(20) is True
    assert time.monotonic() - begun < 10
    assert watch.exit_text() == "was killed by SIGKILL"
    watch.close()


def test_it_can_be_woken(sleeper):
    watch = ExitWatch(sleeper.pid, started(sleeper))
    threading.Timer(0.1, watch.wake).start()
    begun = time.monotonic()
    assert watch.wait(20) is False
    assert time.monotonic() - begun < 10
    assert watch.wait(0) is False
    watch.close()
    watch.wake()


def test_it_says_at_once_that_a_process_is_long_gone(sleeper):
    watch = ExitWatch(sleeper.pid, started(sleeper) + 1)
    assert watch.wait(20) is True
    watch.close()
