"""Turn a GGUF file of a Llama-shaped model into a bf16 safetensors model directory.

Run with an engine slot's Python: it needs torch, transformers and gguf, and imports nothing of this project. The
manifest and the licence are left to the caller.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# They name the place or the process a file came from, not the model.
PROVENANCE_FIELDS = ("_name_or_path", "_model_name_or_path", "name_or_path", "is_local", "local_files_only")


def convert(source: Path, target: Path, stop_tokens: list[str]) -> None:
    """Write model, tokenizer, chat template and generation settings of `source` into `target`."""
    where = str(source.parent)
    loaded = AutoModelForCausalLM.from_pretrained(where, gguf_file=source.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=source.name)
    if not tokenizer.chat_template:
        raise SystemExit(f"{source.name} carries no chat template")
    # The loaded module still counts as quantized and would save itself as such: a fresh one of its class does not.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(loaded)(config).to(torch.bfloat16)
    missing, unexpected = model.load_state_dict(loaded.state_dict(), strict=False)
    lost = [name for name in missing if name != "lm_head.weight"]  # tied to the embedding
    if lost or unexpected:
        raise SystemExit(f"weights do not fit the model: missing {lost}, unexpected {unexpected}")
    tokenizer.model_max_length = config.max_position_embeddings
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    write_generation_config(target, tokenizer, stop_tokens)
    for name in ("config.json", "tokenizer_config.json"):
        strip(target / name)


def write_generation_config(target: Path, tokenizer: object, stop_tokens: list[str]) -> None:
    """Say which tokens end an answer, the first of them being the end of a chat turn."""
    ids = [tokenizer.convert_tokens_to_ids(token) for token in stop_tokens]  # type: ignore[attr-defined]
    if not ids or None in ids or ids[0] != tokenizer.eos_token_id:  # type: ignore[attr-defined]
        raise SystemExit(
            f"the stop tokens {stop_tokens} are {ids}, which do not begin with the tokenizer's own end token"
        )
    settings = {
        "bos_token_id": tokenizer.bos_token_id,  # type: ignore[attr-defined]
        "eos_token_id": ids,
        "pad_token_id": tokenizer.pad_token_id,  # type: ignore[attr-defined]
    }
    write(target / "generation_config.json", settings)


def strip(path: Path) -> None:
    """Remove the fields that would make equal models differ."""
    content = json.loads(path.read_text(encoding="utf-8"))
    write(path, {name: value for name, value in content.items() if name not in PROVENANCE_FIELDS})


def write(path: Path, content: dict[str, object]) -> None:
    """Write JSON as the libraries do."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stop-token", action="append", required=True, help="the first must be the tokenizer's own")
    chosen = parser.parse_args()
    convert(chosen.gguf, chosen.out, chosen.stop_token)
