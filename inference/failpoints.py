"""Named places at which a test can have a process killed as if by a power cut. Off unless the environment names one."""

from __future__ import annotations

import os
import signal

VARIABLE = "FAILPOINT"
_armed = os.environ.get(VARIABLE, "")


def reach(name: str) -> None:
    """Die here by SIGKILL, where the environment says so."""
    if _armed == name:
        os.kill(os.getpid(), signal.SIGKILL)
