"""A model directory of which something is missing is told apart from a whole one, whatever its manifest says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.models.checkpoint import gaps

INDEX = "model.safetensors.index.json"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (tmp_path / "model-1.safetensors").touch()
    return tmp_path


def test_a_whole_one_has_none(model: Path) -> None:
    assert gaps(model) == []
    (model / INDEX).write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}))
    assert gaps(model) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "config.json: missing"),
        ('{"model_type": ', "config.json: holds no object"),
        ("[]", "config.json: holds no object"),
        ("{}", "config.json: names no architecture: the engine would not know what it is"),
        ('{"architectures": "x"}', "config.json: names no architecture: the engine would not know what it is"),
    ],
)
def test_a_configuration_that_says_nothing(model: Path, content: str | None, told: str) -> None:
    (model / "config.json").unlink() if content is None else (model / "config.json").write_text(content)
    assert gaps(model) == [told]


def test_shards_that_are_missing_are_named(model: Path) -> None:
    (model / INDEX).write_text(json.dumps({"weight_map": {str(n): f"model-{n}.safetensors" for n in range(1, 9)}}))
    [told] = gaps(model)
    assert told.startswith(f"{INDEX}: shards are missing: model-2.safetensors, ")
    assert told.endswith(" and 2 more")
    for content in ("{}", "[", '{"weight_map": []}'):
        (model / INDEX).write_text(content)
        assert gaps(model) == [f"{INDEX}: lists no weights"]


def test_a_directory_without_weights(model: Path) -> None:
    (model / "model-1.safetensors").unlink()
    assert gaps(model) == ["no safetensors weights"]
