"""Expert-specialized fine-tuning: of a model's routed experts, those that the data uses most are trained, and nothing else.

Wang et al. 2024 (arXiv 2407.01906): an expert's part in the data is how often tokens choose it, or the weight that the router
gives it; of each layer the first experts are taken whose parts together reach the threshold. Runs inside an engine slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Experts

from finetune.train.errors import ModelRefused
from finetune.train.experts import Experts
from finetune.train.head import autocast, end_to_end, hidden_states
from finetune.train.methods import TOKENS
from finetune.train.order import epoch_order, packs_of
from finetune.train.spec import MICRO_BATCH_TOKENS, TrainSpec
from finetune.train.tokens import Example
from finetune.train.world import World

SAMPLE_TOKENS = 32 * 4096  # as many as the paper looks at (section 4.1)
Chosen = Mapping[str, Sequence[int]]


def own_module(base: Any) -> Any:
    """Have a base on one device compute its experts in our way, which can train some of them."""
    for name, module in list(base.named_modules()):
        if isinstance(module, DeepseekV2Experts):
            pair = (module.gate_up_proj.data, module.down_proj.data)
            base.set_submodule(name, Experts(module.num_experts, *pair, module.act_fn, World()))
    return base


def experts_of(base: Any) -> dict[str, Experts]:
    """The routed experts by the name of their layer's module.

    Raises: ModelRefused when there are none.
    """
    found = {name: module for name, module in base.named_modules() if isinstance(module, Experts)}
    if not found:
        raise ModelRefused("a model without routed experts has none to train")
    return found


def unfreeze(base: Any, chosen: Chosen) -> None:
    """Train the chosen experts of each layer. All ranks call it, with the same ones."""
    for name, module in experts_of(base).items():
        module.unfreeze(chosen[name])


def choose(base: Any, examples: Sequence[Example], spec: TrainSpec, world: World) -> dict[str, list[int]]:
    """The experts to train, from a sample of the data. All ranks read all of it: they need each other's experts."""
    layers = experts_of(base)
    totals = {name: torch.zeros(module.count, dtype=torch.float64) for name, module in layers.items()}
    for name, module in layers.items():
        module.watch = partial(_count, totals[name], by_tokens=spec.expert_score == TOKENS)
    sample = _sample(examples, spec.seed)
    base.eval()
    with torch.no_grad(), autocast(spec.device):
        for part in packs_of([len(example.ids) for example in sample], MICRO_BATCH_TOKENS):
            batch = end_to_end([sample[index] for index in part], spec.device)
            hidden_states(base, batch.ids, position_ids=batch.positions, document_lengths=list(batch.lengths))
    for module in layers.values():
        module.watch = None
    chosen: dict[str, list[int]] = world.gathered(
        {name: most_used(totals[name].tolist(), spec.expert_share) for name in layers}
    )[0]
    return chosen


def most_used(parts: Sequence[float], share: float) -> list[int]:
    """The experts with the largest parts, until they have this share of all, one at least; in the order of their numbers."""
    wanted, total = share * sum(parts), 0.0
    found: list[int] = []
    for number in sorted(range(len(parts)), key=lambda number: (-parts[number], number)):
        if found and total >= wanted:
            break
        found.append(number)
        total += parts[number]
    return sorted(found)


def _sample(examples: Sequence[Example], seed: int) -> list[Example]:
    found, tokens = [], 0
    for index in epoch_order(len(examples), seed, 0):
        found.append(examples[index])
        tokens += len(examples[index].ids)
        if tokens >= SAMPLE_TOKENS:
            break
    return found


def _count(total: Any, index: Any, weights: Any, *, by_tokens: bool) -> None:
    parts = torch.ones_like(weights) if by_tokens else weights
    total.index_add_(0, index.reshape(-1).cpu(), parts.reshape(-1).double().cpu())
