"""Imports a bundle in one child after the other, each killed at a later sync than the one before, and reports what each left.

A program of its own, so that it forks before any thread exists. Prints one JSON list: what lies in the models' directory under
a name that does not begin with a dot, after each kill, and last after an import that nobody killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from ops.bundle.bring import bring
from ops.bundle.trust import TrustStore
from ops.bundle.verify import accept

MOMENTS = 60


def main(bundle: Path, root: Path, data: Path, cache: Path, now: datetime) -> None:
    """Kill at the first sync, at the second, … until an import needs no more syncs than that."""
    left = []
    for moment in range(MOMENTS):
        child = os.fork()
        if child == 0:
            _die_at_sync(moment)
            try:
                bring(accept(TrustStore(data / "trust"), bundle, root.read_bytes(), now), cache)
            finally:
                os._exit(1 if sys.exc_info()[0] else 0)
        _, status = os.waitpid(child, 0)
        models = cache / "models"
        left.append(sorted(p.name for p in models.iterdir() if p.name[0] != ".") if models.exists() else [])
        if not os.WIFSIGNALED(status):
            break
    print(json.dumps({"left": left, "status": status}))  # noqa: T201 - read by the test


def _die_at_sync(moment: int) -> None:
    real, done = os.fsync, [0]

    def sync(descriptor: int) -> None:
        if done[0] == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        done[0] += 1
        real(descriptor)

    os.fsync = sync


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:5]), datetime.fromisoformat(sys.argv[5]))
