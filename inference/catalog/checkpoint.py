"""What a checkpoint's own files say about how its weights are stored."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from inference.catalog.errors import BadCheckpoint

ASCEND_DESCRIPTION = "quant_model_description.json"  # what Ascend's own quantizer writes beside the weights
INDEX = "model.safetensors.index.json"
# What a config.json says where not every layer looks back over all of the context.
_NOT_EVERY_LAYER = (
    "layer_types", "hybrid_override_pattern", "layers_block_type", "full_attention_interval", "sliding_window",
)  # fmt: skip
_EXPERTS = ("n_routed_experts", "num_local_experts", "num_experts")  # DeepSeek's, Mixtral's and Qwen's name for them


def stored_precision(path: Path) -> str:
    """The precision of a checkpoint by the catalog's name; "" where its files tell of none that the catalog knows.

    Raises: BadCheckpoint when there is no config.json, or none that can be read.
    """
    config = _config(path)
    if (path / ASCEND_DESCRIPTION).is_file():
        return "w8a8"
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict):
        return _quantized(quantization)
    dtype = config.get("dtype") or config.get("torch_dtype") or "bfloat16"
    return "bf16" if dtype in {"bfloat16", "float16"} else ""


def weight_bytes(path: Path) -> int:
    """What an engine loads of a checkpoint, by its safetensors' sizes; 0 where it has none. 32-bit ones are loaded as 16-bit.

    Where an index names the shards, other files beside them are not loaded, such as the same weights in one piece.
    Raises: BadCheckpoint when there is no config.json, or none that can be read.
    """
    config = _config(path)
    named = _named_shards(path)
    shards = [file for file in path.glob("*.safetensors") if not named or file.name in named]
    stored = sum(file.stat().st_size for file in shards)
    return stored // 2 if (config.get("dtype") or config.get("torch_dtype")) == "float32" else stored


def cache_of(path: Path) -> tuple[int, int]:
    """Elements of cache a token takes in all layers, and the heads that tensor parallelism can divide it by.

    (0, 1) where config.json does not tell, or tells of layers that keep less than the whole context.
    Raises: BadCheckpoint when there is no config.json, or none that can be read.
    """
    config = _config(path)
    latent, rotary = _whole(config, "kv_lora_rank"), _whole(config, "qk_rope_head_dim")
    layers, heads = _whole(config, "num_hidden_layers"), _whole(config, "num_attention_heads")
    if latent:
        return layers * (latent + rotary), 1
    odd_heads = "num_key_value_heads" in config and not _whole(config, "num_key_value_heads")
    if odd_heads or any(config.get(name) for name in _NOT_EVERY_LAYER):
        return 0, 1
    kv_heads = _whole(config, "num_key_value_heads") or heads
    width = _whole(config, "head_dim") or (_whole(config, "hidden_size") // heads if heads else 0)
    return layers * 2 * kv_heads * width, max(1, kv_heads)


def _named_shards(path: Path) -> set[str]:
    try:
        shards = json.loads((path / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        return {str(name) for name in shards}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


def _whole(config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def needs_merging(flavour: str, model: Path) -> bool:
    """Whether engines of a slot's flavour can't apply adapters to a model: the CPU's have no kernels for it with experts."""
    try:
        return flavour == "cpu" and has_experts(model)
    except BadCheckpoint:
        return False


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{path / 'config.json'} can't be read: {error}") from None
    if not isinstance(config, dict):
        raise BadCheckpoint(f"{path / 'config.json'} holds no object")
    return config


def _quantized(given: dict[str, Any]) -> str:
    if given.get("quant_method") == "fp8":
        return "fp8-block" if given.get("weight_block_size") else "fp8-tensor"
    return ""


@functools.lru_cache(maxsize=256)
def has_experts(path: Path) -> bool:
    """Whether a checkpoint has layers that are mixtures of experts, as its config.json says. A registered one never changes.

    Raises: BadCheckpoint when there is no config.json, or none that can be read.
    """
    config = _config(path)
    experts = next((config[name] for name in _EXPERTS if isinstance(config.get(name), int)), 0)
    dense, layers = config.get("first_k_dense_replace", 0), config.get("num_hidden_layers", 1)
    return bool(experts) and not (isinstance(dense, int) and isinstance(layers, int) and dense >= layers)
