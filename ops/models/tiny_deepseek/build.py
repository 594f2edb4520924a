"""Write a tiny DeepSeek-V2 checkpoint with random weights: MLA and MoE, YaRN, its own byte-level BPE tokenizer.

Run with an engine slot's Python. Tensor names, configuration fields, special tokens and the chat template are those of
the released DeepSeek-Coder-V2-Lite checkpoints, so that an engine takes the same path as for them. Nothing here trains
the model: its answers are noise, its speed and its protocol are real.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SEED = 20406
# U+FF5C and U+2581, written as escapes because they look like ASCII.
BOS, EOS = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"
FIM = ("<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581end\uff5c>")
VOCAB = 4096
TRAINING_BYTES = 2_000_000
CHAT_TEMPLATE = (
    "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{{ bos_token }}"
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token }}"
    "{% elif message['role'] == 'system' %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
# kv_lora_rank and qk_rope_head_dim are the released models': the CPU's MLA kernel knows no other sizes.
SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "first_k_dense_replace": 1,
    "num_attention_heads": 8,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 64,
    "v_head_dim": 32,
    "intermediate_size": 768,
    "moe_intermediate_size": 64,
    "n_routed_experts": 16,
    "n_shared_experts": 2,
}
CONFIG: dict[str, object] = {
    **SIZES,
    "architectures": ["DeepseekV2ForCausalLM"],
    "model_type": "deepseek_v2",
    "torch_dtype": "bfloat16",
    "moe_layer_freq": 1,
    "num_key_value_heads": 8,
    "q_lora_rank": None,
    "num_experts_per_tok": 6,
    "topk_method": "greedy",
    "n_group": 1,
    "topk_group": 1,
    "scoring_func": "softmax",
    "norm_topk_prob": False,
    "routed_scaling_factor": 1.0,
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "rms_norm_eps": 1e-06,
    "initializer_range": 0.02,
    "max_position_embeddings": 163840,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
    },
    "tie_word_embeddings": False,
    "use_cache": True,
}


def sources() -> Iterator[str]:
    """Python's own library, always in the same order, up to a fixed amount."""
    left = TRAINING_BYTES
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        yield text[:left]
        left -= len(text)
        if left <= 0:
            return


def write_tokenizer(target: Path) -> tuple[int, int, list[int]]:
    """Train and save the tokenizer; returns the ids of the begin, end and fill-in-the-middle tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    added = 2 + len(FIM)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - added, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(sources(), trainer)
    # As released: begin and end are control tokens, the fill-in-the-middle ones are not.
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (BOS, EOS)])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in FIM])
    ids = tokenizer.get_vocab(with_added_tokens=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, ids[BOS])]
    )
    tokenizer.save(str(target / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": EOS,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 16384,
        "chat_template": CHAT_TEMPLATE,
    }
    write(target / "tokenizer_config.json", settings)
    return ids[BOS], ids[EOS], [ids[token] for token in FIM]


def shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of the checkpoint by its released name."""
    hidden, heads, rank = SIZES["hidden_size"], SIZES["num_attention_heads"], SIZES["kv_lora_rank"]
    nope, rope, value = SIZES["qk_nope_head_dim"], SIZES["qk_rope_head_dim"], SIZES["v_head_dim"]
    expert = SIZES["moe_intermediate_size"]
    yield "model.embed_tokens.weight", (VOCAB, hidden)
    for layer in range(SIZES["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        yield f"{at}.input_layernorm.weight", (hidden,)
        yield f"{at}.post_attention_layernorm.weight", (hidden,)
        yield f"{at}.self_attn.q_proj.weight", (heads * (nope + rope), hidden)
        yield f"{at}.self_attn.kv_a_proj_with_mqa.weight", (rank + rope, hidden)
        yield f"{at}.self_attn.kv_a_layernorm.weight", (rank,)
        yield f"{at}.self_attn.kv_b_proj.weight", (heads * (nope + value), rank)
        yield f"{at}.self_attn.o_proj.weight", (hidden, heads * value)
        if layer < SIZES["first_k_dense_replace"]:
            yield from mlp(f"{at}.mlp", hidden, SIZES["intermediate_size"])
            continue
        yield f"{at}.mlp.gate.weight", (SIZES["n_routed_experts"], hidden)
        yield from mlp(f"{at}.mlp.shared_experts", hidden, expert * SIZES["n_shared_experts"])
        for index in range(SIZES["n_routed_experts"]):
            yield from mlp(f"{at}.mlp.experts.{index}", hidden, expert)
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (VOCAB, hidden)


def mlp(at: str, hidden: int, inner: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The three matrices of one feed-forward block."""
    yield f"{at}.gate_proj.weight", (inner, hidden)
    yield f"{at}.up_proj.weight", (inner, hidden)
    yield f"{at}.down_proj.weight", (hidden, inner)


def weights(silent_ids: list[int]) -> dict[str, torch.Tensor]:
    """Random weights of a size that keeps activations near one, the same on every machine."""
    random = torch.Generator().manual_seed(SEED)
    tensors = {}
    for name, shape in shapes():
        if len(shape) == 1:
            tensors[name] = torch.ones(shape, dtype=torch.bfloat16)
        else:
            scale = 1.0 if "embed" in name else shape[-1] ** -0.5
            tensors[name] = (torch.randn(shape, generator=random) * scale).to(torch.bfloat16)
    # Noise would end an answer at random: with a zero row these tokens are practically never chosen.
    tensors["lm_head.weight"] *= 4
    tensors["lm_head.weight"][silent_ids] = 0
    return tensors


def write(path: Path, content: dict[str, object]) -> None:
    """Write one JSON file of the checkpoint."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def build(target: Path) -> None:
    """Write the whole model directory, without a manifest."""
    bos, eos, fim = write_tokenizer(target)
    write(target / "config.json", {**CONFIG, "bos_token_id": bos, "eos_token_id": eos})
    write(target / "generation_config.json", {"bos_token_id": bos, "eos_token_id": eos})
    save_file(weights([bos, eos, *fim]), target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
