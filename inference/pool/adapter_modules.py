"""Whether an engine would apply all of an adapter: each adapted module against the base model's own weights.

An engine that skips a module serves the base model without an error; one that meets matrices of another shape may die
of it. Both are found here, before it is asked. Standard library only. Whether an adapter is any good is not decided here.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.pool.adapter_files import CONFIG, WEIGHTS, as_object, check_files, open_plain, read_plain
from inference.pool.errors import AdapterRefused

_MAX_HEADER_BYTES = 64 * 1024 * 1024
_LORA_TENSOR = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Limits:
    """What the engine takes: adapters on these base weights, up to this rank, of these modules and never of those."""

    base: Path
    max_rank: int
    never_adapted: frozenset[str]
    modules: frozenset[str] | None = None  # all others


def check_adapter(path: Path, digest: str, limits: Limits) -> None:
    """Read all of an adapter's files.

    Raises: AdapterRefused with the first thing that is wrong.
    """
    if limits.max_rank == 0:
        raise AdapterRefused("the deployment's engines take no adapters: serve the model with a profile that has LoRA")
    try:
        check_files(path, digest)
        config = as_object(read_plain(path / CONFIG), CONFIG)
        _check_config(config, limits)
        _check_modules(_modules(_shapes(path / WEIGHTS)), limits)
    except OSError as error:
        raise AdapterRefused(f"{path}: {error.strerror or error}") from error


def _check_config(config: dict[str, Any], limits: Limits) -> None:
    ranks = [config.get("r"), *_mapping(config.get("rank_pattern")).values()]
    if config.get("peft_type") != "LORA" or not all(type(rank) is int and rank > 0 for rank in ranks):
        raise AdapterRefused(f"{CONFIG}: it is no LoRA adapter with a rank")
    if max(ranks) > limits.max_rank:
        raise AdapterRefused(f"its rank {max(ranks)} is above the {limits.max_rank} that the engine takes")
    for field in ("modules_to_save", "use_dora", "lora_bias", "layer_replication"):
        if config.get(field):
            raise AdapterRefused(f"{CONFIG}: {field} is not served")


def _check_modules(modules: dict[str, dict[str, Shape]], limits: Limits) -> None:
    base = _base_shapes(limits.base, modules)
    for module, sides in modules.items():
        last = module.rsplit(".", 1)[-1]
        if last in limits.never_adapted or (limits.modules is not None and last not in limits.modules):
            raise AdapterRefused(f"it adapts {module}, which the engine would leave out without a word")
        if module not in base:
            raise AdapterRefused(f"it adapts {module}, which the base model does not have")
        a, b = sides.get("A"), sides.get("B")
        if a is None or b is None or len(a) != 2 or len(b) != 2 or a[0] != b[1]:
            raise AdapterRefused(f"the two matrices of {module} don't belong together")
        if a[0] > limits.max_rank:
            raise AdapterRefused(f"its rank {a[0]} is above the {limits.max_rank} that the engine takes")
        if base[module] is not None and base[module] != (b[0], a[1]):
            raise AdapterRefused(f"{module} has another shape in the base model: it was trained on another one")


def _modules(shapes: dict[str, Shape]) -> dict[str, dict[str, Shape]]:
    """The shapes of each adapted module's two matrices."""
    modules: dict[str, dict[str, Shape]] = {}
    for name, shape in shapes.items():
        match = _LORA_TENSOR.match(name)
        if match is None:
            raise AdapterRefused(f"{WEIGHTS}: {name[:200]} is no LoRA matrix")
        modules.setdefault(match["module"], {})[match["side"]] = shape
    if not modules:
        raise AdapterRefused(f"{WEIGHTS}: it holds no LoRA matrices")
    return modules


def _base_shapes(base: Path, modules: Collection[str]) -> dict[str, Shape | None]:
    """The modules that the base model has, with their weights' shape; None where quantised weights hide it."""
    found: dict[str, Shape | None] = {}
    for file in _base_files(base):
        for name, shape in _shapes(file).items():
            module, _, kind = name.rpartition(".")
            if module in modules and kind == "weight" and len(shape) == 2:
                found[module] = shape
            elif module in modules:
                found.setdefault(module, None)
    return found


def _base_files(base: Path) -> Iterator[Path]:
    files = sorted(base.glob("*.safetensors"))
    if not files:
        raise AdapterRefused(f"no safetensors weights of the base model at {base}")
    yield from files


def _shapes(path: Path) -> dict[str, Shape]:
    """The tensors of a safetensors file: 8 bytes of length, little-endian, then that much JSON."""
    with open_plain(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= _MAX_HEADER_BYTES:
            raise AdapterRefused(f"{path} is no safetensors file")
        header = as_object(file.read(length), str(path))
    header.pop("__metadata__", None)
    try:
        return {name: tuple(int(size) for size in tensor["shape"]) for name, tensor in header.items()}
    except (TypeError, KeyError, ValueError) as error:
        raise AdapterRefused(f"{path} is no safetensors file") from error


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
