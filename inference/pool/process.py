"""Processes that may not be our children: who they are, whether they live, when they end, how to end all of them.

A process is named by pid and start time, so that a number the kernel gave away again is never mistaken for it. A zombie
counts as dead. What the process is for is the launcher's and the supervisor's business.
"""

import contextlib
import os
import select
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessStat:
    """The fields of /proc/<pid>/stat that tell processes apart."""

    pid: int
    state: str
    session: int
    started: int  # clock ticks since boot


def read_stat(pid: int) -> ProcessStat | None:
    """What the kernel says about a process; None when there is none with this pid."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # the name in parentheses may hold spaces and parentheses of its own
    fields = text[text.rindex(")") + 2 :].split()
    return ProcessStat(pid=pid, state=fields[0], session=int(fields[3]), started=int(fields[19]))


def is_alive(pid: int, started: int) -> bool:
    """Whether this very process still runs."""
    stat = read_stat(pid)
    return stat is not None and stat.started == started and stat.state not in {"Z", "X"}


def session_of(pid: int) -> int | None:
    """The session that a process belongs to; None when it can't be looked up."""
    stat = read_stat(pid)
    return None if stat is None else stat.session


def session_members(leader: int, started: int) -> list[int]:
    """The living processes of the session that this leader began, itself included.

    The kernel gives a session's number to no new process while a member lives: if the leader's pid belongs to somebody
    else now, no member is left.
    """
    holder = read_stat(leader)
    if holder is not None and holder.started != started:
        return []
    stats = [read_stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [stat.pid for stat in stats if stat is not None and stat.session == leader and stat.state not in {"Z", "X"}]


def kill_session(leader: int, started: int) -> int:
    """SIGKILL every process of the session; how many there were."""
    members = session_members(leader, started)
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(members)


class ExitWatch:
    """Sleeps until a process has ended or somebody calls `wake`. Use from one thread; `wake` from any, at any time."""

    def __init__(self, pid: int, started: int) -> None:
        self.pid = pid
        self.started = started
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = threading.Lock()
        self._is_closed = False
        self._pidfd = _open_pidfd(pid, started)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        if self._pidfd is not None:
            self._poll.register(self._pidfd, select.POLLIN)

    def wait(self, timeout_s: float) -> bool:
        """Sleep; True once the process has ended."""
        if self._pidfd is None:
            return True
        events = dict(self._poll.poll(max(0.0, timeout_s) * 1000))
        if self._wake in events:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
        return self._pidfd in events

    def wake(self) -> None:
        with self._closing:  # a closed descriptor's number may be somebody else's file by now
            if not self._is_closed:
                os.eventfd_write(self._wake, 1)

    def send(self, number: signal.Signals) -> None:
        """Signal this very process, if it still lives."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        with self._closing:
            self._is_closed = True
            if self._pidfd is not None:
                os.close(self._pidfd)
            os.close(self._wake)

    def exit_text(self) -> str:
        """How it ended, in words; reaps it where it was our child, else nobody tells us."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return "ended (it was adopted: its exit status is not known)"
        if pid == 0:
            return "is still running"
        if os.WIFSIGNALED(status):
            return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
        return f"exited with status {os.waitstatus_to_exitcode(status)}"


def _open_pidfd(pid: int, started: int) -> int | None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # checked after the opening: from here on the descriptor means this process, whatever happens to its number
    if is_alive(pid, started):
        return pidfd
    os.close(pidfd)
    return None
