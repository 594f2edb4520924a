"""A gateway worker's table of open requests without the worker. Run as a program it is killed once it has written it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from inference.gateway.open_requests import OpenRequests
from inference.gateway.open_table import OpenRequest, beside

LIFE = "5d8f5fb2-1f5f-4f6a-9d50-1f4b6c0c9a51"


def request(request_id: str) -> OpenRequest:
    return OpenRequest(
        request_id=request_id, tenant_id="alpha", key_id=None, model="m", endpoint="chat", stream=True, life_id=LIFE,
        replica_id=None, started_at=1_700_000_000.25, silent_events=1, prices=(1_000_000, 100_000, 2_000_000),
    )  # fmt: skip


def leave_open(journal_dir: Path) -> None:
    """One request that is only admitted, one that streams, one that is booked and not told to Redis."""
    worker = OpenRequests(beside(journal_dir))
    worker.hold("req-held")
    streaming = worker.hold("req-open")
    streaming.open(request("req-open"))
    streaming.count(31)
    worker.hold("req-booked").end(12, 20, booked=True)


if __name__ == "__main__":
    leave_open(Path(sys.argv[1]))
    os.kill(os.getpid(), signal.SIGKILL)
