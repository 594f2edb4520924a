"""What one training run is asked to do: the file that the control plane writes and the trainer reads.

Standard library only: both sides import it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from finetune import manifest
from finetune.train.errors import SpecRefused
from finetune.train.methods import LORA, METHODS, SCORES, TOKENS

KINDS = ("chat", "text")
DEVICES = ("cpu", "cuda")
# vLLM leaves this module's adapter out without a word (vllm issue 48974): the tuned model would not be the served one.
NEVER_TARGETS = frozenset({"kv_b_proj"})
MAX_SEED = 2**63
MICRO_BATCH_TOKENS = 4096  # padded tokens that are held in memory at once; a larger batch is split
MAX_RANKS = 64
_MODULE = re.compile(r"[A-Za-z0-9_.]+")


@dataclass(frozen=True)
class TrainSpec:
    """One run. `out` is the attempt's own directory: everything the run writes lies below it.

    `target_modules`: every module whose name ends with one of these gets an adapter. `max_length` counts tokens.
    `fim_rate`: the part of a text run's documents that have a hole, with the ids of the model's own tokens `fim_tokens`: begin,
    hole, end. `threads`: None leaves the choice to torch; a run repeats bit for bit only with the same number.
    `ranks`: how many processes, each with a device of its own, train together. `method`: what is trained; by `experts` the
    routed ones that take `expert_share` of the data, counted as `expert_score` says.
    """

    model_path: Path
    train: tuple[Path, ...]
    validation: tuple[Path, ...]
    kind: str
    out: Path
    resume_from: Path | None
    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    lora_rank: int
    lora_alpha: int
    target_modules: tuple[str, ...]
    max_length: int
    fim_rate: float
    fim_tokens: tuple[int, int, int] | None
    checkpoint_every_steps: int
    threads: int | None
    device: str
    ranks: int = 1
    method: str = LORA
    expert_score: str = TOKENS
    expert_share: float = 0.2

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in spec.json."""
        content = asdict(self)
        for name in ("train", "validation"):
            content[name] = [str(path) for path in content[name]]
        for name in ("model_path", "out", "resume_from"):
            content[name] = None if content[name] is None else str(content[name])
        tokens = None if self.fim_tokens is None else list(self.fim_tokens)
        return content | {"target_modules": list(self.target_modules), "fim_tokens": tokens}


