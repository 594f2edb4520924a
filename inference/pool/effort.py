"""Whether the processes of an engine are at work: what tells an engine on processors that is slow from one that is hung.

An engine on a CPU that reads a long prompt, on processors that others use too, may show no token for longer than a
hang takes to be found. Its threads then run, or wait for a processor; those of a hung one do neither. On a card that
tells nothing: there a thread that waits for others spins.
"""

import contextlib
import os
from pathlib import Path

from inference.pool.process import session_members

AT_WORK = 0.5  # of a thread's time; one that computes without a pause has 1, a waiting engine's together far below 0.1


class Effort:
    """Reads how much of the time an engine's processes wanted a processor. The leader only answers requests: not counted.

    Not for use by several threads at once.
    """

    def __init__(self, leader: int, started: int) -> None:
        self._leader = leader
        self._started = started
        self._before: tuple[dict[Path, int], float] | None = None

    def forget(self) -> None:
        """The next look is a first one again."""
        self._before = None

    def is_at_work(self, now: float) -> bool:
        """Whether the threads together wanted a processor for half of the time since the last look; not at the first.

        `now`: monotonic seconds.
        """
        wanted = _wanted_ns(self._leader, self._started)
        before, self._before = self._before, (wanted, now)
        if before is None or now <= before[1]:
            return False
        spent_ns = sum(max(0, ns - before[0].get(thread, 0)) for thread, ns in wanted.items())
        return spent_ns >= AT_WORK * (now - before[1]) * 1e9


def _wanted_ns(leader: int, started: int) -> dict[Path, int]:
    """For each thread the nanoseconds it ran and waited for a processor: the first two fields of its schedstat."""
    found = {}
    for pid in session_members(leader, started):
        threads = Path(f"/proc/{pid}/task")
        with contextlib.suppress(OSError):  # it has ended meanwhile, as one of its threads may below
            for name in os.listdir(threads) if pid != leader else ():
                with contextlib.suppress(OSError, ValueError):
                    path = threads / name / "schedstat"
                    ran, waited, _ = path.read_text().split()
                    found[path] = int(ran) + int(waited)
    return found
