"""What runs inside Ray on the other machine: an actor that starts a node process, and one that reads devices.

Ray gets this module by value: it needs nothing of ours to be importable there, only our programs at the place they are told.
It uses the standard library and Ray. Ray's bookings are made by the actor itself, so that they end when it ends.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from typing import Any

ANSWER_S = 90.0
BOOK_S = 45.0
READ_S = 30.0
UNUSED_S = 180.0  # longer than anybody waits for `start`


def _missing(python: str, root: str) -> str:
    program = os.path.join(root, "inference", "pool", "ray", "node.py")
    if not os.access(python, os.X_OK) or not os.path.exists(program):
        return f"the appliance is not installed there as it is here: {python} and {program} have to be there"
    return ""


def _start(python: str, root: str, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "CUDA_HOME", "TZ", "HOME") if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith(("ASCEND_", "ATB_"))}
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": root, "PYTHONSAFEPATH": "1", **kept}
    return subprocess.Popen(
        [python, "-m", module, *arguments],
        env=environment,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """One line of its output; empty when there is none in time."""
    assert process.stdout is not None  # noqa: S101 - a pipe
    deadline, line = time.monotonic() + timeout_s, b""
    while not line.endswith(b"\n"):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([process.stdout], [], [], left_s)[0]:
            return b""
        more = os.read(process.stdout.fileno(), 65536)
        if not more:
            return b""
        line += more
    return line


class Hand:
    """One engine's actor. Its life is the engine's, and that of its devices' booking."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        timer = threading.Timer(UNUSED_S, self._leave_unused)
        timer.daemon = True
        timer.start()

    def start(self, node_id: str, bundle: dict[str, float], python: str, root: str, order: bytes) -> dict[str, Any]:
        """Book the devices and start the node process: its answer, or why there is none."""
        refused = _missing(python, root) or self._book(node_id, bundle)
        if refused:
            return {"refused": refused}
        process = self._process = _start(python, root, "inference.pool.ray.node")
        assert process.stdin is not None  # noqa: S101 - a pipe
        process.stdin.write(order + b"\n")
        process.stdin.flush()
        answer = _line(process, ANSWER_S)
        threading.Thread(target=self._leave_with, args=(process,), daemon=True).start()
        return {"answer": answer} if answer else {"refused": "its node process did not answer: see Ray's worker logs"}

    def _book(self, node_id: str, bundle: dict[str, float]) -> str:
        from ray.util.placement_group import placement_group  # noqa: PLC0415

        here = [{"ray.io/node-id": node_id}]
        self._group = placement_group([bundle], strategy="STRICT_PACK", bundle_label_selector=here)
        if self._group.wait(BOOK_S):
            return ""
        return f"Ray has no room for {bundle} there: others have booked it"

    def _leave_unused(self) -> None:
        """End an actor that started nothing: who made it was killed before it could start it, or end it when refused."""
        if self._process is None:
            os._exit(0)

    def _leave_with(self, process: subprocess.Popen[bytes]) -> None:
        """End the actor once the node process has closed its output."""
        assert process.stdout is not None  # noqa: S101 - a pipe
        while os.read(process.stdout.fileno(), 4096):
            pass
        time.sleep(1)  # an answer that refuses is on its way
        os._exit(0)


class Eye:
    """Reads one machine's devices, again and again, in a process of our own."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, python: str, root: str, run_dir: str, kind: str) -> dict[str, Any]:
        """The devices as a line, or why they could not be read."""
        if self._process is None:
            refused = _missing(python, root)
            if refused:
                return {"refused": refused}
            self._process = _start(python, root, "inference.pool.ray.reading", run_dir, kind)
        assert self._process.stdin is not None  # noqa: S101 - a pipe
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
            line = _line(self._process, READ_S)
        except BrokenPipeError:
            line = b""
        if line:
            return {"line": line}
        self._process.kill()
        self._process = None
        return {"refused": "its devices could not be read in time"}
