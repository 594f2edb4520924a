"""Routed experts that the ranks hold between them: each sends its own to all in turn, for as long as they are needed.

A layer's experts are nearly all of a large model. They are never whole on one rank: what is in memory is a rank's own part
and the part of whoever sends. The backward pass asks for them again, so nothing of theirs is kept. They are frozen but
for those that were chosen to be trained, which every rank has in fp32. Runs inside an engine slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional

from finetune.train.world import World

NOBODY = -1  # in the place of an expert's number: computed elsewhere


def own_range(count: int, world: World, rank: int | None = None) -> tuple[int, int]:
    """Which of `count` rows a rank holds, as torch's chunks and FSDP's shards are cut."""
    each = -(-count // world.size)
    start = min(count, each * (world.rank if rank is None else rank))
    return start, min(count, start + each)


class Experts(nn.Module):  # type: ignore[misc]
    """This rank's experts of one layer, in the place of the architecture's own module.

    Shapes: gate_up_proj: (own, 2 * width, hidden); down_proj: (own, hidden, width).
    """

    def __init__(self, count: int, gate_up: Any, down: Any, activation: Any, world: World) -> None:
        super().__init__()
        self.count, self.world, self.act_fn = count, world, activation
        self.gate_up_proj = nn.Parameter(gate_up, requires_grad=False)
        self.down_proj = nn.Parameter(down, requires_grad=False)
        self.chosen: tuple[int, ...] = ()
        self.watch: Callable[[Any, Any], None] | None = None  # is shown every choice of the router

    def forward(self, hidden: Any, index: Any, weights: Any) -> Any:
        """The weighted sum of what each token's experts make of it.

        Shapes: hidden: (tokens, hidden); index, weights: (tokens, experts per token).
        """
        if self.watch is not None:
            self.watch(index, weights)
        if not self.chosen:
            return _Frozen.apply(self, hidden, index, weights)
        places = self.places[index]
        frozen = _Frozen.apply(self, hidden, index.masked_fill(places != NOBODY, NOBODY), weights)
        trained = made_by(hidden, places, weights, 0, self.trained_gate_up, self.trained_down, self.act_fn)
        # Where no token was sent to them the layer is in the graph all the same: ranks must go back through it together.
        none = self.trained_gate_up[:0].sum() + self.trained_down[:0].sum()
        return (frozen.float() + trained + none).to(hidden.dtype)

    def unfreeze(self, chosen: Sequence[int]) -> None:
        """Train these experts: every rank takes a copy of them, in fp32."""
        copies = {}
        for first, gate_up, down in self.parts():
            for number in chosen:
                if first <= number < first + len(gate_up):
                    copies[number] = (gate_up[number - first].detach().float(), down[number - first].detach().float())
        self.chosen = tuple(sorted(chosen))
        places = torch.full((self.count,), NOBODY, dtype=torch.int64, device=self.gate_up_proj.device)
        for place, number in enumerate(self.chosen):
            places[number] = place
        self.register_buffer("places", places, persistent=False)
        self.trained_gate_up = nn.Parameter(torch.stack([copies[number][0] for number in self.chosen]))
        self.trained_down = nn.Parameter(torch.stack([copies[number][1] for number in self.chosen]))

    def parts(self) -> Iterator[tuple[int, Any, Any]]:
        """Every rank's experts in turn: the number of the first one, and their weights. All ranks must go through all."""
        if self.world.size == 1:
            yield 0, self.gate_up_proj.data, self.down_proj.data
            return
        for owner in range(self.world.size):
            start, end = own_range(self.count, self.world, owner)
            pair = []
            for own in (self.gate_up_proj.data, self.down_proj.data):
                held = own if owner == self.world.rank else own.new_empty((end - start, *own.shape[1:]))
                distributed.broadcast(held, src=owner)
                pair.append(held)
            yield start, *pair


class _Frozen(torch.autograd.Function):  # type: ignore[misc]
    """Experts that are not trained: gradients go through them to the tokens and to the router's weights."""

    @staticmethod
    def forward(ctx: Any, experts: Experts, hidden: Any, index: Any, weights: Any) -> Any:
        ctx.experts = experts
        ctx.save_for_backward(hidden, index, weights)
        made = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device)
        for first, gate_up, down in experts.parts():
            made += made_by(hidden, index, weights, first, gate_up, down, experts.act_fn)
        return made.to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        saved, index, router = ctx.saved_tensors
        hidden, weights = saved.detach().requires_grad_(), router.detach().requires_grad_()
        to_hidden, to_weights = (torch.zeros(one.shape, device=one.device) for one in (hidden, weights))
        for first, gate_up, down in ctx.experts.parts():
            with torch.enable_grad():
                made = made_by(hidden, index, weights, first, gate_up, down, ctx.experts.act_fn)
            if made.requires_grad:  # not where no token was sent to these
                one, other = torch.autograd.grad(made, (hidden, weights), gradient.float())
                to_hidden += one
                to_weights += other
        return None, to_hidden.to(hidden.dtype), None, to_weights.to(weights.dtype)


def made_by(hidden: Any, index: Any, weights: Any, first: int, gate_up: Any, down: Any, activation: Any) -> Any:
    """What some experts, numbered from `first` on, make of the tokens that are sent to them; in fp32."""
    made = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device)
    with torch.autocast(hidden.device.type, dtype=torch.bfloat16):
        for number in range(len(gate_up)):
            token, place = torch.where(index == first + number)
            if not len(token):
                continue
            gate, up = functional.linear(hidden[token], gate_up[number]).chunk(2, dim=-1)
            one = functional.linear(activation(gate) * up, down[number])
            made = made.index_add(0, token, one.float() * weights[token, place, None].float())
    return made
