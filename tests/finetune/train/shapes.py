"""Configurations of small and large bases, and the modules that their presets adapt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LITE_TARGETS = (
    "q_proj", "kv_a_proj_with_mqa", "o_proj", "layers.0.mlp.gate_proj", "layers.0.mlp.up_proj", "layers.0.mlp.down_proj",
    "shared_experts.gate_proj", "shared_experts.up_proj", "shared_experts.down_proj",
)  # fmt: skip
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# as DeepSeek-Coder-V2-Lite-Instruct was released
LITE: dict[str, Any] = {
    "model_type": "deepseek_v2", "hidden_size": 2048, "num_hidden_layers": 27, "first_k_dense_replace": 1,
    "num_attention_heads": 16, "q_lora_rank": None, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 10944, "moe_intermediate_size": 1408,
    "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6, "vocab_size": 102400,
}  # fmt: skip
# as DeepSeek-Coder-V2-Instruct was: 236B parameters
LARGE: dict[str, Any] = {
    **LITE, "hidden_size": 5120, "num_hidden_layers": 60, "num_attention_heads": 128, "q_lora_rank": 1536,
    "intermediate_size": 12288, "moe_intermediate_size": 1536, "n_routed_experts": 160,
}  # fmt: skip
SMALL: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "head_dim": 64,
    "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip


def write_model(folder: Path, config: dict[str, Any]) -> Path:
    """A model directory with nothing but its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder
