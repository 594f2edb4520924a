"""Keeps adapters apart from the base model in vLLM's CPU engine. Runs inside the engine, through vLLM's plugin mechanism.

vLLM 0.32 marks a token without an adapter with the index -1. Its CPU kernels use that index as it is, which is the last
adapter's slot: a base request in one batch with adapters' would be answered with that slot's weights, another tenant's
perhaps. The first of the two kernels is followed here by a mask, so that the second adds nothing to such tokens.

Imports the standard library and what the engine slot holds only.
"""

import sys
from typing import Any

KERNEL = "bgmv_shrink"


def register() -> None:
    """Called by vLLM in each of its processes, before any model is loaded.

    An engine in which this can't be done must not serve: SystemExit ends it, where vLLM would ignore an Exception.
    """
    try:
        from vllm.lora.ops import torch_ops
        from vllm.lora.ops.torch_ops import lora_ops

        original = getattr(lora_ops, KERNEL)
    except (ImportError, AttributeError) as error:
        raise SystemExit(
            f"this vLLM keeps its CPU adapter kernels elsewhere, and would mix adapters up: {error}"
        ) from error
    if getattr(original, "keeps_base_apart", False):
        return
    masked = _masked(original)
    imported = sys.modules.get("vllm.lora.punica_wrapper.punica_cpu")
    for module in (lora_ops, torch_ops, imported):
        if module is not None:
            setattr(module, KERNEL, masked)


def _masked(kernel: Any) -> Any:
    def shrink(
        inputs: Any, lora_b_weights: Any, output_tensor: Any, lora_indices_tensor: Any, scaling: float = 1.0
    ) -> None:
        kernel(inputs, lora_b_weights, output_tensor, lora_indices_tensor, scaling)
        output_tensor.masked_fill_((lora_indices_tensor < 0).unsqueeze(1), 0)

    shrink.keeps_base_apart = True  # type: ignore[attr-defined]
    return shrink
