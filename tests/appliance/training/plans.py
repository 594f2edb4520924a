"""A plan as a job keeps it."""

from __future__ import annotations

from typing import Any

PLAN: dict[str, Any] = {
    "device": {"id": "cpu:1", "name": "A CPU", "threads": 2},
    "memory": {
        "weights": 269_000_000, "adapter": 29_000_000, "gradients": 20_000_000, "optimizer": 39_000_000,
        "activations": 2_900_000_000, "runtime": 650_000_000, "total": 3_907_000_000, "available": 8_000_000_000,
    },
    "disk": {
        "dataset": 4096, "checkpoints": 176_000_000, "adapter": 20_000_000, "merged": 0, "total": 196_004_096,
        "free": 50_000_000_000, "reserve": 1 << 30,
    },
    "time": {"tokens": 1200, "epochs": 10, "tokens_per_s": [80.0, 250.0], "seconds": [53, 380], "measured": True},
}  # fmt: skip
