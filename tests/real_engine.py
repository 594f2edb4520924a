"""A real engine of the slot for a test, by the pool's own command line, on this machine's processors."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.devices.info import DeviceInfo
from inference.engines import vllm
from inference.engines.spec import EngineSpec
from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable

START_S = 540.0


@contextmanager
def running(
    place: Path, slot_python: Path, model: str, model_path: Path, flags: tuple[str, ...], adapters: Path | None = None
) -> Iterator[EngineClient]:
    """An engine that answers. Its socket, home and log are in `place`, whose path is short; it is killed afterwards."""
    spec = EngineSpec(
        slot_python=slot_python, model=model, model_path=model_path, max_model_len=512, flags=flags,
        devices=(DeviceInfo("cpu:0", "cpu", "CPU", 1, cores=tuple(sorted(os.sched_getaffinity(0)))),),
        socket=place / "e.sock", home=place / "home", cache=place / "cache", scratch=place, shutdown_timeout_s=1,
        adapters=adapters,
    )  # fmt: skip
    for directory in (spec.home, spec.cache):
        directory.mkdir()
    log = place / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            vllm.command(spec), env=vllm.environment(spec), cwd=place, stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        yield _when_up(EngineClient(spec.socket), process, log)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _when_up(client: EngineClient, process: subprocess.Popen[bytes], log: Path) -> EngineClient:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if client.get(vllm.HEALTH_PATH, 2).status == 200:
                return client
        except EngineUnreachable:
            pass
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        time.sleep(0.5)
