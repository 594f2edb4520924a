"""What a run must remember to go on as if it had never stopped, written as safetensors and JSON. Runs inside an engine slot.

The schedule and the order of the data are pure functions of the step: only weights, the optimizer's moments, the random
generators and a few sums have a memory.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from finetune import files, manifest
from finetune.train import checkpoints
from finetune.train.errors import CheckpointRefused
from finetune.train.methods import EXPERTS, FULL, LORA
from finetune.train.spec import TrainSpec
from finetune.train.world import World

WEIGHTS = "adapter_model.safetensors"
MOMENTS = "optimizer.safetensors"
STATE = "state.json"
# How documents become batches and losses: raise it with every change to that, or to the order of sums, so that no run goes on
# in another way than it began.
LAYOUT = 3
ALONE = World()
# What may differ between the run that wrote a checkpoint and the one that goes on from it.
_FREE = ("model_path", "train", "validation", "out", "resume_from", "checkpoint_every_steps", "threads")


@dataclass
class Progress:
    """Where a run stands. `step` counts finished steps; the sums are the current epoch's."""

    step: int = 0
    trained_tokens: int = 0
    epoch_loss: float = 0.0
    epoch_answers: int = 0
    train_loss: float | None = None
    validated_step: int = 0
    validation_loss: float | None = None
    random: dict[str, str] = field(default_factory=dict)


def fingerprint(spec: TrainSpec) -> str:
    """One digest of everything that decides a run's result: a checkpoint of another run is refused by it."""
    plain = spec.to_json()
    # a field that came later, and is as it was before there was one, changes nothing
    later = {one.name for one in fields(spec) if one.default is not MISSING and plain[one.name] == one.default}
    decisive: dict[str, Any] = {name: value for name, value in plain.items() if name not in {*_FREE, *later}}
    decisive["layout"] = LAYOUT
    decisive["base"] = files.sha256_of(_identity(spec.model_path))
    decisive["data"] = {
        name: [files.sha256_of(path) for path in paths]
        for name, paths in (("train", spec.train), ("validation", spec.validation))
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def save(spec: TrainSpec, run: str, model: Any, optimizer: Any, progress: Progress, world: World = ALONE) -> Path:
    """Write a checkpoint, whole or not at all; older ones but the last are removed. All ranks call it.

    `run` is the run's fingerprint.
    """
    final = checkpoints.directory(spec.out, progress.step)
    made = final.with_name(f".{final.name}")
    if world.leads:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    world.wait()
    part = _part(spec, world)
    if world.leads or part:
        save_file(learned(model), made / f"{part}{WEIGHTS}", metadata={"format": "pt"})
        save_file(_moments(model, optimizer), made / f"{part}{MOMENTS}")
    world.wait()
    if world.leads:
        _complete(spec, run, made, final, progress, model)
    world.wait()
    return final


def _complete(spec: TrainSpec, run: str, made: Path, final: Path, progress: Progress, model: Any) -> None:
    progress.random = _random_state(spec.device)
    chosen = {"chosen": chosen_of(model)} if spec.method == EXPERTS else {}
    files.write_json(made / STATE, {"run": run, "progress": asdict(progress)} | chosen)
    manifest.write(made, name=final.name, origin=f"finetune:{run}", licence="internal")
    shutil.rmtree(final, ignore_errors=True)  # only there after a step was done twice
    made.rename(final)
    files.sync_directory(final.parent)
    checkpoints.prune(spec.out)


def restore(checkpoint: Path, spec: TrainSpec, run: str, model: Any, optimizer: Any, world: World = ALONE) -> Progress:
    """Put model, optimizer and random generators where the checkpoint has them.

    Raises: CheckpointRefused when it is not whole or belongs to another run.
    """
    problems = manifest.verify(checkpoint)
    if problems:
        raise CheckpointRefused(f"{checkpoint.name} can't be used: " + "; ".join(problems))
    state = json.loads((checkpoint / STATE).read_bytes())
    if state["run"] != run:
        raise CheckpointRefused(
            f"{checkpoint.name} is of a run with other data, base or settings: start from the beginning"
        )
    part = _part(spec, world)
    weights = load_file(checkpoint / f"{part}{WEIGHTS}")
    if spec.method == LORA:
        set_peft_model_state_dict(model, weights)
    else:
        parameters = trained_parameters(model)
        with torch.no_grad():
            for name, value in weights.items():
                local(parameters[name]).copy_(value)
    _restore_moments(model, optimizer, load_file(checkpoint / f"{part}{MOMENTS}"))
    progress = Progress(**state["progress"])
    _restore_random(progress.random)
    return progress


def chosen_before(checkpoint: Path) -> dict[str, list[int]]:
    """The experts that a run had chosen, by layer."""
    chosen: dict[str, list[int]] = json.loads((checkpoint / STATE).read_bytes()).get("chosen", {})
    return chosen


def chosen_of(model: Any) -> dict[str, list[int]]:
    """The experts that are trained, by the name of their layer's module."""
    return {name: list(module.chosen) for name, module in model.named_modules() if getattr(module, "chosen", ())}


def local(tensor: Any) -> Any:
    """What this rank has of a tensor that FSDP cut; any other tensor as it is."""
    return getattr(tensor, "_local_tensor", tensor)


def learned(model: Any) -> dict[str, Any]:
    """What is learned, on the CPU: an adapter's weights, else this rank's part of every trained parameter."""
    if hasattr(model, "peft_config"):
        return adapter_weights(model)
    return {name: local(one).detach().cpu().contiguous() for name, one in trained_parameters(model).items()}


def _part(spec: TrainSpec, world: World) -> str:
    """How this rank's files begin; nothing where one rank writes for all."""
    return f"rank-{world.rank:02d}-" if spec.method == FULL and world.size > 1 else ""


def adapter_weights(model: Any) -> dict[str, Any]:
    """The LoRA weights on the CPU, contiguous, by the names that PEFT and vLLM know."""
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(weights.items())}


