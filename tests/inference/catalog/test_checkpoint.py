"""How a checkpoint's weights are stored, read from its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inference.catalog.checkpoint import ASCEND_DESCRIPTION, stored_precision
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
