"""Keeps the desired engines running on this machine's devices."""

from inference.pool.run import run_pool
from inference.pool.settings import PoolSettings

__all__ = ["PoolSettings", "run_pool"]
