"""What a run that trains the model itself leaves: a whole model, or the experts that were changed. Runs inside an engine slot.

Tensors in bf16 by the names of the released files, so that a model is served as any other, and experts can be put in its place.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from finetune import files, manifest
from finetune.train.methods import ADAPTER, EXPERTS, FULL, LORA
from finetune.train.model import describe_base
from finetune.train.spec import TrainSpec
from finetune.train.state import chosen_of, trained_parameters
from finetune.train.world import World

FOLDERS = {LORA: ADAPTER, EXPERTS: "experts", FULL: "model"}
FILE_BYTES = 4_000_000_000
_STACKED = re.compile(r"(.+\.experts)\.(gate_up_proj|down_proj|trained_gate_up|trained_down)")


def folder_of(method: str) -> str:
    """Where the result of a method lies, below the attempt's directory."""
    return FOLDERS[method]


def write_result(spec: TrainSpec, run: str, model: Any, world: World) -> manifest.Manifest | None:
    """Write it, whole or not at all; what it is on the first rank, None on the others. All ranks call it.

    The same run gives the same bytes: no time and no path is in it.
    """
    final = spec.out / folder_of(spec.method)
    made = spec.out / f".{final.name}"
    if world.leads:
        for folder in (made, final):
            shutil.rmtree(folder, ignore_errors=True)
        made.mkdir()
    writer = _Writer(made) if world.leads else None
    chosen = chosen_of(model)
    for name, parameter in trained_parameters(model).items():
        whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
        if writer is not None:
            for released, tensor in by_released_names(name, whole.detach().to(torch.bfloat16), chosen):
                writer.add(released, tensor)
    if writer is None:
        return None
    writer.end()
    if spec.method == EXPERTS:
        facts = {"expert_score": spec.expert_score, "expert_share": spec.expert_share, "layers": chosen}
        files.write_json(made / "experts.json", facts)
    else:
        _copy_the_rest(spec.model_path, made)
    base, digest, licence = describe_base(spec.model_path)
    manifest.write(made, name=f"{base}-{final.name}", origin=f"finetune:{run} base:{digest}", licence=licence)
    made.rename(final)
    files.sync_directory(spec.out)
    return manifest.read(final)


def by_released_names(name: str, tensor: Any, chosen: dict[str, list[int]]) -> Iterator[tuple[str, Any]]:
    """A parameter as the released files have it: experts one by one, their gate and their other half apart."""
    stacked = _STACKED.fullmatch(name)
    if stacked is None:
        yield name, tensor
        return
    place, what = stacked.groups()
    numbers = chosen.get(place, range(len(tensor)))
    for number, expert in zip(numbers, tensor, strict=True):
        if "gate_up" not in what:
            yield f"{place}.{number}.down_proj.weight", expert
            continue
        gate, up = expert.chunk(2)
        yield f"{place}.{number}.gate_proj.weight", gate
        yield f"{place}.{number}.up_proj.weight", up


class _Writer:
    """Tensors into files of a bounded size, with the index that the released ones have."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, Any] = {}
        self._bytes = self._total = self._files = 0
        self._places: dict[str, str] = {}

    def add(self, name: str, tensor: Any) -> None:
        self._held[name] = tensor.cpu().contiguous().clone()
        self._bytes += tensor.nbytes
        self._total += tensor.nbytes
        if self._bytes >= FILE_BYTES:
            self._write()

    def end(self) -> None:
        """Write what is left, and the index."""
        if self._held:
            self._write()
        index = {"metadata": {"total_size": self._total}, "weight_map": dict(sorted(self._places.items()))}
        files.write_json(self._folder / "model.safetensors.index.json", index)

    def _write(self) -> None:
        self._files += 1
        name = f"model-{self._files:05d}.safetensors"
        save_file(dict(sorted(self._held.items())), self._folder / name, metadata={"format": "pt"})
        (self._folder / name).chmod(0o644)
        self._places |= dict.fromkeys(self._held, name)
        self._held, self._bytes = {}, 0


def _copy_the_rest(base: Path, folder: Path) -> None:
    """Configuration, tokenizer and the like: all but weights, and what is said of the base's files."""
    for path in sorted(base.iterdir()):
        weights = path.suffix in {".safetensors", ".bin"} or path.name.endswith(".index.json")
        if path.is_file() and not weights and path.name != manifest.FILE_NAME:
            shutil.copyfile(path, folder / path.name)
