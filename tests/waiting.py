"""Waiting for what another process does, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_until(condition: Callable[[], Any], timeout_s: float = 40, log: Path | None = None) -> Any:
    """The condition's first true value; where it never comes, the end of the log says why."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError("the condition did not come true in time" + (log.read_text()[-3000:] if log else ""))
