"""Starts the metrics page of the process it is called in; the gateway hands it on at `/metrics/<process>`."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from inference.metrics.family import ProcessFamily
from inference.metrics.page import MetricsPage, serve


def show(metrics_dir: Path, process: str, registry: CollectorRegistry) -> MetricsPage | None:
    """Serve a registry, and what this process uses, until the process ends."""
    usage = CollectorRegistry()
    usage.register(ProcessFamily(os.getpid(), children=False))
    return serve(metrics_dir / f"{process}.sock", lambda: generate_latest(usage) + generate_latest(registry))
