"""Which tests stay together where several processes share them, and which of them come first.

What asks the running appliance is one group, for there is one appliance in a session, what starts engines another, and what
runs programs in sandboxes a third: it looks for sandboxes that were left behind. All other tests go by file. The longest come
first, so that no process is left with one of them at the end.
"""

from __future__ import annotations

from collections.abc import Collection

APPLIANCE, ENGINES = "appliance", "engines"
SANDBOXES = "tests/finetune/evaluate/"
LONG_FILES = (
    "tests/appliance/batches/test_process.py",
    "tests/appliance/operations/test_restores.py",
    "tests/appliance/operations/test_acceptance.py",
    "tests/inference/gateway/test_faults.py",
    "tests/inference/pool/test_supervisor.py",
    "tests/ops/slots/test_install.py",
)


def place(path: str, marks: Collection[str]) -> tuple[int, str]:
    """When a test's turn comes, the lowest first, and the group it belongs to, by its file and its markers."""
    if "appliance" in marks:
        return 0, APPLIANCE
    if {"engine", "browser", "gpu", "ray"} & set(marks):
        return 2, ENGINES
    if path.startswith(SANDBOXES):
        return 3, SANDBOXES
    return (1 if path in LONG_FILES else 3), path
