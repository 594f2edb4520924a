"""What a checkpoint's own files say about how its weights are stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inference.catalog.errors import BadCheckpoint

ASCEND_DESCRIPTION = "quant_model_description.json"  # what Ascend's own quantizer writes beside the weights


def stored_precision(path: Path) -> str:
    """The precision of a checkpoint by the catalog's name; "" where its files tell of none that the catalog knows.

    Raises: BadCheckpoint when there is no config.json, or none that can be read.
    """
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{path / 'config.json'} can't be read: {error}") from None
    if not isinstance(config, dict):
        raise BadCheckpoint(f"{path / 'config.json'} holds no object")
    if (path / ASCEND_DESCRIPTION).is_file():
        return "w8a8"
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict):
        return _quantized(quantization)
    dtype = config.get("dtype") or config.get("torch_dtype") or "bfloat16"
    return "bf16" if dtype in {"bfloat16", "float16"} else ""


def _quantized(given: dict[str, Any]) -> str:
    if given.get("quant_method") == "fp8":
        return "fp8-block" if given.get("weight_block_size") else "fp8-tensor"
    return ""
