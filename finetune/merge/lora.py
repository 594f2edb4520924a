"""What an adapter adds to each weight of its base: scale * B @ A. Runs inside an engine slot."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from finetune.merge.errors import CannotMerge
from finetune.merge.shard import Tensor

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_MATRIX = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")
_NOT_MERGED = (
    *("rank_pattern", "alpha_pattern", "modules_to_save", "use_dora", "lora_bias", "layer_replication"),
    "fan_in_fan_out",
)
TYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


class Lora:
    """An adapter's matrices, which are small enough to be held all at once."""

    def __init__(self, path: Path) -> None:
        """Raises: CannotMerge when it is no plain LoRA adapter."""
        self.scale = _scale(json.loads((path / CONFIG).read_text(encoding="utf-8")))
        self._sides: dict[str, dict[str, Any]] = {}
        for name, matrix in load_file(path / WEIGHTS).items():
            match = _MATRIX.match(name)
            if match is None:
                raise CannotMerge(f"{name} is no LoRA matrix")
            self._sides.setdefault(match["module"], {})[match["side"]] = matrix
        self.left = {f"{module}.weight" for module in self._sides}  # weights that were not met yet

    def adapts(self, tensor: Tensor) -> bool:
        """Whether it changes this tensor of the base."""
        return tensor.name.removesuffix(".weight") in self._sides and tensor.name.endswith(".weight")

    def merged(self, tensor: Tensor, content: bytearray) -> bytes:
        """A weight with what is added to it, computed in float32 and rounded once, to the weight's own type.

        Shapes: A (rank, in), B (out, rank), the weight (out, in).
        Raises: CannotMerge.
        """
        dtype = TYPES.get(tensor.dtype)
        if dtype is None:
            raise CannotMerge(f"{tensor.name} is stored as {tensor.dtype}: quantised weights can't be merged")
        sides = self._sides[tensor.name.removesuffix(".weight")]
        a, b = sides.get("A"), sides.get("B")
        if a is None or b is None or (*b.shape[:1], *a.shape[1:]) != tensor.shape or a.shape[0] != b.shape[1]:
            raise CannotMerge(f"the adapter's matrices for {tensor.name} don't fit it")
        weight = torch.frombuffer(content, dtype=dtype).reshape(tensor.shape).float()
        weight.addmm_(b.float(), a.float(), alpha=self.scale)
        self.left.discard(tensor.name)
        merged: bytes = weight.to(dtype).contiguous().view(torch.uint8).numpy().tobytes()
        return merged


def _scale(config: dict[str, Any]) -> float:
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if config.get("peft_type") != "LORA" or not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise CannotMerge(f"{CONFIG}: it is no LoRA adapter with a rank and an alpha")
    if config.get("bias", "none") != "none":
        raise CannotMerge(f"{CONFIG}: an adapter with biases is not merged")
    for field in _NOT_MERGED:
        if config.get(field):
            raise CannotMerge(f"{CONFIG}: {field} is not merged")
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
