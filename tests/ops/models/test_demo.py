"""The real conversion of the real wheel, with the slot and the download that the cache directory already holds."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from appliance.env import load
from ops.models import demo, manifest
from ops.models.errors import ConversionFailed
from ops.slots.install import Slot, ensure_slot
from ops.slots.lock import read_lock


@pytest.fixture(scope="module")
def slot() -> Slot:
    return ensure_slot(read_lock("cpu"), load().cache_dir)


@pytest.fixture(scope="module")
def model(slot: Slot) -> Path:
    return demo.ensure_demo_model(load().cache_dir, slot.python)


@pytest.fixture
def own_cache(tmp_path: Path, model: Path) -> Path:
    shutil.copytree(model.parents[1] / "downloads", tmp_path / "downloads")
    return tmp_path


@pytest.mark.engine
def test_the_demo_model_is_whole_and_ends_a_chat_turn(model: Path) -> None:
    assert manifest.verify(model) == []
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    settings = json.loads((model / "generation_config.json").read_text())
    assert settings["eos_token_id"][0] == tokenizer.token_to_id("<|im_end|>")
    config = json.loads((model / "config.json").read_text())
    assert config["eos_token_id"] == settings["eos_token_id"][0]
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert not [name for name in config if "name_or_path" in name or "quantization" in name]
    assert "<|im_start|>assistant" in (model / "chat_template.jinja").read_text()
    assert "Apache License" in (model / "LICENSE").read_text()


@pytest.mark.engine
def test_a_damaged_model_is_made_again_with_the_same_digest(own_cache: Path, slot: Slot, model: Path) -> None:
    broken = own_cache / "models" / demo.NAME
    shutil.copytree(model, broken)
    (broken / "model.safetensors").write_bytes(b"cut")
    (own_cache / "models" / f".{demo.NAME}.new").mkdir()
    stages: list[str] = []
    made = demo.ensure_demo_model(own_cache, slot.python, lambda progress: stages.append(progress.stage))
    assert stages == ["fetching", "converting", "recording"]
    assert manifest.verify(made) == []
    assert manifest.read(made).digest == manifest.read(model).digest
    assert sorted(path.name for path in made.parent.iterdir()) == [f".{demo.NAME}.lock", demo.NAME]
    demo.ensure_demo_model(own_cache, slot.python, lambda progress: pytest.fail("made twice"))


@pytest.mark.engine
def test_a_failed_conversion_shows_its_last_lines_and_leaves_no_model(own_cache: Path) -> None:
    with pytest.raises(ConversionFailed, match="No module named 'torch'"):
        demo.ensure_demo_model(own_cache, Path(sys.executable))
    assert not (own_cache / "models" / demo.NAME).exists()
