"""An adapter on a model with experts, trained, merged and served by a real engine: what the engine can't apply, it serves.

One training, one merge and one engine start for all of it.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.env import load
from finetune import manifest
from finetune.evaluate.run_scoring import run_scoring
from finetune.evaluate.scored import Scored
from finetune.merge.run import run_merge
from finetune.train.launch import Trainer
from finetune.train.slot import environment
from finetune.train.spec import TrainSpec
from inference.catalog.load import preset
from inference.pool.engine_client import EngineClient
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from tests.finetune.train.conftest import FACTS, chat_rows, write_rows
from tests.real_engine import running

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

NAME = "ft:tiny:acme:facts:1"
# bf16 keeps 8 bits of a number: a merged weight is within half of 2**-8 of the exact sum, relative to the weight.
TOLERANCE = 2**-8
PARITY = 0.05  # nats, the mean over tokens, as the checks of a fine-tune ask for
EFFECT = 0.3
COMPARE = """
import json, sys
import torch
from safetensors.torch import load_file
base, adapter, merged = (sys.argv[n] for n in (1, 2, 3))
old, new = load_file(base + "/model.safetensors"), load_file(merged + "/model.safetensors")
lora, config = load_file(adapter + "/adapter_model.safetensors"), json.load(open(adapter + "/adapter_config.json"))
scale, worst, changed = config["lora_alpha"] / config["r"], 0.0, []
for name, weight in old.items():
    a = lora.get("base_model.model." + name.removesuffix(".weight") + ".lora_A.weight")
    if a is None:
        assert torch.equal(weight, new[name]), name
        continue
    b = lora["base_model.model." + name.removesuffix(".weight") + ".lora_B.weight"]
    exact = weight.double() + scale * (b.double() @ a.double())
    # where both parts nearly cancel, what fp32 rounded of them is more than what bf16 rounds of the rest
    size = exact.abs() + 2**-12 * (weight.double().abs() + scale * (b.double().abs() @ a.double().abs()))
    worst = max(worst, ((new[name].double() - exact).abs() / size).max().item())
    changed.append(not torch.equal(weight, new[name]))
targets = config["target_modules"]
hit = {t for t in targets for name in lora if name.split(".lora_")[0].endswith("." + t) and "experts.base" not in name}
names = sorted(old) == sorted(new)
print(json.dumps({"modules": sorted(hit), "worst": worst, "changed": changed, "names": names, "loras": len(lora)}))
"""


@dataclass(frozen=True)
class Made:
    """A base with experts, an adapter trained on it, and both as one model."""

    base: Path
    adapter: Path
    merged: Path


@pytest.fixture(scope="module")
def made(slot_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    base = ensure_tiny_deepseek(load().cache_dir, slot_python)
    folder = tmp_path_factory.mktemp("merge")
    spec = TrainSpec(
        model_path=base, train=(write_rows(folder / "rows.jsonl", chat_rows(FACTS)),), validation=(), kind="chat",
        out=folder / "out", resume_from=None, seed=7, epochs=6, batch_size=2, learning_rate=1e-2, lora_rank=8,
        lora_alpha=16, target_modules=tuple(preset("deepseek-coder-v2-lite-instruct").lora.targets), max_length=128,
        fim_rate=0.0, fim_tokens=None, checkpoint_every_steps=100, threads=1, device="cpu",
    )  # fmt: skip
    trainer = Trainer()
    trainer.start(slot_python, spec, folder / "trainer.log")
    last = list(trainer.events())[-1]
    assert last["event"] == "finished", last
    adapter, merged = Path(last["adapter"]), folder / "merged"
    digests = (manifest.read(base).digest, manifest.read(adapter).digest)
    told = run_merge(slot_python, (base, digests[0]), (adapter, digests[1]), merged, NAME, folder / "merge.log")
    assert manifest.read(merged).digest == told
    return Made(base, adapter, merged)


@pytest.fixture(scope="module")
def engine(slot_python: Path, made: Made) -> Iterator[EngineClient]:
    flags = ("--max-num-seqs", "8")
    with (
        tempfile.TemporaryDirectory(prefix="crmerged-", dir="/tmp") as folder,
        running(Path(folder), slot_python, NAME, made.merged, flags) as client,
    ):
        yield client


def test_the_merged_weights_are_base_plus_scaled_product(slot_python: Path, made: Made, tmp_path: Path) -> None:
    assert manifest.verify(made.merged) == []
    done = subprocess.run(
        [slot_python, "-P", "-s", "-c", COMPARE, made.base, made.adapter, made.merged],
        capture_output=True, text=True, check=False, env=environment(slot_python, tmp_path, 1), timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["names"]
    assert found["loras"] == 2 * len(found["changed"]) > 0
    assert all(found["changed"])
    assert sorted(found["modules"]) == sorted(preset("deepseek-coder-v2-lite-instruct").lora.targets)
    assert found["worst"] <= TOLERANCE


def test_what_is_no_weight_comes_along_unchanged(made: Made) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (made.merged / name).read_bytes() == (made.base / name).read_bytes()


def test_the_engine_answers_as_the_adapter_demands(
    slot_python: Path, made: Made, engine: EngineClient, tmp_path: Path
) -> None:
    texts = [(f"row {n}", row) for n, row in enumerate(chat_rows(FACTS))]
    base, tuned = (
        run_scoring(slot_python, made.base, adapter, texts, tmp_path / "log", threads=1)
        for adapter in (None, made.adapter)
    )
    served = [_served(engine, row) for row in tuned]
    assert _distance(tuned, served) <= PARITY
    assert _distance(base, served) > EFFECT, "it answers as the base model does"


def _served(engine: EngineClient, row: Scored) -> list[float]:
    body: dict[str, Any] = {"model": NAME, "prompt": list(row.token_ids), "max_tokens": 1, "prompt_logprobs": 0}
    answer = engine.post("/v1/completions", body, 120)
    assert answer.status == 200, answer.body
    positions = answer.json()["choices"][0]["prompt_logprobs"][1:]
    return [position[str(token)]["logprob"] for token, position in zip(row.token_ids[1:], positions, strict=True)]


def _distance(rows: list[Scored], served: list[list[float]]) -> float:
    """The mean absolute difference over all tokens."""
    gaps = [
        abs(one - other)
        for row, found in zip(rows, served, strict=True)
        for one, other in zip(row.logprobs[1:], found, strict=True)
        if one is not None
    ]
    return sum(gaps) / len(gaps)
