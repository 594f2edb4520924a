"""The CPU engine with adapters: a base request in one batch with an adapter's is answered by the base model; more adapters
than fit are verified whenever they are swapped in, and pinned ones stay.
"""

from __future__ import annotations

import array
import json
import random
import re
import tempfile
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inference.engines import vllm
from inference.pool.adapter_wish import tell
from inference.pool.adapters import Wish
from inference.pool.engine_client import EngineClient
from inference.pool.store import DesiredAdapter
from tests.inference.pool.adapter_dirs import seal
from tests.real_engine import running
from tests.waiting import wait_until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

BASE, ADAPTER = "base", "ft:base:somebody:else:1"
LAYERS, HIDDEN, RANK = 30, 576, 8  # SmolLM2-135M
PROMPT = list(range(100, 140))


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Where the engine's socket, log and the file about its adapters are."""
    with tempfile.TemporaryDirectory(prefix="crlora-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def engine(slot_python: Path, demo_model: Path, place: Path) -> Iterator[EngineClient]:
    """One engine whose only adapter slot is also its last one, and that holds two more in memory."""
    flags = (
        "--max-num-seqs", "16", "--enable-lora", "--max-lora-rank", str(RANK), "--max-loras=1", "--max-cpu-loras=3",
        "--lora-target-modules", "q_proj", "k_proj", "v_proj",
    )  # fmt: skip
    with running(place, slot_python, BASE, demo_model, flags, place / "adapters.json") as client:
        yield client


def write_adapter(folder: Path, seed: int = 1) -> str:
    """Random weights, large enough to change every answer; the digest of the manifest."""
    folder.mkdir()
    draw = random.Random(seed)
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
    return seal(folder)


def say(place: Path, adapters: dict[str, tuple[Path, str]], pinned: Collection[str] = ()) -> None:
    """Tell the engine of its adapters, as the pool does."""
    wanted = (
        DesiredAdapter(name, name, "d", path, digest, RANK, name in pinned) for name, (path, digest) in adapters.items()
    )
    tell(place / "adapters.json", Wish(place, RANK, None, tuple(wanted)))


def load(engine: EngineClient, name: str, folder: Path) -> tuple[int, str]:
    answer = engine.post(*vllm.load_adapter_request(name, folder), 60)
    return answer.status, answer.body.decode()


def score(engine: EngineClient, model: str) -> list[float]:
    body = {"model": model, "prompt": PROMPT, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
    answer = engine.post("/v1/completions", body, 120)
    assert answer.status == 200, answer.body
    positions = answer.json()["choices"][0]["prompt_logprobs"][1:]
    return [position[str(token)]["logprob"] for token, position in zip(PROMPT[1:], positions, strict=True)]


def distance(left: list[float], right: list[float]) -> float:
    return sum(abs(one - other) for one, other in zip(left, right, strict=True)) / len(left)


def test_a_base_request_beside_an_adapters_is_answered_by_the_base_model(
    engine: EngineClient, place: Path, tmp_path: Path
) -> None:
    alone = score(engine, BASE)
    folder = tmp_path / "adapter"
    say(place, {ADAPTER: (folder, write_adapter(folder))})
    assert load(engine, ADAPTER, folder)[0] == 200
    tuned = score(engine, ADAPTER)
    assert distance(alone, tuned) > 0.8
    with ThreadPoolExecutor(12) as pool:
        mixed = list(pool.map(lambda n: (n % 2, score(engine, ADAPTER if n % 2 else BASE)), range(48)))
    for is_tuned, found in mixed:
        assert distance(found, tuned if is_tuned else alone) < 0.2


def test_a_swapped_adapter_is_verified_again_and_a_pinned_one_is_not_swapped(
    engine: EngineClient, place: Path, tmp_path: Path
) -> None:
    """Three places, and four adapters that take turns at them. What the engine reads is in its log."""
    folders = {name: tmp_path / name[-1] for name in ("ft:a", "ft:b", "ft:c", "ft:d")}
    adapters = {name: (folder, write_adapter(folder, seed)) for seed, (name, folder) in enumerate(folders.items())}

    def reads() -> list[str]:
        text = (place / "log").read_text(errors="replace")
        return [name for name in re.findall(r"adapter (\S+): verified and read", text) if name in folders]

    say(place, adapters, pinned=["ft:a"])
    for name, folder in folders.items():
        assert load(engine, name, folder) == (200, f"Success: LoRA adapter '{name}' added successfully.")
    first = score(engine, "ft:a")
    for name in ("ft:b", "ft:c", "ft:d"):
        assert distance(score(engine, name), first) > 0.2
    assert distance(score(engine, "ft:a"), first) < 0.2
    expected = [*folders, "ft:b", "ft:c", "ft:d"]
    wait_until(lambda: len(reads()) >= len(expected))
    assert reads() == expected, "a was loaded first and used least, and stayed"

    weights = folders["ft:b"] / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    refused = engine.post("/v1/completions", {"model": "ft:b", "prompt": PROMPT, "max_tokens": 1}, 120)
    reason = "adapter ft:b is not served: adapter_model.safetensors was changed since it was registered"
    assert (refused.status, refused.json()["error"]["message"]) == (400, reason)
    assert vllm.parse_adapters(engine.get(vllm.ADAPTERS_PATH, 10).json()).keys() >= {"ft:a", "ft:c", "ft:d"}
    assert "ft:b" not in vllm.parse_adapters(engine.get(vllm.ADAPTERS_PATH, 10).json())
    status, told = load(engine, "ft:b", folders["ft:b"])
    assert status == 500
    assert reason in told
    assert distance(score(engine, "ft:a"), first) < 0.2

    weights.write_bytes(kept)
    say(place, adapters)
    score(engine, "ft:c")
    score(engine, "ft:d")
    assert load(engine, "ft:b", folders["ft:b"])[0] == 200
    assert distance(score(engine, "ft:a"), first) < 0.2
    wait_until(lambda: len(reads()) >= len(expected) + 2)
    expected += ["ft:b", "ft:a"]
    assert reads() == expected, "nothing keeps a any longer"

    say(place, adapters, pinned=list(adapters))
    for name in ("ft:c", "ft:d", "ft:c", "ft:b", "ft:a"):
        score(engine, name)
    wait_until(lambda: len(reads()) >= len(expected) + 3)
    assert reads() == [*expected, "ft:c", "ft:d", "ft:c"], "one place stays free, and the engine goes on"
