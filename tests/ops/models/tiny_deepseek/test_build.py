"""The tiny model is what it claims to be. Serving it is tested with the running appliance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from appliance.env import load
from inference.catalog.architecture import DeepseekV2
from inference.catalog.load import preset
from ops.models import manifest
from ops.models.tiny_deepseek.model import ensure_tiny_deepseek
from ops.slots.install import ensure_slot
from ops.slots.lock import read_lock

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def slot_python() -> Path:
    return ensure_slot(read_lock("cpu"), load().cache_dir).python


@pytest.fixture(scope="module")
def model(slot_python: Path) -> Path:
    return ensure_tiny_deepseek(load().cache_dir, slot_python)


def test_it_is_whole_and_small(model: Path) -> None:
    assert manifest.verify(model) == []
    assert (model / "model.safetensors").stat().st_size < 20_000_000


def test_it_has_the_shape_of_the_real_one(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    real = preset("deepseek-coder-v2-lite-instruct").architecture
    assert isinstance(real, DeepseekV2)
    for name in ("kv_lora_rank", "qk_rope_head_dim", "topk_method", "norm_topk_prob"):
        assert config[name] == getattr(real, name)
    assert config["num_experts_per_tok"] == real.experts_per_token
    assert config["n_shared_experts"] == real.shared_experts
    assert config["rope_scaling"]["factor"] == real.yarn.factor


def test_the_fill_in_the_middle_tokens_are_single_tokens(model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    fim = preset("deepseek-coder-v2-lite-base").fim
    assert fim is not None
    for token in (fim.begin, fim.hole, fim.end):
        assert len(tokenizer.encode(token, add_special_tokens=False).ids) == 1
    ascii_look_alike = fim.begin.replace("\uff5c", "|").replace("\u2581", "_")
    assert len(tokenizer.encode(ascii_look_alike, add_special_tokens=False).ids) > 1


def test_its_tokenizer_begins_a_text_with_one_begin_token(model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    config = json.loads((model / "config.json").read_text())
    text = "def add(a, b):\n    return a + b  # \u52a0\u6cd5\n"
    ids = tokenizer.encode(text).ids
    assert ids[0] == config["bos_token_id"]
    assert tokenizer.decode(ids) == text


def test_building_it_again_gives_the_same_model(tmp_path: Path, slot_python: Path, model: Path) -> None:
    again = ensure_tiny_deepseek(tmp_path, slot_python)
    assert manifest.read(again).digest == manifest.read(model).digest


def test_another_seed_gives_another_version_of_the_same_shape(slot_python: Path, model: Path) -> None:
    other = ensure_tiny_deepseek(load().cache_dir, slot_python, seed=7)
    assert other != model
    assert manifest.verify(other) == []
    for same in ("config.json", "tokenizer.json"):
        assert (other / same).read_bytes() == (model / same).read_bytes()
    assert manifest.read(other).digest != manifest.read(model).digest
