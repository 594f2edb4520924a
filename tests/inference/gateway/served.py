"""gunicorn's configuration and "application" for the tests, both made from one environment variable."""

from __future__ import annotations

import json
import os
from pathlib import Path

_facts = json.loads(os.environ["GATEWAY_TEST"])
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _facts["prom"]
Path(_facts["prom"]).mkdir(exist_ok=True)

from inference.gateway.settings import GatewaySettings  # noqa: E402
from inference.gateway.worker import child_exit  # noqa: E402

bind = f"127.0.0.1:{_facts['port']}"
workers = _facts["workers"]
worker_class = "inference.gateway.worker.GatewayWorker"
graceful_timeout = _facts["extra"].pop("graceful_s", 5)
timeout = 30
control_socket_disable = True
__all__ = ["child_exit"]
_extra = _facts["extra"]


def settings() -> GatewaySettings:
    return GatewaySettings(
        host="127.0.0.1",
        port=_facts["port"],
        workers=workers,
        console_socket=Path(_facts["console_socket"]),
        directory_dsn=_facts["dsn"],
        journal_dir=Path(_facts["journal"]),
        salt_secret=b"salt",
        redis_url=_facts["redis"],
        prom_dir=Path(_facts["prom"]),
        metrics_dir=Path(_facts["console_socket"]).parent / "metrics",
        board_path=Path(_facts["prom"]) / "board",
        max_body_bytes=1024 * 1024,
        **{"redis_answer_s": 2.0, "fim_target_s": 60.0, **_extra},  # a busy machine is no fault
    )
