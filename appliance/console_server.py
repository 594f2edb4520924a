"""gunicorn's configuration for the console, beside the command line: the workers' shared counters and their metrics page."""

from __future__ import annotations

import os
from typing import Any

from appliance.env import load

_ENV = load()
_SHARED = _ENV.run_dir / "prom-console"


def on_starting(server: Any) -> None:
    """gunicorn's hook: before the first worker, and before anything imports prometheus_client."""
    _SHARED.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stale in _SHARED.glob("*.db"):
        stale.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_SHARED)


def post_worker_init(worker: Any) -> None:
    """gunicorn's hook: a worker has loaded the console."""
    from appliance.console import metrics  # noqa: PLC0415 - needs Django, which the application sets up

    metrics.show(_ENV.metrics_dir)


def child_exit(server: Any, worker: Any) -> None:
    """gunicorn's hook: forget a dead worker's live gauges."""
    from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415 - reads the variable when it is imported

    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
