"""A base's parameters by part: the catalog's own totals, and what checkpoints really hold."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import pytest

from finetune.merge.shard import read_header
from finetune.train.shape import UnknownShape, shape_of
from inference.catalog.load import catalog
from tests.finetune.train.shapes import ALL_LINEAR, LITE, LITE_TARGETS, SMALL, write_model


@pytest.mark.parametrize(
    ("config", "name"), [(LITE, "deepseek-coder-v2-lite-instruct"), (SMALL, "smollm2-135m-instruct")]
)
def test_it_counts_what_the_catalog_counts(config: dict[str, Any], name: str, tmp_path: Path) -> None:
    shape, known = shape_of(write_model(tmp_path, config)), catalog()[name].architecture
    assert shape.parameters == known.total_parameters
    assert shape.parts["experts"] == known.routed_parameters
    assert shape.active_parameters == known.active_parameters


def test_an_adapter_is_on_the_targets_and_nothing_else(tmp_path: Path) -> None:
    shape = shape_of(write_model(tmp_path, LITE))
    names = {linear.name for linear in shape.adapted(LITE_TARGETS)}
    assert len(names) == 3 * 27 + 3 + 3 * 26
    assert "layers.0.mlp.gate_proj" in names
    assert not any("kv_b_proj" in name for name in names)
    assert shape.adapter_parameters(LITE_TARGETS, 32) == 2 * shape.adapter_parameters(LITE_TARGETS, 16)


def test_an_adapter_of_a_grouped_attention_is_counted_layer_by_layer(tmp_path: Path) -> None:
    shape = shape_of(write_model(tmp_path, SMALL))
    each = 2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536)
    assert shape.adapter_parameters(ALL_LINEAR, 16) == 30 * 16 * each


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "mamba"}, "architecture"),
        ({"model_type": "llama", "hidden_size": 8}, "num_attention_heads"),
        ({**SMALL, "vocab_size": "many"}, "many"),
    ],
)
def test_what_is_not_known_is_said_so(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownShape, match=said):
        shape_of(write_model(tmp_path, config))


def test_a_model_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnknownShape, match="can't be read"):
        shape_of(tmp_path / "gone")


@pytest.mark.engine
def test_it_counts_what_the_tiny_models_checkpoint_holds(tiny_model: Path) -> None:
    held = 0
    for path in tiny_model.glob("*.safetensors"):
        with path.open("rb") as file:
            held += sum(prod(tensor.shape) for tensor in read_header(file, path).tensors)
    assert shape_of(tiny_model).parameters == held
