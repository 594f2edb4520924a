"""A child that never outlives the process that started it. Standard library only: it runs before anything heavy is loaded."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PARENT_GONE = 76  # exit status


def die_with(parent: int) -> None:
    """Ask the kernel for a SIGKILL when the parent ends; end at once where it has ended already.

    The kernel watches the *thread* that started this process: it must live as long as the process should.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent:  # it ended before the line above, which then waits for nothing
        sys.exit(PARENT_GONE)