def trained_parameters(model: Any) -> dict[str, Any]:
    """What is learned, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _moments(model: Any, optimizer: Any) -> dict[str, Any]:
    return {
        f"{name}:{key}": local(value).detach().cpu().contiguous()
        for name, parameter in trained_parameters(model).items()
        for key, value in optimizer.state[parameter].items()
    }


def _restore_moments(model: Any, optimizer: Any, moments: dict[str, Any]) -> None:
    parameters = trained_parameters(model)
    for name, value in moments.items():
        parameter, _, key = name.rpartition(":")
        # the step counter stays on the CPU, where AdamW keeps it
        whole = parameters[parameter]
        optimizer.state[whole][key] = value if key == "step" else _as_cut(value.to(whole.device), whole)


def _as_cut(value: Any, whole: Any) -> Any:
    """This rank's part of a tensor, as part of one that is cut as `whole` is."""
    if not hasattr(whole, "_local_tensor"):
        return value
    kind = type(whole.data)  # DTensor, which runs of one rank don't import
    return kind.from_local(
        value, whole.device_mesh, whole.placements, run_check=False, shape=whole.shape, stride=whole.stride()
    )


def _random_state(device: str) -> dict[str, str]:
    states = {"cpu": torch.get_rng_state()}
    if device == "cuda":
        states["cuda"] = torch.cuda.get_rng_state()
    return {name: bytes(state.tolist()).hex() for name, state in states.items()}


def _restore_random(states: dict[str, str]) -> None:
    setters = {"cpu": torch.set_rng_state, "cuda": torch.cuda.set_rng_state}
    for name, state in states.items():
        setters[name](torch.tensor(list(bytes.fromhex(state)), dtype=torch.uint8))


def _identity(model_path: Path) -> Path:
    listed = model_path / manifest.FILE_NAME
    return listed if listed.is_file() else model_path / "config.json"
