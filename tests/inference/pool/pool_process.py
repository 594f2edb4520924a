"""A pool as a process of its own, on a store in a file: for tests that kill it."""

import sys
from pathlib import Path

from inference.pool import PoolSettings, run_pool
from inference.pool.settings import RaySettings
from tests.inference.pool.table_store import TableStore

if __name__ == "__main__":
    folder, run_folder = Path(sys.argv[1]), Path(sys.argv[2])
    ray = RaySettings(sys.argv[3], tuple(sys.argv[4:])) if len(sys.argv) > 3 else None
    settings = PoolSettings(folder, run_folder, folder / "journal", cpu_devices=2, ray=ray)
    sys.exit(run_pool(TableStore(folder / "store"), settings))
