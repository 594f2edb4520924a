"""A plain PEFT loop on a trainer's specification: what `make bench-trainer` sets our own beside. Runs inside an engine slot.

As tutorials write it: the model's own loss over the whole batch, padded to its longest row. Weights, batches, optimizer and
schedule are the trainer's, so that both loss curves can be compared. One JSON line for each step.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import torch

from finetune.train.model import add_lora, load_base, load_tokenizer
from finetune.train.order import batch_of, packs_of, steps_per_epoch
from finetune.train.parent import die_with
from finetune.train.rows import examples_of
from finetune.train.schedule import learning_rate
from finetune.train.spec import read_spec
from finetune.train.tokens import Example


def main() -> None:
    """Train one epoch and print its steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--spec", type=Path, required=True)
    parser.add_argument("--parent", type=int)
    arguments = parser.parse_args()
    if arguments.parent is not None:
        die_with(arguments.parent)
    spec = read_spec(arguments.spec)
    torch.set_num_threads(spec.threads or 1)
    torch.manual_seed(spec.seed)
    tokenizer = load_tokenizer(spec.model_path)
    rows = examples_of(tokenizer, spec.train, spec.kind, spec.max_length)
    packs = packs_of([len(row.ids) for row in rows], spec.max_length if spec.kind == "text" else 0)
    base = load_base(spec.model_path, "cpu")
    model = add_lora(base, rank=spec.lora_rank, alpha=spec.lora_alpha, targets=spec.target_modules)
    model.train()
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=spec.learning_rate, weight_decay=0.0)
    steps = steps_per_epoch(len(packs), spec.batch_size)
    for step in range(steps):
        chosen = batch_of(len(packs), spec.batch_size, spec.seed, step)
        batch = [rows[index] for pack in chosen for index in packs[pack]]
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, spec.learning_rate)
        optimizer.zero_grad()
        rows_of_batch = padded(batch, tokenizer.pad_token_id or 0)
        loss = model(**rows_of_batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        tokens, seconds = sum(len(row.ids) for row in batch), time.monotonic() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        line = {
            "event": "step", "loss": loss.item(), "tokens_per_s": tokens / seconds, "peak_bytes": peak,
            "padding": 1 - tokens / rows_of_batch["input_ids"].numel(),
        }  # fmt: skip
        sys.stdout.write(json.dumps(line) + "\n")


def padded(batch: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """A row for each, as long as the longest."""
    width = max(len(row.ids) for row in batch)
    ids = torch.full((len(batch), width), pad_id)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for number, row in enumerate(batch):
        length = len(row.ids)
        ids[number, :length] = torch.tensor(row.ids)
        mask[number, :length] = 1
        for start, end in row.spans:
            labels[number, start:end] = ids[number, start:end]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


if __name__ == "__main__":
    main()
