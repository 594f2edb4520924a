"""The plugin on vLLM's own managers and cache: what is swapped in again is verified, what is pinned is not swapped out."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from inference.devices.info import DeviceInfo
from inference.engines import vllm
from inference.engines.spec import EngineSpec
from inference.pool.adapter_wish import tell
from inference.pool.adapters import Wish
from inference.pool.store import DesiredAdapter
from tests.inference.pool.adapter_dirs import make_adapter

pytestmark = pytest.mark.engine

# The managers are real, without a model: activating an adapter then copies no weights. Reading is told as it happens.
PROGRAM = """
import json, multiprocessing, os
from pathlib import Path
from types import SimpleNamespace
from vllm.lora import worker_manager
from vllm.lora.lora_model import LoRAModel
from vllm.lora.model_manager import AdapterLRUCache, LRUCacheLoRAModelManager
from vllm.lora.request import LoRARequest
read = []
def load(self, request):
    read.append(request.lora_name)
    return LoRAModel(request.lora_int_id, 4, {})
worker_manager.WorkerLoRAManager._load_adapter = load
multiprocessing.current_process().name = "EngineCore"  # that of the API would import much more
from vllm.plugins import load_general_plugins
load_general_plugins()
manager = LRUCacheLoRAModelManager.__new__(LRUCacheLoRAModelManager)
manager.lora_config = SimpleNamespace(max_loras=1, max_cpu_loras=3)
manager.lora_index_to_id, manager.modules = [None], {}
manager._registered_adapters = AdapterLRUCache(manager.capacity, manager.deactivate_adapter)
manager._active_adapters = AdapterLRUCache(manager.lora_slots, manager._deactivate_adapter)
manager._validate_moe_lora_format = manager._create_merged_loras_inplace = lambda lora: None
worker = worker_manager.LRUCacheWorkerLoRAManager.__new__(worker_manager.LRUCacheWorkerLoRAManager)
worker._adapter_manager = manager
folder = Path(os.environ["FOLDER"])
def ask(names):
    read.clear()
    for name in names:
        request = LoRARequest(lora_name=name, lora_int_id=ord(name) - 96, lora_path=str(folder / name))
        try:
            worker._apply_adapters({request})
        except ValueError as fault:
            read.append(f"{type(fault).__name__}: {fault}")
    return list(read)
told = Path(os.environ["CODERACK_ADAPTERS"])
def say(change):
    content = json.loads(told.read_text())
    change(content["adapters"])
    told.with_suffix(".new").write_text(json.dumps(content))
    told.with_suffix(".new").replace(told)
found = {"swapped": ask("abcda"), "pinned": []}
say(lambda adapters: adapters[0].update(pinned=True))
found["pinned"] = ask("bcdebcdea")
say(lambda adapters: [one.update(pinned=True) for one in adapters])
found["all pinned"] = ask("abcdecdea")
say(lambda adapters: [one.update(pinned=False) for one in adapters])
found["unpinned"] = ask("cdea")
(folder / "b" / "adapter_model.safetensors").write_bytes(b"another")
found["changed"] = ask("cba")
print(json.dumps(found))
"""


def test_it_verifies_every_reading_and_keeps_what_is_pinned(slot_python: Path, tmp_path: Path) -> None:
    digests = {name: make_adapter(tmp_path / name) for name in "abcde"}
    adapters = tuple(DesiredAdapter(name, name, "d", tmp_path / name, digests[name], 4) for name in digests)
    spec = EngineSpec(
        slot_python=slot_python, model="m", model_path=tmp_path, max_model_len=512, flags=("--enable-lora",),
        devices=(DeviceInfo("cpu:0", "cpu", "CPU", 1, cores=(0,)),), socket=tmp_path / "e.sock", home=tmp_path,
        cache=tmp_path, scratch=tmp_path, shutdown_timeout_s=1, adapters=tmp_path / "adapters.json",
    )  # fmt: skip
    tell(tmp_path / "adapters.json", Wish(tmp_path, 8, None, adapters))
    environment = vllm.environment(spec) | {"FOLDER": str(tmp_path)}
    done = subprocess.run(
        [str(slot_python), "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["swapped"] == list("abcda")
    assert found["pinned"] == list("bcdebcde"), "a stays, the others share the two places left"
    # of five pinned ones two are kept, a and b, and c, d and e take turns at the last place
    assert found["all pinned"] == list("bcdecde")
    assert found["unpinned"] == list("cdea")
    assert found["changed"][0] == "c"
    assert found["changed"][1:] == [
        "AdapterRefused: adapter b is not served: adapter_model.safetensors was changed since it was registered"
    ], "and a was still there"
