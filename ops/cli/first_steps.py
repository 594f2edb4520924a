"""What `coderack up` does before its processes start: engine slot, demo model, database, first rows. All of it idempotent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.env import Env
from ops.cli.database import connect
from ops.slots.install import Slot, ensure_slot
from ops.slots.lock import read_lock

DEMO_NAME = "smollm2-135m-instruct"
