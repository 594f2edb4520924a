"""The base model between several ranks: each reads its own part of every tensor, and none ever holds all of it.

Built without memory, cut by FSDP (routed experts by `experts`), then filled from the checkpoint's files. Runs inside
an engine slot.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Experts

from finetune.train.errors import ModelRefused
from finetune.train.experts import Experts, own_range
from finetune.train.shape import GROUPED, LATENT
from finetune.train.world import World

KNOWN = frozenset({GROUPED, LATENT})
_STACKED = re.compile(r"(.+\.experts)\.(gate_up_proj|down_proj)")
_HALVES = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}


class Files:
    """A checkpoint's tensors, read in part. Names are those of the released files."""

    def __init__(self, folder: Path) -> None:
        index = folder / "model.safetensors.index.json"
        self._open = ExitStack()
        if index.is_file():
            places: dict[str, str] = json.loads(index.read_bytes())["weight_map"]
        else:
            places = dict.fromkeys(self._file(folder / "model.safetensors").keys(), "model.safetensors")
        opened = {name: self._file(folder / name) for name in sorted(set(places.values()))}
        self._places = {name: opened[file] for name, file in places.items()}

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def rows(self, name: str, start: int, end: int) -> Any:
        """Rows of a tensor, which is all that is read of it; of experts in one tensor, as many experts.

        Raises: ModelRefused when there is no such tensor.
        """
        stacked = _STACKED.fullmatch(name)
        if name in self._places or stacked is None:
            return self._slice(name)[start:end]
        place, what = stacked.groups()
        each = [
            torch.cat([self._slice(f"{place}.{number}.{half}.weight")[:] for half in _HALVES[what]])
            for number in range(start, end)
        ]
        return torch.stack(each) if each else None

    def _slice(self, name: str) -> Any:
        if name not in self._places:
            raise ModelRefused(f"the base's files hold no {name}")
        return self._places[name].get_slice(name)

    def _file(self, path: Path) -> Any:
        return self._open.enter_context(safe_open(path, framework="pt", device="cpu"))


def empty_base(model_path: Path) -> Any:
    """The base's modules in bf16, frozen, without their weights.

    Raises: ModelRefused where it can't be cut.
    """
    config = AutoConfig.from_pretrained(model_path, local_files_only=True, trust_remote_code=False)
    if getattr(config, "quantization_config", None):
        raise ModelRefused(f"{model_path.name} is quantized: name a bf16 copy of it to train on")
    if config.model_type not in KNOWN:
        raise ModelRefused(f"{model_path.name} is of an architecture that is trained on one device only")
    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, trust_remote_code=False)
    model.tie_weights()  # which modules without memory have lost
    model.config._name_or_path = str(model_path)
    return model.requires_grad_(False)


def spread(model: Any, model_path: Path, world: World, *, whole: bool = False) -> Any:
    """Cut an empty base between the ranks, and read this rank's part of it.

    `whole`: all of it is to be trained, so that it is in fp32, and its experts are cut by FSDP as well.
    Raises: ModelRefused where that can't be.
    """
    if whole:
        model = model.float().requires_grad_(True)
    mesh = init_device_mesh(world.device, (world.size,))
    decoder = getattr(model, model.base_model_prefix)
    with Files(model_path) as files:
        for name, module in list(model.named_modules()):
            if isinstance(module, DeepseekV2Experts) and not whole:
                model.set_submodule(name, _own_experts(name, module, files, world))
        apart = {
            parameter for module in model.modules() if isinstance(module, Experts) for parameter in module.parameters()
        }
        for layer in decoder.layers:
            fully_shard(layer, mesh=mesh, ignored_params=apart, reshard_after_forward=True)
        tied = model.get_output_embeddings().weight is decoder.embed_tokens.weight
        if tied and whole:
            raise ModelRefused("a model whose embedding is its head too is trained whole on one rank only")
        if tied:  # used at both ends: held whole
            apart = apart | {decoder.embed_tokens.weight}
        else:
            fully_shard(decoder.embed_tokens, mesh=mesh, reshard_after_forward=True)
            # by itself, since it is called by itself
            fully_shard(model.get_output_embeddings(), mesh=mesh, reshard_after_forward=True)
        # said outright, or FSDP would leave the outermost one's parameters whole after the forward pass
        fully_shard(decoder, mesh=mesh, ignored_params=apart, reshard_after_forward=True)
        _fill(model, files, world)
    return model


def _own_experts(name: str, module: Any, files: Files, world: World) -> Experts:
    start, end = own_range(module.num_experts, world)
    pair = []
    for what in ("gate_up_proj", "down_proj"):
        wanted = getattr(module, what)
        found = files.rows(f"{name}.{what}", start, end)
        found = wanted.new_empty((0, *wanted.shape[1:]), device="cpu") if found is None else found
        _check(f"{name}.{what}", found, (end - start, *wanted.shape[1:]))
        pair.append(found.to(world.device, torch.bfloat16))
    gate_up, down = pair
    return Experts(module.num_experts, gate_up, down, module.act_fn, world)


def _fill(model: Any, files: Files, world: World) -> None:
    """Give every parameter that has no memory yet its rows of the checkpoint."""
    made: dict[int, nn.Parameter] = {}
    for name, module in model.named_modules():
        for own, parameter in list(module.named_parameters(name, recurse=False)):
            if not _local(parameter).is_meta:
                continue
            if id(parameter) not in made:
                made[id(parameter)] = _filled(own, parameter, files, world)
            module.register_parameter(own.rpartition(".")[2], made[id(parameter)])


def _filled(name: str, parameter: Any, files: Files, world: World) -> nn.Parameter:
    local, cut = _local(parameter), isinstance(parameter, DTensor)
    start, end = own_range(len(parameter), world) if cut else (0, len(parameter))
    found = files.rows(name, start, end)
    _check(name, found, tuple(local.shape))
    held = torch.empty(local.shape, dtype=local.dtype, device=world.device)
    held.copy_(found)
    if cut:
        held = DTensor.from_local(
            held,
            parameter.device_mesh,
            parameter.placements,
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        )
    return nn.Parameter(held, requires_grad=parameter.requires_grad)


def _check(name: str, found: Any, wanted: tuple[int, ...]) -> None:
    if tuple(found.shape) != wanted:
        raise ModelRefused(f"{name} is of another size than the base's config.json says: {list(found.shape)}")


def _local(parameter: Any) -> Any:
    return parameter._local_tensor if isinstance(parameter, DTensor) else parameter
