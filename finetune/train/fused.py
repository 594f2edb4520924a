"""Layers of a model with adapters, computed with less work: the same mathematics, fewer passes over memory.

A library's layers are written for every case: each step is an operation of its own that reads and writes all rows, and keeps
what its gradient needs. Here an adapter is added to its layer's output in place, frozen weights have no gradient, and what is
computed value by value goes block by block, so that it stays in a core's cache on the way. Only layers whose computation is
known are replaced, and only while their weights are frozen; others stay as they are. Runs inside an engine slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from peft.tuners.lora import Linear as AdaptedLinear
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2MLP, DeepseekV2RMSNorm
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

ADAPTER = "default"
# Values of a block on a CPU: some blocks of them in fp32 fit into the second-level cache of today's cores (1 to 2 MB).
BLOCK_VALUES = 1 << 17


def fuse(model: Any) -> int:
    """Replace the forward passes of all layers that are known; how many."""
    done = 0
    for module in model.modules():
        make = _KNOWN.get(type(module))
        faster = make(module) if make else None
        if faster is not None:
            module.forward = faster
            done += 1
    return done


def _adapted(module: Any) -> Callable[..., Any] | None:
    """A frozen linear layer with one plain adapter."""
    base, slow = module.base_layer, module.forward
    plain = (
        type(base) is torch.nn.Linear and base.bias is None and list(module.lora_A) == [ADAPTER] == module.active_adapters
        and isinstance(module.lora_dropout[ADAPTER], torch.nn.Identity) and not module.lora_variant
        and module.lora_A[ADAPTER].bias is None and module.lora_B[ADAPTER].bias is None
    )  # fmt: skip
    if not plain:
        return None

    def forward(x: Any) -> Any:
        if module.disable_adapters or module.merged or base.weight.requires_grad:
            return slow(x)
        a, b = module.lora_A[ADAPTER].weight, module.lora_B[ADAPTER].weight
        return Adapted.apply(_cast(x), _cast(base.weight), a, b, module.scaling[ADAPTER])

    return forward


def _norm(module: Any) -> Callable[..., Any]:
    slow = module.forward

    def forward(x: Any) -> Any:
        return slow(x) if module.weight.requires_grad else Norm.apply(x, module.weight, module.variance_epsilon)

    return forward


def _gated(module: Any) -> Callable[..., Any] | None:
    if module.config.hidden_act != "silu":
        return None

    def forward(x: Any) -> Any:
        return module.down_proj(Gated.apply(module.gate_proj(x), module.up_proj(x)))

    return forward


_KNOWN: dict[type, Callable[[Any], Callable[..., Any] | None]] = {
    AdaptedLinear: _adapted, LlamaRMSNorm: _norm, DeepseekV2RMSNorm: _norm, LlamaMLP: _gated, DeepseekV2MLP: _gated,
}  # fmt: skip


class Adapted(torch.autograd.Function):  # type: ignore[misc]
    """x Wᵀ + scale · (x Aᵀ) Bᵀ; gradients for x, A and B.

    Shapes: x (..., inputs), weight (outputs, inputs), a (rank, inputs), b (outputs, rank).
    """

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, a: Any, b: Any, scale: float) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        a, b = a.to(x.dtype), b.to(x.dtype)
        inner = rows @ a.T
        ctx.save_for_backward(rows, inner, weight, a, b)
        ctx.scale, ctx.shape = scale, x.shape
        return (rows @ weight.T).addmm_(inner, b.T, alpha=scale).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        rows, inner, weight, a, b = ctx.saved_tensors
        gradient = gradient.reshape(-1, gradient.shape[-1])
        back = (gradient @ b).mul_(ctx.scale)
        of_b = (gradient.T @ inner).float().mul_(ctx.scale)
        of_a = (back.T @ rows).float()
        of_x = (gradient @ weight).addmm_(back, a).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return of_x, None, of_a, of_b, None


class Norm(torch.autograd.Function):  # type: ignore[misc]
    """x / √(mean x² + ε) · weight, along the last dimension, in fp32; the gradient for x."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, epsilon: float) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        out, rates = torch.empty_like(rows), rows.new_empty((len(rows), 1), dtype=torch.float32)
        wide_weight = weight.float()
        for block, into, rate in _blocks(rows, out, rates):
            wide = block.to(torch.float32, copy=True)
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True, out=rate)
            rate.square_().div_(wide.shape[-1]).add_(epsilon).rsqrt_()
            into.copy_(wide.mul_(rate).mul_(wide_weight))
        ctx.save_for_backward(rows, rates, weight)
        return out.view(x.shape)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        rows, rates, weight = ctx.saved_tensors
        wide_weight = weight.float()
        given = gradient.reshape(rows.shape)
        out = torch.empty_like(given)
        for block, rate, above, into in _blocks(rows, rates, given, out):
            unit = block.to(torch.float32, copy=True).mul_(rate)
            up = above.to(torch.float32, copy=True).mul_(wide_weight)
            shared = torch.linalg.vecdot(up, unit).div_(-unit.shape[-1]).unsqueeze_(-1)
            into.copy_(up.addcmul_(unit, shared).mul_(rate))
        return out.view(gradient.shape), None, None


class Gated(torch.autograd.Function):  # type: ignore[misc]
    """silu(gate) · up; gradients for both."""

    @staticmethod
    def forward(ctx: Any, gate: Any, up: Any) -> Any:
        ctx.save_for_backward(gate, up)
        out = torch.empty_like(gate)
        for one, other, into in _blocks(*(each.view(-1, gate.shape[-1]) for each in (gate, up, out))):
            torch.mul(functional.silu(one), other, out=into)
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Any) -> Any:
        gate, up = ctx.saved_tensors
        of_gate, of_up = torch.empty_like(gate), torch.empty_like(up)
        tensors = (gate, up, gradient.contiguous(), of_gate, of_up)
        for one, other, above, into, into_up in _blocks(*(each.view(-1, gate.shape[-1]) for each in tensors)):
            torch.mul(functional.silu(one), above, out=into_up)
            torch.ops.aten.silu_backward.grad_input(above * other, one, grad_input=into)
        return of_gate, of_up


def _blocks(*tensors: Any) -> Iterator[tuple[Any, ...]]:
    """Rows of matrices side by side, as many at a time as are worked on in a cache; on a card all at once."""
    rows, width = tensors[0].shape
    cached = max(1, BLOCK_VALUES * torch.get_num_threads() // width)
    at_once = cached if tensors[0].device.type == "cpu" else max(1, rows)
    return zip(*(tensor.split(at_once) for tensor in tensors), strict=True)


def _cast(tensor: Any) -> Any:
    """As autocast would: to its type, where it is on."""
    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor
