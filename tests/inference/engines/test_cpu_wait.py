"""The CPU engine's processes wait for each other without spinning: the plugin, in the engine's own vLLM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from inference.devices.info import DeviceInfo
from inference.engines import vllm
from inference.engines.spec import EngineSpec

pytestmark = pytest.mark.engine

READER = """
import os, resource, threading, time, zmq
from vllm.plugins import load_general_plugins
load_general_plugins()
from vllm.distributed.device_communicators.shm_broadcast import SpinCondition
address = "ipc://" + os.environ["PLACE"] + "/s"
context = zmq.Context()
writer = SpinCondition(is_reader=False, context=context, notify_address=address)
reader = SpinCondition(is_reader=True, context=context, notify_address=address)
time.sleep(0.2)  # until the two are connected
reader.record_read()
spent, began = resource.getrusage(resource.RUSAGE_THREAD), time.monotonic()
threading.Timer(0.8, writer.notify).start()
while time.monotonic() - began < 0.7:
    reader.wait(timeout_ms=3000)
used = resource.getrusage(resource.RUSAGE_THREAD)
print(reader.busy_loop_s, used.ru_utime + used.ru_stime - spent.ru_utime - spent.ru_stime, time.monotonic() - began < 3)
"""


def test_a_process_that_waits_for_a_message_leaves_its_core_to_others_and_is_woken(
    slot_python: Path, tmp_path: Path
) -> None:
    spec = EngineSpec(
        slot_python=slot_python, model="m", model_path=tmp_path, max_model_len=512, flags=(),
        devices=(DeviceInfo("cpu:0", "cpu", "CPU", 1, cores=(0,)),),
        socket=tmp_path / "e.sock", home=tmp_path, cache=tmp_path, scratch=tmp_path, shutdown_timeout_s=1,
    )  # fmt: skip
    told = subprocess.run(
        [str(slot_python), "-c", READER], env=vllm.environment(spec) | {"PLACE": str(tmp_path)}, capture_output=True,
        text=True, check=True, timeout=300,
    ).stdout.splitlines()[-1]  # fmt: skip
    spins_s, used_s, woken = told.split()
    assert float(spins_s) < 0.01
    assert float(used_s) < 0.2, "it was busy while it waited"
    assert woken == "True"
