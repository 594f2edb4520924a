"""A run's model, ready to be trained by its method, whole or cut between ranks. Runs inside an engine slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from finetune.train import esft
from finetune.train.attention import by_document
from finetune.train.errors import ModelRefused
from finetune.train.methods import EXPERTS, FULL, LORA
from finetune.train.model import add_lora, load_base
from finetune.train.spec import TrainSpec
from finetune.train.state import chosen_before
from finetune.train.tokens import Example
from finetune.train.world import World


def load(spec: TrainSpec, world: World) -> tuple[Any, bool]:
    """The base, and whether its attention keeps documents apart."""
    if world.size == 1:
        base = load_base(spec.model_path, spec.device)
        apart = by_document(base)
    else:
        from finetune.train import sharded  # noqa: PLC0415 - FSDP takes seconds to import, and one rank needs none

        base = sharded.empty_base(spec.model_path)
        apart = by_document(base)  # before it is cut: FSDP puts classes of its own in the modules' place
        _compute_again(base)
        return sharded.spread(base, spec.model_path, world, whole=spec.method == FULL), apart
    if spec.method != LORA:
        _compute_again(base)
    return (esft.own_module(base) if spec.method == EXPERTS else base), apart


def prepare(base: Any, spec: TrainSpec, world: World, examples: Sequence[Example], apart: bool) -> Any:
    """The model with what is to be trained, in fp32.

    Raises: ModelRefused where the method doesn't fit it.
    """
    if spec.method == LORA:
        return add_lora(base, rank=spec.lora_rank, alpha=spec.lora_alpha, targets=spec.target_modules)
    if spec.method == FULL:
        torch.set_autocast_cache_enabled(False)  # it would keep a copy of every weight until the step's end
        base.set_experts_implementation("eager")
        return base if world.size > 1 else base.float().requires_grad_(True)
    esft.experts_of(base)
    if not apart:
        raise ModelRefused("experts are chosen only where it is known how attention keeps documents apart")
    chosen = chosen_before(spec.resume_from) if spec.resume_from else esft.choose(base, examples, spec, world)
    esft.unfreeze(base, chosen)
    return base


def _compute_again(base: Any) -> None:
    """Keep each layer's input only, and compute the rest again in the backward pass."""
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