def read_spec(path: Path) -> TrainSpec:
    """Read and check a specification.

    Raises: SpecRefused with every fault that was found.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SpecRefused([f"{path} can't be read: {error}"]) from error
    return parse(content)


def parse(content: Any) -> TrainSpec:
    """A specification from plain values.

    Raises: SpecRefused with every fault that was found.
    """
    faults = _shape_faults(content)
    if faults:
        raise SpecRefused(faults)
    resume_from = content["resume_from"]
    spec = TrainSpec(
        **content
        | {name: Path(content[name]) for name in ("model_path", "out")}
        | {name: tuple(Path(path) for path in content[name]) for name in ("train", "validation")}
        | {"target_modules": tuple(content["target_modules"])}
        | {"fim_tokens": None if content["fim_tokens"] is None else tuple(content["fim_tokens"])}
        | {"resume_from": None if resume_from is None else Path(resume_from)},
    )
    faults = faults_of(spec)
    if faults:
        raise SpecRefused(faults)
    return spec


def faults_of(spec: TrainSpec) -> list[str]:
    """Everything that is wrong with a specification, in words."""
    found = (*_number_faults(spec), *_target_faults(spec), *_fim_faults(spec), *_file_faults(spec))
    return [fault for fault in found if fault]


def _shape_faults(content: Any) -> list[str]:
    if not isinstance(content, dict):
        return ["the specification must be a JSON object"]
    names = {field.name for field in fields(TrainSpec)}
    needed = {field.name for field in fields(TrainSpec) if field.default is MISSING}
    faults = [f"{name}: missing" for name in sorted(needed - content.keys())]
    faults += [f"{name}: unknown" for name in sorted(content.keys() - names)]
    return faults + [
        f"{name}: must be {wanted}"
        for name, (wanted, fits) in _SHAPES.items()
        if name in content and not fits(content[name])
    ]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(entry) for entry in value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_whole(one) and one >= 0 for one in value)


def _is_number(value: Any) -> bool:
    return (isinstance(value, float) or _is_whole(value)) and math.isfinite(value)


_WHOLE = ("seed", "epochs", "batch_size", "lora_rank", "lora_alpha", "max_length", "checkpoint_every_steps", "ranks")
_SHAPES = {
    **dict.fromkeys(("model_path", "kind", "out", "device", "method", "expert_score"), ("a text", _is_text)),
    **dict.fromkeys(("train", "validation", "target_modules"), ("a list of texts", _is_texts)),
    **dict.fromkeys(_WHOLE, ("a whole number", _is_whole)),
    **dict.fromkeys(("learning_rate", "fim_rate", "expert_share"), ("a number", _is_number)),
    "fim_tokens": ("three token ids or null", lambda value: value is None or _are_tokens(value)),
    "threads": ("a whole number or null", lambda value: value is None or _is_whole(value)),
    "resume_from": ("a text or null", lambda value: value is None or _is_text(value)),
}


def _number_faults(spec: TrainSpec) -> list[str]:
    limits: list[tuple[str, float, float]] = [
        ("seed", 0, MAX_SEED - 1),
        ("epochs", 1, 1000),
        ("batch_size", 1, 4096),
        ("lora_rank", 1, 512),
        ("lora_alpha", 1, 4096),
        ("max_length", 8, 131_072),
        ("checkpoint_every_steps", 1, 1_000_000),
        ("threads", 1, 1024),
        ("ranks", 1, MAX_RANKS),
        ("learning_rate", 1e-9, 1.0),
        ("fim_rate", 0, 1),
        ("expert_share", 0.001, 1),
    ]
    return [
        f"{name}: must be from {low} to {high}, is {value}"
        for name, low, high in limits
        if (value := getattr(spec, name)) is not None and not low <= value <= high
    ]


def _target_faults(spec: TrainSpec) -> list[str]:
    never = sorted(name for name in spec.target_modules if name.rpartition(".")[2] in NEVER_TARGETS)
    malformed = [name for name in spec.target_modules if not _MODULE.fullmatch(name)]
    return [
        "" if spec.target_modules or spec.method != LORA else "target_modules: name at least one module",
        *(f"target_modules: {name} is not a module's name" for name in malformed),
        *(f"target_modules: {name} must not be adapted, the engine would leave it out silently" for name in never),
        "" if spec.kind in KINDS else f"kind: must be one of {', '.join(KINDS)}, is {spec.kind}",
        "" if spec.method in METHODS else f"method: must be one of {', '.join(METHODS)}, is {spec.method}",
        ""
        if spec.expert_score in SCORES
        else f"expert_score: must be one of {', '.join(SCORES)}, is {spec.expert_score}",
        "" if spec.device in DEVICES else f"device: must be one of {', '.join(DEVICES)}, is {spec.device}",
    ]


def _fim_faults(spec: TrainSpec) -> list[str]:
    has_holes = spec.fim_rate != 0
    return [
        "fim_rate: conversations have no holes" if has_holes and spec.kind == "chat" else "",
        "fim_rate: needs the model's fim_tokens" if has_holes and spec.fim_tokens is None else "",
        "fim_tokens: must differ" if spec.fim_tokens is not None and len(set(spec.fim_tokens)) < 3 else "",
    ]


def _file_faults(spec: TrainSpec) -> list[str]:
    missing = [path for path in (*spec.train, *spec.validation) if not path.is_file()]
    problems = manifest.verify(spec.resume_from) if spec.resume_from else []
    return [
        "" if spec.train else "train: name at least one file",
        *(f"{path}: there is no such file" for path in missing),
        "" if (spec.model_path / "config.json").is_file() else f"model_path: no config.json in {spec.model_path}",
        "" if spec.out.is_dir() else f"out: there is no directory {spec.out}",
        *(f"resume_from: {problem}" for problem in problems),
    ]
