"""How a checkpoint's weights are stored, read from its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inference.catalog.checkpoint import ASCEND_DESCRIPTION, INDEX, cache_of, stored_precision, weight_bytes
from inference.catalog.errors import BadCheckpoint


@pytest.mark.parametrize(
    ("config", "precision"),
    [
        ({"torch_dtype": "bfloat16"}, "bf16"),
        ({"dtype": "float16"}, "bf16"),
        ({}, "bf16"),
        ({"torch_dtype": "float32"}, ""),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "fp8-block"),
        ({"quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}}, "fp8-tensor"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, ""),
    ],
)
def test_the_configuration_tells_the_precision(tmp_path: Path, config: dict[str, object], precision: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert stored_precision(tmp_path) == precision


def test_ascends_own_quantizer_is_known_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    (tmp_path / ASCEND_DESCRIPTION).write_text("{}")
    assert stored_precision(tmp_path) == "w8a8"


@pytest.mark.parametrize("text", [None, "", "{", "[]", "\udcff"])
def test_a_broken_configuration_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadCheckpoint, match=r"config\.json"):
        stored_precision(tmp_path)


def test_only_the_shards_that_an_index_names_are_weighed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for name, size in (("model-00001-of-00001.safetensors", 10), ("consolidated.safetensors", 100)):
        (tmp_path / name).write_bytes(bytes(size))
    assert weight_bytes(tmp_path) == 110
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}))
    assert weight_bytes(tmp_path) == 10


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (2 * 2 * 8 * 16, 8)),
        ({"num_key_value_heads": 2}, (2 * 2 * 2 * 16, 2)),
        ({"num_key_value_heads": None}, (0, 1)),
        ({"num_key_value_heads": [2, 8]}, (0, 1)),
        ({"layer_types": ["linear_attention", "full_attention"]}, (0, 1)),
        ({"sliding_window": None}, (2 * 2 * 8 * 16, 8)),
        ({"sliding_window": 4096}, (0, 1)),
        ({"kv_lora_rank": 32, "qk_rope_head_dim": 8}, (2 * 40, 1)),
    ],
)
def test_a_tokens_cache_is_reckoned_only_where_every_layer_keeps_it(
    tmp_path: Path, more: dict[str, object], expected: tuple[int, int]
) -> None:
    config = {"num_hidden_layers": 2, "num_attention_heads": 8, "hidden_size": 128, **more}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert cache_of(tmp_path) == expected
