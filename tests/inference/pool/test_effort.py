"""Whether an engine's processes are at work."""

import os
import signal
import subprocess
import sys
import time

import pytest

from inference.pool.effort import Effort
from inference.pool.process import read_stat, session_members

LOOKS_S = 0.5


@pytest.fixture
def session(request):
    """A leader that does nothing, with a second process that runs a line of Python."""
    child = subprocess.Popen(["sh", "-c", f"{sys.executable} -c '{request.param}' & wait"], start_new_session=True)
    started = read_stat(child.pid).started
    deadline = time.monotonic() + 20
    while len(session_members(child.pid, started)) < 2:
        assert time.monotonic() < deadline
    yield child.pid, started
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def look_twice(effort):
    """Whether it was at work between two looks; the first says nothing."""
    assert not effort.is_at_work(time.monotonic())
    time.sleep(LOOKS_S)
    return effort.is_at_work(time.monotonic())


COMPUTES = "while True: pass"
THREADS = "import threading; [threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start() for _ in range(3)]"
SLEEPS = "import time; time.sleep(60)"


@pytest.mark.parametrize("session", [COMPUTES, THREADS], indirect=True)
def test_one_that_computes_is_at_work_until_it_is_stopped(session):
    assert look_twice(Effort(*session))
    for pid in session_members(*session):
        os.kill(pid, signal.SIGSTOP)
    assert not look_twice(Effort(*session))


@pytest.mark.parametrize("session", [COMPUTES], indirect=True)
def test_what_lies_before_it_was_forgotten_does_not_count(session):
    effort = Effort(*session)
    assert look_twice(effort)
    effort.forget()
    assert not effort.is_at_work(time.monotonic())


@pytest.mark.parametrize("session", [SLEEPS], indirect=True)
def test_one_that_waits_is_not_at_work(session):
    time.sleep(LOOKS_S)  # loading is work
    assert not look_twice(Effort(*session))


@pytest.mark.parametrize("session", [SLEEPS], indirect=True)
def test_the_leader_and_strangers_do_not_count(session):
    leader, started = session
    assert not look_twice(Effort(leader, started - 1))
    own = subprocess.Popen([sys.executable, "-c", COMPUTES], start_new_session=True)
    try:
        assert not look_twice(Effort(own.pid, read_stat(own.pid).started))
    finally:
        own.kill()
        own.wait()
