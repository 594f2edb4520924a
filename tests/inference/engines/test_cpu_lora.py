"""The CPU engine with adapters: a base request in one batch with an adapter's is answered by the base model."""

from __future__ import annotations

import array
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference.devices.info import DeviceInfo
from inference.engines import vllm
from inference.engines.spec import EngineSpec
from inference.pool.engine_client import EngineClient
from inference.pool.errors import EngineUnreachable

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

BASE, ADAPTER = "base", "ft:base:somebody:else:1"
LAYERS, HIDDEN, RANK = 30, 576, 8  # SmolLM2-135M
PROMPT = list(range(100, 140))
START_S = 300.0


@pytest.fixture(scope="module")
def engine(slot_python: Path, demo_model: Path) -> Iterator[EngineClient]:
    """One engine whose only adapter slot is also its last one."""
    with tempfile.TemporaryDirectory(prefix="crlora-", dir="/tmp") as folder:
        place = Path(folder)
        spec = EngineSpec(
            slot_python=slot_python, model=BASE, model_path=demo_model, max_model_len=512,
            flags=(
                "--max-num-seqs", "16", "--enable-lora", "--max-lora-rank", str(RANK), "--max-loras=1",
                "--lora-target-modules", "q_proj", "k_proj", "v_proj",
            ),
            devices=(DeviceInfo("cpu:0", "cpu", "CPU", 1, cores=tuple(sorted(os.sched_getaffinity(0)))),),
            socket=place / "e.sock", home=place / "home", cache=place / "cache", scratch=place, shutdown_timeout_s=1,
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


def write_adapter(folder: Path) -> None:
    """Random weights, large enough to change every answer."""
    folder.mkdir()
    draw = random.Random(1)
    header: dict[str, object] = {}
    values = array.array("f")
    for layer in range(LAYERS):
        for side, shape in (("A", [RANK, HIDDEN]), ("B", [HIDDEN, RANK])):
            name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{side}.weight"
            begin = 4 * len(values)
            values.extend(draw.gauss(0, 0.5) for _ in range(RANK * HIDDEN))
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, 4 * len(values)]}
    text = json.dumps(header).encode()
    weights = len(text).to_bytes(8, "little") + text + values.tobytes()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    config = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": ["q_proj"],
        "task_type": "CAUSAL_LM",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def score(engine: EngineClient, model: str) -> list[float]:
    body = {"model": model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    answer = engine.post("/v1/completions", body, 120)
    assert answer.status == 200, answer.body
    positions = answer.json()["choices"][0]["prompt_logprobs"][1:]
    return [position[str(token)]["logprob"] for token, position in zip(PROMPT[1:], positions, strict=True)]


def distance(left: list[float], right: list[float]) -> float:
    return sum(abs(one - other) for one, other in zip(left, right, strict=True)) / len(left)


def test_a_base_request_beside_an_adapters_is_answered_by_the_base_model(engine: EngineClient, tmp_path: Path) -> None:
    alone = score(engine, BASE)
    write_adapter(tmp_path / "adapter")
    loaded = engine.post(*vllm.load_adapter_request(ADAPTER, tmp_path / "adapter"), 60)
    assert loaded.status == 200, loaded.body
    tuned = score(engine, ADAPTER)
    assert distance(alone, tuned) > 0.8
    with ThreadPoolExecutor(12) as pool:
        mixed = list(pool.map(lambda n: (n % 2, score(engine, ADAPTER if n % 2 else BASE)), range(48)))
    for is_tuned, found in mixed:
        assert distance(found, tuned if is_tuned else alone) < 0.2
