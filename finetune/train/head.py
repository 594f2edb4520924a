"""From tokens to losses and log-probabilities, with the head on those positions only that are asked for.

The head is a large part of a small model's work, and its output is a large part of a run's memory: prompts don't need it.
Runs inside an engine slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from finetune.train.errors import ModelRefused
from finetune.train.tokens import Example

PAD_MULTIPLE = 8
IGNORED = -100
HEAD_ROWS = 512  # positions at a time: bounds the memory of vocabulary-wide rows
# Of these rows, as many values in fp32 on a CPU at a time as fit into a core's cache.
CACHED_VALUES = 1 << 18


def autocast(device: str) -> Any:
    """bf16 where it is safe; the LoRA weights themselves stay fp32."""
    return torch.autocast(device, dtype=torch.bfloat16)


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once.

    Shapes: ids, labels: (B, L) int64; a label stands at the position it is predicted *at*, -100 elsewhere. With `lengths`
    B is 1, and the row holds documents of these lengths end to end; positions (1, L) begin anew in each.
    """

    ids: Any
    labels: Any
    positions: Any = None
    lengths: tuple[int, ...] = ()


def side_by_side(examples: Sequence[Example], pad_id: int, device: str) -> Batch:
    """A row for each, right-padded to a multiple of 8."""
    longest = max(len(example.ids) for example in examples)
    width = -(-longest // PAD_MULTIPLE) * PAD_MULTIPLE
    ids = torch.full((len(examples), width), pad_id, dtype=torch.int64)
    labels = torch.full_like(ids, IGNORED)
    for row, example in enumerate(examples):
        tokens = torch.tensor(example.ids, dtype=torch.int64)
        ids[row, : len(tokens)] = tokens
        labels[row, : len(tokens)] = _labels(example, tokens)
    return Batch(ids.to(device), labels.to(device))


def end_to_end(examples: Sequence[Example], device: str) -> Batch:
    """One row without padding, for a model whose attention keeps documents apart."""
    tokens = [torch.tensor(example.ids, dtype=torch.int64) for example in examples]
    labels = [_labels(example, ids) for example, ids in zip(examples, tokens, strict=True)]
    positions = [torch.arange(len(ids)) for ids in tokens]
    ids, labels, positions = (torch.cat(parts)[None, :].to(device) for parts in (tokens, labels, positions))
    return Batch(ids, labels, positions, tuple(len(example.ids) for example in examples))


def _labels(example: Example, tokens: Any) -> Any:
    labels = torch.full_like(tokens, IGNORED)
    for start, end in example.spans:
        labels[start - 1 : end - 1] = tokens[start:end]
    return labels


def hidden_states(model: Any, ids: Any, **where: Any) -> Any:
    """The last layer's output, (B, L, H). No mask: what is padded on the right is never looked back at."""
    decoder = getattr(_causal(model), _causal(model).base_model_prefix)
    return decoder(input_ids=ids, use_cache=False, **where).last_hidden_state


def loss_sum(model: Any, batch: Batch) -> Any:
    """The summed negative log-likelihood of the labels, a scalar in fp32."""
    wanted = batch.labels != IGNORED
    where = {"position_ids": batch.positions, "document_lengths": list(batch.lengths)} if batch.lengths else {}
    hidden, labels = hidden_states(model, batch.ids, **where)[wanted], batch.labels[wanted]
    head = _causal(model).get_output_embeddings()
    if is_frozen_matrix(head):
        return HeadLoss.apply(hidden, head.weight, labels)
    # A head that is cut over ranks is put together at each call: all ranks must call it equally often.
    at_once = max(1, len(labels) if torch.is_grad_enabled() or hasattr(head, "unshard") else HEAD_ROWS)
    parts = zip(hidden.split(at_once), labels.split(at_once), strict=True)
    return sum(functional.cross_entropy(head(rows).float(), some, reduction="sum") for rows, some in parts)


def is_frozen_matrix(head: Any) -> bool:
    """Whether a head is nothing but a matrix on this device that is not learned."""
    return type(head) is torch.nn.Linear and head.bias is None and type(head.weight.data) is torch.Tensor and (
        not head.weight.requires_grad
    )  # fmt: skip


class HeadLoss(torch.autograd.Function):  # type: ignore[misc]
    """The summed negative log-likelihood of labels under a frozen head.

    The gradient is made together with the loss, `HEAD_ROWS` positions at a time: no vocabulary-wide row outlives its turn.
    Shapes: hidden (N, H), weight (V, H), labels (N).
    """

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, labels: Any) -> Any:
        learned = ctx.needs_input_grad[0]
        loss, gradient = hidden.new_zeros((), dtype=torch.float32), torch.empty_like(hidden) if learned else None
        for start in range(0, len(labels), HEAD_ROWS):
            part = slice(start, start + HEAD_ROWS)
            logits = hidden[part] @ weight.to(hidden.dtype).T
            loss += _lose(logits, labels[part], learned)
            if gradient is not None:
                torch.mm(logits, weight.to(hidden.dtype), out=gradient[part])
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, above: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient * above.to(gradient.dtype), None, None


def _lose(logits: Any, labels: Any, learned: bool) -> Any:
    """The labels' loss; where it is learned from, the logits become their own gradients."""
    cached = max(1, CACHED_VALUES * torch.get_num_threads() // logits.shape[1])
    at_once = cached if logits.device.type == "cpu" else HEAD_ROWS
    loss = logits.new_zeros((), dtype=torch.float32)
    for block, some in zip(logits.split(at_once), labels[:, None].split(at_once), strict=True):
        wide = torch.log_softmax(block.float(), dim=-1)
        loss -= wide.gather(1, some).sum()
        if learned:
            block.copy_(wide.exp_().scatter_add_(1, some, wide.new_full(some.shape, -1.0)))
    return loss


def log_probabilities(model: Any, ids: Any) -> list[float]:
    """The log-probability of every token but the first, given those before. Shapes: ids: (1, L)."""
    hidden = hidden_states(model, ids)[0, :-1]
    head = _causal(model).get_output_embeddings()
    found: list[float] = []
    for start in range(0, len(hidden), HEAD_ROWS):
        rows = torch.log_softmax(head(hidden[start : start + HEAD_ROWS]).float(), dim=-1)
        wanted = ids[0, start + 1 : start + 1 + len(rows)]
        found += rows.gather(1, wanted[:, None])[:, 0].tolist()
    return found


def check_head(model: Any, device: str) -> None:
    """Make sure that the head is applied here as the model itself applies it (some scale or cap its output).

    Raises: ModelRefused when it is not.
    """
    ids = torch.arange(8, device=device)[None, :]
    with torch.no_grad(), autocast(device):
        own = model(input_ids=ids, use_cache=False).logits.float()
        ours = _causal(model).get_output_embeddings()(hidden_states(model, ids)).float()
    if own.shape != ours.shape or not torch.allclose(own, ours, rtol=1e-2, atol=1e-2, equal_nan=True):
        raise ModelRefused("this architecture changes its head's output in a way that the trainer does not know")


def _causal(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
